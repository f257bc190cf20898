import JSON
import NetTypes

/// What a lab looks like: how many nodes and pods, which networks. Pure; it is what `lab.json` keeps.
public struct LabPlan: Hashable, Sendable {
  /// At most this many nodes.
  public static let nodeLimit = 200
  /// At most this many pods per node made by `up`.
  public static let podLimit = 100
  /// The underlay's IPv4 network; node K has host number 10 + K, the router 1.
  public static let underlay = IPPrefix(base: IPAddress(.ipv4, 0xac1f_4d00), length: 24)
  /// The underlay's IPv6 network.
  public static let underlay6 = IPPrefix(base: IPAddress(.ipv6, 0xfd77 << 112), length: 64)
  /// The pod network when none is given.
  public static let defaultNetwork = IPPrefix(base: IPAddress(.ipv4, 0x0af4_0000), length: 16)
  /// The IPv6 pod network when none is given: `fd00:10:244::/56`.
  public static let defaultIPv6Network = IPPrefix(base: IPAddress(.ipv6, 0xfd00_0010_0244 << 80), length: 56)
  /// Back ends the agent serves, by their names in net-conf.json (contract flanneld §2.4).
  public static let backends = ["vxlan"]

  /// Number of nodes.
  public var nodes: Int
  /// Pods per node that `up` makes.
  public var pods: Int
  /// IPv4 pod network.
  public var network: IPPrefix
  /// IPv6 pod network; nil = IPv4 only.
  public var ipv6Network: IPPrefix?
  /// The `Backend` object of net-conf.json.
  public var backend: JSONObject
  /// Whether agents program nf_tables directly rather than iptables (contract flanneld §2.1).
  public var nftables: Bool

  /// - Parameter backend: a back end's name, or the whole `Backend` object as JSON.
  /// - Throws: what is out of bounds, overlapping or unknown.
  public init(
    nodes: Int, pods: Int, network: String? = nil, dualStack: Bool = false, ipv6Network: String? = nil,
    backend: String = "vxlan", nftables: Bool = false
  ) throws(LabError) {
    guard (1...Self.nodeLimit).contains(nodes) else {
      throw LabError("cannot make \(nodes) nodes", advice: "--nodes is 1 to \(Self.nodeLimit)")
    }
    guard (0...Self.podLimit).contains(pods) else {
      throw LabError("cannot make \(pods) pods per node", advice: "--pods is 0 to \(Self.podLimit)")
    }
    self.nodes = nodes
    self.pods = pods
    self.network = try Self.parse(network, .ipv4, "--network") ?? Self.defaultNetwork
    self.ipv6Network =
      try Self.parse(ipv6Network, .ipv6, "--ipv6-network") ?? (dualStack ? Self.defaultIPv6Network : nil)
    self.backend = try Self.parseBackend(backend)
    self.nftables = nftables
    try checkNetworks()
  }

  /// The families pods get addresses of.
  public var families: [AddressFamily] { ipv6Network == nil ? [.ipv4] : [.ipv4, .ipv6] }

  /// The pod network of a family; nil when the lab does not have it.
  public func network(_ family: AddressFamily) -> IPPrefix? { family == .ipv4 ? network : ipv6Network }

  /// The underlay network of a family.
  public static func underlay(_ family: AddressFamily) -> IPPrefix { family == .ipv4 ? underlay : underlay6 }

  /// The underlay address of node `k`: `172.31.77.(10+k)`, and `fd77::(10+k)` with the same digits.
  public static func underlayAddress(node k: Int, _ family: AddressFamily) -> IPPrefix {
    let host = 10 + max(0, k)
    let digits = family == .ipv4 ? UInt128(host) : UInt128(String(host), radix: 16) ?? 0
    let network = underlay(family)
    return IPPrefix(base: IPAddress(family, network.base.value | digits), length: network.length)
  }

  /// The underlay address of the router, the default gateway of the nodes.
  public static func router(_ family: AddressFamily) -> IPPrefix {
    let network = underlay(family)
    return IPPrefix(base: IPAddress(family, network.base.value | 1), length: network.length)
  }

  /// net-conf.json for the agents (contract flanneld §2.1).
  public var netConf: JSONValue {
    var o = JSONObject([("Network", .string(network.description))])
    if let ipv6Network {
      o["EnableIPv6"] = true
      o["IPv6Network"] = .string(ipv6Network.description)
    }
    if nftables { o["EnableNFTables"] = true }
    o["Backend"] = .object(backend)
    return .object(o)
  }

  /// The UDP port of the tunnels: that of the back end, or the kernel's own.
  var tunnelPort: Int { backend["Port"]?.intValue.flatMap { $0 == 0 ? nil : $0 } ?? 8472 }

