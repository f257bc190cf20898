import NetTypes

/// A packet as rules see it: the first of a connection unless `state` says otherwise.
public struct Packet: Hashable, Sendable {
  /// What connection tracking says about it (`NF_CT_STATE_*`).
  public enum State: UInt32, Hashable, Sendable {
    case invalid = 1
    case established = 2
    case related = 4
    case new = 8
    case untracked = 64

    /// As iptables writes it.
    public var name: String { "\(self)".uppercased() }
  }

  /// Where it comes from and goes to; translation changes them.
  public var source, destination: IPAddress
  /// 1 ICMP, 6 TCP, 17 UDP, 58 ICMPv6, 132 SCTP.
  public var protocolNumber: UInt8
  /// 0 for protocols without ports.
  public var sourcePort, destinationPort: UInt16
  /// The interface it came in by; empty = this host made it.
  public var input: String
  /// The interface that routing sends it out by; empty where it does not leave.
  public var output: String
  /// The packet mark; rules may change it.
  public var mark: UInt32
  /// What connection tracking says.
  public var state: State
  /// Link layer source address.
  public var sourceMAC: MACAddress

  /// A TCP packet to port 80 that opens a connection, unless told otherwise.
  public init(
    from source: IPAddress, to destination: IPAddress, protocolNumber: UInt8 = 6, sourcePort: UInt16 = 40_000,
    port: UInt16 = 80, input: String = "", output: String = "", mark: UInt32 = 0, state: State = .new,
    sourceMAC: MACAddress = MACAddress(0x0200_0000_0001)
  ) {
    self.source = source
    self.destination = destination
    self.protocolNumber = protocolNumber
    self.sourcePort = sourcePort
    self.destinationPort = port
    self.input = input
    self.output = output
    self.mark = mark
    self.state = state
    self.sourceMAC = sourceMAC
  }

  /// The family of its addresses.
  public var family: AddressFamily { source.family }

  /// The Ethernet header.
  public var linkHeader: [UInt8] {
    [2, 0, 0, 0, 0, 2] + sourceMAC.bytes + (family == .ipv4 ? [0x08, 0x00] : [0x86, 0xdd])
  }

  /// The IPv4 or IPv6 header, without options.
  public var networkHeader: [UInt8] {
    switch family {
    case .ipv4:
      [0x45, 0, 0, 60, 0, 0, 0x40, 0, 64, protocolNumber, 0, 0] + source.bytes + destination.bytes
    case .ipv6: [0x60, 0, 0, 0, 0, 40, protocolNumber, 64] + source.bytes + destination.bytes
    }
  }

  /// The start of the transport header: ports, or type and code of an echo request.
  public var transportHeader: [UInt8] {
    switch protocolNumber {
    case 1: return [8, 0] + [UInt8](repeating: 0, count: 6)
    case 58: return [128, 0] + [UInt8](repeating: 0, count: 6)
    default:
      let ports = [sourcePort, destinationPort].flatMap { [UInt8($0 >> 8), UInt8($0 & 0xff)] }
      return ports + [UInt8](repeating: 0, count: protocolNumber == 6 ? 16 : 4)
    }
  }
}

/// What rules ask about the host itself.
public struct TracedHost: Sendable {
  /// True for addresses of this host; loopback counts by itself.
  public var localAddresses: Set<IPAddress>
  /// The next random number, 0 ≤ x < 1.
  public var random: @Sendable () -> Double
  /// Milliseconds of a clock that the test turns; elements of sets end by it.
  public var now: UInt64 = 0

  /// A host with addresses.
  public init(_ localAddresses: Set<IPAddress>, random: @escaping @Sendable () -> Double = { 0 }) {
    self.localAddresses = localAddresses
    self.random = random
  }

  /// The kind of an address in the routing table (`RTN_*`): 1 elsewhere, 2 here, 3 broadcast, 5 multicast.
  public func addressType(_ a: IPAddress) -> UInt32 {
    if a.isLoopback || localAddresses.contains(a) { return 2 }
    if a.isMulticast { return 5 }
    return a.family == .ipv4 && a.value == 0xffff_ffff ? 3 : 1
  }
}

/// Something in a rule set that the tracer does not know: the test must not pass by accident.
public struct TraceError: Error, CustomStringConvertible {
  /// What was found, and where.
  public let description: String
  /// With a text.
  public init(_ description: String) { self.description = description }
}
