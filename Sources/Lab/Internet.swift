import NetTypes
import Netlink
import Syscalls

/// The world outside of the cluster: a host in a namespace of its own behind the underlay's router. Neither of them knows
/// a way to the pods, so that only packets with a node's address as source are answered.
enum Internet {
  /// The name in command lines, and the router's interface to it.
  static let name = "internet"
  /// Its own interface.
  static let interface = "eth0"

  /// The network between router and internet, of the ranges for documentation (RFC 5737, RFC 3849).
  static func network(_ family: AddressFamily) -> IPPrefix {
    switch family {
    case .ipv4: IPPrefix(base: IPAddress(.ipv4, 0xc633_6400), length: 24)
    case .ipv6: IPPrefix(base: IPAddress(.ipv6, 0x2001_0db8_0051_0100 << 64), length: 64)
    }
  }

  /// The router's address on that network: `198.51.100.1`, `2001:db8:51:100::1`.
  static func gateway(_ family: AddressFamily) -> IPPrefix { host(1, family) }
  /// The internet's address: `198.51.100.2`, `2001:db8:51:100::2`.
  static func address(_ family: AddressFamily) -> IPPrefix { host(2, family) }

  private static func host(_ n: UInt128, _ family: AddressFamily) -> IPPrefix {
    let network = network(family)
    return IPPrefix(base: IPAddress(family, network.base.value | n), length: network.length)
  }

  /// Makes the namespace and joins it to the router.
  /// - Parameter router: a socket in the router's namespace.
  static func create(_ names: LabNames, _ families: [AddressFamily], _ router: inout RouteSocket) throws {
    let place = try Underlay.makeNamespace(names.internet)
    try prepare(names.internet, families, forwards: false)
    var batch = RouteBatch()
    batch.createLink(
      Link(name: name, kind: .veth), up: true, peer: VethPeer(name: interface, namespace: place.descriptor))
    try router.apply(batch)
    guard let near = try router.link(named: name) else { throw LabError("the router did not get its way out") }
    var addresses = RouteBatch()
    for family in families { addresses.set(Underlay.interfaceAddress(near.index, gateway(family)), noDAD: true) }
    try router.apply(addresses)

    var socket = try RouteSocket(in: place)
    guard let eth0 = try socket.link(named: interface) else { throw LabError("the internet did not get its eth0") }
    var inside = RouteBatch()
    inside.setLink(index: 1, up: true)
    inside.setLink(index: eth0.index, up: true)
    for family in families {
      inside.set(Underlay.interfaceAddress(eth0.index, address(family)), noDAD: true)
      inside.set(
        Route(destination: LabPlan.underlay(family), gateway: gateway(family).address, device: eth0.index))
    }
    try socket.apply(inside)
  }

  /// Sets a new namespace's kernel parameters: what comes from an address without a way back is passed on and seen, too;
  /// addresses can be used at once.
  /// - Parameter forwards: packets of others are passed on.
  static func prepare(_ namespace: String, _ families: [AddressFamily], forwards: Bool) throws {
    try NetworkNamespace(path: LabNames.path(namespace)).run { () throws(SystemError) in
      // Devices made later take the default.
      for scope in ["all", "default"] {
        try Sysctl.ensure("net/ipv4/conf/\(scope)/rp_filter", "0")
        // Without a link-local address a router cannot ask for neighbours.
        if families.contains(.ipv6) { try Sysctl.ensure("net/ipv6/conf/\(scope)/accept_dad", "0") }
      }
      for family in families where forwards { try Sysctl.ensure(forwarding(family), "1") }
    }
  }

  /// The kernel parameter that makes a namespace pass packets on.
  static func forwarding(_ family: AddressFamily) -> String {
    family == .ipv4 ? "net/ipv4/ip_forward" : "net/ipv6/conf/all/forwarding"
  }
}