  /// The bits of a node's subnet that an agent chooses for a pod network by default (contract flanneld §2.2).
  public static func subnetLength(_ network: IPPrefix) -> Int {
    switch network.family {
    case .ipv4: network.length <= 22 ? 24 : network.length + 2
    case .ipv6: network.length <= 62 ? 64 : network.length + 2
    }
  }
}

extension LabPlan {
  private static func parse(_ text: String?, _ family: AddressFamily, _ flag: String) throws(LabError) -> IPPrefix? {
    guard let text else { return nil }
    let example = family == .ipv4 ? defaultNetwork : defaultIPv6Network
    guard let prefix = IPPrefix(text), prefix.family == family else {
      let name = family == .ipv4 ? "IPv4" : "IPv6"
      throw LabError("\(flag) \"\(text)\" is not an \(name) network", advice: "write it like \(example)")
    }
    guard prefix.isNetwork else {
      throw LabError("\(flag) \(text) has host bits set", advice: "did you mean \(prefix.network)?")
    }
    return prefix
  }

  private static func parseBackend(_ text: String) throws(LabError) -> JSONObject {
    let names = backends.joined(separator: ", ")
    if text.hasPrefix("{") {
      guard let object = (try? JSONValue(parsing: text))?.objectValue else {
        throw LabError("--backend \(text) is not a JSON object")
      }
      guard let type = object["Type"]?.stringValue, backends.contains(type.lowercased()) else {
        throw LabError("--backend \(text) has no supported \"Type\"", advice: "this version supports \(names)")
      }
      return object
    }
    guard backends.contains(text) else {
      throw LabError("unknown or unsupported back end \"\(text)\"", advice: "this version supports \(names)")
    }
    return JSONObject([("Type", .string(text))])
  }

  /// Loopback and link-local addresses, which are never routed.
  private static func localNetworks(_ family: AddressFamily) -> [IPPrefix] {
    switch family {
    case .ipv4:
      [
        IPPrefix(base: IPAddress(.ipv4, 127 << 24), length: 8),
        IPPrefix(base: IPAddress(.ipv4, 0xa9fe << 16), length: 16),
      ]
    case .ipv6:
      [
        IPPrefix(base: IPAddress(.ipv6, 1), length: 128),
        IPPrefix(base: IPAddress(.ipv6, 0xfe80 << 112), length: 10),
      ]
    }
  }

  private func checkNetworks() throws(LabError) {
    for family in families {
      guard let network = network(family) else { continue }
      let reserved = ([family.multicast] + Self.localNetworks(family)).map { ("the reserved network", $0) }
      let own = [("the lab's underlay", Self.underlay(family)), ("the lab's internet", Internet.network(family))]
      for (what, other) in own + reserved where other.overlaps(network) {
        throw LabError("the pod network \(network) overlaps \(what) \(other)", advice: "choose another network")
      }
      let bits = Self.subnetLength(network) - network.length
      guard Self.subnetLength(network) <= family.bitWidth - 2 else {
        throw LabError("the pod network \(network) is too small", advice: "use a prefix of at least /28 or /124")
      }
      // The first subnet of a network is never used.
      guard bits >= 16 || nodes <= (1 << bits) - 1 else {
        throw LabError(
          "the pod network \(network) has room for \((1 << bits) - 1) nodes, not \(nodes)",
          advice: "choose a larger network")
      }
      let hosts = family.bitWidth - Self.subnetLength(network)
      guard hosts >= 16 || pods <= (1 << hosts) - 3 else {
        throw LabError(
          "a node's subnet of \(network) has room for \((1 << hosts) - 3) pods, not \(pods)",
          advice: "choose a larger network")
      }
    }
  }

  /// The document kept in `lab.json`.
  public var json: JSONValue {
    .object(
      JSONObject([
        ("version", 1), ("nodes", .integer(nodes)), ("pods", .integer(pods)),
        ("network", .string(network.description)),
        ("ipv6Network", ipv6Network.map { .string($0.description) } ?? .null), ("backend", .object(backend)),
        ("nftables", .bool(nftables)),
      ]))
  }

  /// Reads `lab.json` back, also of earlier versions, which lacks what did not exist then.
  public init(json: JSONValue) throws(LabError) {
    guard let o = json.objectValue, o["version"] == 1, let nodes = o["nodes"]?.intValue, let pods = o["pods"]?.intValue,
      let network = o["network"]?.stringValue, let backend = o["backend"]?.objectValue
    else { throw LabError("not a description of a lab") }
    try self.init(
      nodes: nodes, pods: pods, network: network, ipv6Network: o["ipv6Network"]?.stringValue,
      backend: JSONValue.object(backend).text(), nftables: o["nftables"] == true)
  }
}
