import Firewall
import NetTypes
import Netlink

/// A rule of a container in the nftables layout, read back: by `nft`, by the reference plugin or by this one.
struct HostPortRule: Hashable, Sendable {
  var chain: String
  var handle: UInt64
  /// The comment, which is the container's id.
  var owner: String
  /// Where packets go to, or where masqueraded ones go.
  var target: IPAddress
  /// The port that is listened on; nil in a rule for masquerading.
  var port: HostPort?

  /// A rule of a container's chain of iptables.
  init(chain: String, owner: String, target: IPAddress, port: HostPort) {
    self.chain = chain
    handle = 0
    self.owner = owner
    self.target = target
    self.port = port
  }

  /// A rule without an owner or a target is none of a container.
  init?(_ rule: NftRule) {
    guard let comment = rule.comment else { return nil }
    var port = HostPort(transport: 0, number: 0)
    var destination: IPAddress?
    var translated: IPAddress?
    var loaded: [NftRegister: NftExpression] = [:]
    for e in rule.expressions {
      switch e {
      case .meta(_, let r), .payload(_, _, _, let r), .immediate(let r, _): loaded[r] = e
      case .compare(.equal, let r, let bytes):
        switch loaded[r] {
        case .meta(.transportProtocol, _): port.transport = bytes.first ?? 0
        case .payload(.transport, 2, 2, _): port.number = bytes.reduce(0) { $0 << 8 | UInt16($1) }
        case .payload(.network, let offset, let length, _) where Self.isDestination(offset, length):
          destination = IPAddress(bytes: bytes)
        default: break
        }
      case .nat(let nat):
        if let r = nat.address, case .immediate(_, let bytes) = loaded[r] { translated = IPAddress(bytes: bytes) }
      default: break
      }
    }
    chain = rule.chain
    handle = rule.handle
    owner = comment
    if let translated {
      port.address = destination
      self.port = port
      target = translated
    } else if let destination, chain == HostPortTable.masquerading {
      target = destination
    } else {
      return nil
    }
  }

  /// A whole destination address in the header of its family.
  private static func isDestination(_ offset: UInt32, _ length: UInt32) -> Bool {
    (offset, length) == (16, 4) || (offset, length) == (24, 16)
  }
}

/// What a connection asks for: two of the same cannot be told apart.
struct HostPort: Hashable, Sendable, CustomStringConvertible {
  /// The number of the transport protocol.
  var transport: UInt8
  var number: UInt16
  /// nil = every address of the host.
  var address: IPAddress?

  init(transport: UInt8, number: UInt16, address: IPAddress? = nil) {
    self.transport = transport
    self.number = number
    self.address = address
  }

  init(_ m: PortMapping) { self.init(transport: m.transport.rawValue, number: m.hostPort, address: m.hostIP) }

  /// `tcp port 80 on 192.0.2.1`
  var description: String {
    let name = PortProtocol(rawValue: transport)?.name ?? "protocol \(transport)"
    return "\(name) port \(number)" + (address.map { " on \($0)" } ?? "")
  }
}
