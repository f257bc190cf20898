import NetTypes

/// Kernel objects as `ip` and `bridge` print them.
public enum IPText {
  /// As `ip route` prints it: `10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink`.
  public static func route(_ r: Route, in view: NamespaceView) -> String {
    var words: [String] = []
    if let kind = kind(r.kind) { words.append(kind) }
    words.append(destination(r.destination))
    if r.nexthop != 0 { words += ["nhid", String(r.nexthop)] }
    let hop = view.hop(of: r)
    if let gateway = hop.gateway { words += ["via", gateway.description] }
    if hop.device != 0 { words += ["dev", view.name(hop.device)] }
    if let origin = origin(r.origin) { words += ["proto", origin] }
    if r.scope == 253 { words += ["scope", "link"] }
    if r.scope == 254 { words += ["scope", "host"] }
    if let source = r.source { words += ["src", source.description] }
    if r.metric != 0 { words += ["metric", String(r.metric)] }
    if r.mtu != 0 { words += ["mtu", String(r.mtu)] }
    if r.isOnlink { words.append("onlink") }
    if r.destination.family == .ipv6 { words += ["pref", "medium"] }
    if r.isDead { words.append("linkdown") }
    return words.joined(separator: " ")
  }

  /// As `ip neigh show dev X` prints it: `10.244.2.0 lladdr 76:ea:6b:ad:b3:f1 PERMANENT`.
  public static func neighbour(_ n: Neighbour) -> String {
    ([n.address.description] + (n.mac.map { ["lladdr", $0.description] } ?? []) + [state(n.state)])
      .joined(separator: " ")
  }

  /// As `bridge fdb show dev X` prints it: `76:ea:6b:ad:b3:f1 dst 172.31.77.12 self permanent`.
  public static func fdb(_ e: FDBEntry) -> String {
    ([e.mac.description] + (e.remote.map { ["dst", $0.description] } ?? []) + ["self"]
      + (e.isPermanent ? ["permanent"] : [])).joined(separator: " ")
  }

  private static func destination(_ p: IPPrefix) -> String {
    if p.length == 0 { return "default" }
    return p.length == p.family.bitWidth ? p.address.description : p.description
  }

  private static func kind(_ kind: Route.Kind) -> String? {
    switch kind {
    case .unicast: nil
    case .local: "local"
    case .broadcast: "broadcast"
    case .anycast: "anycast"
    case .multicast: "multicast"
    case .blackhole: "blackhole"
    case .unreachable: "unreachable"
    case .prohibit: "prohibit"
    case .throwing: "throw"
    case .other(let n): String(n)
    }
  }

  /// `RTPROT_*` by iproute2's names; `boot` is not printed.
  private static func origin(_ n: UInt8) -> String? {
    switch n {
    case 3: nil
    case 1: "redirect"
    case 2: "kernel"
    case 4: "static"
    case 9: "ra"
    case 16: "dhcp"
    default: String(n)
    }
  }

  private static func state(_ s: UInt16) -> String {
    let names: [(UInt16, String)] = [
      (0x80, "PERMANENT"), (0x40, "NOARP"), (0x20, "FAILED"), (0x10, "PROBE"), (0x08, "DELAY"), (0x04, "STALE"),
      (0x02, "REACHABLE"), (0x01, "INCOMPLETE"),
    ]
    return names.first { s & $0.0 != 0 }?.1 ?? "NONE"
  }
}
