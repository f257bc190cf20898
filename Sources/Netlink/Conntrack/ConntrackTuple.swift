import NetTypes

/// One direction of a connection, as its packets look.
public struct ConntrackTuple: Hashable, Sendable {
  /// What tells connections of the same addresses and the same protocol apart.
  public enum Selector: Hashable, Sendable {
    /// A protocol of which the kernel looks at nothing further.
    case none
    /// Ports of TCP, UDP, UDP-Lite, SCTP and DCCP; keys of GRE.
    case ports(source: UInt16, destination: UInt16)
    /// ICMP and ICMPv6: type, code and the identifier of echo requests.
    case icmp(type: UInt8, code: UInt8, id: UInt16)
  }

  /// Where packets of this direction come from.
  public var source: IPAddress
  /// Where they go; of the same family.
  public var destination: IPAddress
  /// The IP protocol number: 6 is TCP, 17 is UDP.
  public var transport: UInt8
  /// Ports or the like.
  public var selector: Selector
  /// The zone, when it was given for this direction only; else 0.
  public var zone: UInt16

  /// Of the default zone unless told otherwise.
  public init(
    source: IPAddress, destination: IPAddress, transport: UInt8, selector: Selector = .none, zone: UInt16 = 0
  ) {
    self.source = source
    self.destination = destination
    self.transport = transport
    self.selector = selector
    self.zone = zone
  }

  /// Both addresses are of this family.
  public var family: AddressFamily { source.family }
  /// nil for protocols without ports.
  public var sourcePort: UInt16? { if case .ports(let port, _) = selector { port } else { nil } }
  /// nil for protocols without ports.
  public var destinationPort: UInt16? { if case .ports(_, let port) = selector { port } else { nil } }
}

extension ConntrackTuple: CustomStringConvertible {
  /// `udp 10.0.0.1:40000 to 10.0.0.2:53`
  public var description: String {
    let from = Self.endpoint(source, sourcePort)
    return "\(TransportProtocol.name(transport)) \(from) to \(Self.endpoint(destination, destinationPort))"
  }

  private static func endpoint(_ address: IPAddress, _ port: UInt16?) -> String {
    guard let port else { return "\(address)" }
    return address.family == .ipv4 ? "\(address):\(port)" : "[\(address)]:\(port)"
  }
}

/// Names of IP protocols (`/etc/protocols`) that connections are tracked for.
public enum TransportProtocol {
  /// `IPPROTO_ICMP`
  public static let icmp: UInt8 = 1
  /// `IPPROTO_TCP`
  public static let tcp: UInt8 = 6
  /// `IPPROTO_UDP`
  public static let udp: UInt8 = 17
  /// `IPPROTO_DCCP`
  public static let dccp: UInt8 = 33
  /// `IPPROTO_GRE`
  public static let gre: UInt8 = 47
  /// `IPPROTO_ICMPV6`
  public static let icmpv6: UInt8 = 58
  /// `IPPROTO_SCTP`
  public static let sctp: UInt8 = 132
  /// `IPPROTO_UDPLITE`
  public static let udpLite: UInt8 = 136

  private static let names: [(number: UInt8, name: String)] = [
    (icmp, "icmp"), (tcp, "tcp"), (udp, "udp"), (dccp, "dccp"), (gre, "gre"), (icmpv6, "icmpv6"), (sctp, "sctp"),
    (udpLite, "udplite"),
  ]

  /// The name, else the number in decimal.
  public static func name(_ number: UInt8) -> String { names.first { $0.number == number }?.name ?? "\(number)" }
  /// The number of a name, or a number in decimal; nil for anything else.
  public static func number(_ text: String) -> UInt8? { names.first { $0.name == text }?.number ?? UInt8(text) }
}
