import Firewall
import JSON
import NetTypes

/// A port of the host that leads to a port of the container: an entry of `runtimeConfig.portMappings`.
struct PortMapping: Hashable, Sendable {
  var transport: PortProtocol
  var hostPort: UInt16
  var containerPort: UInt16
  /// The address of the host that is listened on; nil = every address.
  var hostIP: IPAddress?
  /// The only family that is listened on: that of the host address given, also of `0.0.0.0` and `::`; nil = both.
  var family: AddressFamily?

  /// Reads an entry. An unspecified host address is none (contract cni §B5); a wrong one is an error (§C 20).
  init(json: JSONValue) throws(CNIError) {
    guard let o = json.objectValue else { throw wrongKind("portMappings", json, "object") }
    let host = try o.integer("hostPort") ?? 0
    containerPort = try Self.port(try o.integer("containerPort") ?? 0, "container")
    hostPort = try Self.port(host, "host")
    let name = try o.string("protocol") ?? ""
    guard let p = PortProtocol(name: name) else {
      throw .plain(
        "Invalid protocol \(quoted(name)) of host port \(host): expected tcp, udp or sctp", .invalidConfiguration)
    }
    transport = p
    let text = try o.string("hostIP") ?? ""
    guard !text.isEmpty else { return }
    guard let address = IPAddress(text) else {
      throw .plain(
        "Invalid hostIP \(quoted(text)) of host port \(host): expected an IPv4 or IPv6 address", .invalidConfiguration)
    }
    family = address.family
    if !address.isUnspecified { hostIP = address }
  }

  /// True when packets of the family can be meant.
  func applies(to other: AddressFamily) -> Bool { (family ?? other) == other }

  /// True when packets to 127.0.0.1 can be meant, which need `route_localnet` (contract cni §C 21).
  var isForLocalhost: Bool { applies(to: .ipv4) && hostIP?.isLoopback ?? true }

  private static func port(_ n: Int, _ side: String) throws(CNIError) -> UInt16 {
    guard n > 0, let port = UInt16(exactly: n) else {
      throw .plain("Invalid \(side) port number: \(n)", .invalidConfiguration)
    }
    return port
  }
}
