import NetTypes
import Netlink
import Syscalls

/// The network that joins the nodes: a bridge in a namespace of its own, a veth to each node, and a router address that
/// is every node's default gateway (it leads to the internet). The machine's own network is not touched.
enum Underlay {
  /// The bridge's name in its namespace.
  static let bridge = "lan"
  /// The interface's name on a node; its other end is called like the node.
  static let nodeInterface = "eth0"
  /// From this many nodes on, nodes and router know each other's MAC addresses from the start: the kernel keeps at most 1,024 learnt
  /// ones for all namespaces together (`net.ipv4.neigh.default.gc_thresh3`).
  static let staticNeighbours = 25

  /// Makes all namespaces and the network between them.
  static func create(_ names: LabNames, _ plan: LabPlan) throws {
    let lan = try makeNamespace(names.lan)
    try Internet.prepare(names.lan, plan.families, forwards: true)
    var socket = try RouteSocket(in: lan)
    var batch = RouteBatch()
    batch.createLink(Link(name: bridge, kind: .bridge(vlanFiltering: nil), mac: mac(0)), up: true)
    try socket.apply(batch)
    guard let lanBridge = try socket.link(named: bridge) else { throw LabError("the bridge vanished") }
    var addresses = RouteBatch()
    addresses.setLink(index: 1, up: true)
    for family in plan.families {
      addresses.set(interfaceAddress(lanBridge.index, LabPlan.router(family)), noDAD: family == .ipv6)
    }
    try socket.apply(addresses)
    try Internet.create(names, plan.families, &socket)
    for k in 1...plan.nodes {
      try Interruption.check()
      try attach(k, names, plan, &socket, lanBridge.index)
    }
  }

  private static func attach(
    _ k: Int, _ names: LabNames, _ plan: LabPlan, _ lan: inout RouteSocket, _ bridge: Int32
  ) throws {
    let node = try makeNamespace(names.namespace(node: LabNames.node(k)))
    var batch = RouteBatch()
    batch.createLink(
      Link(name: LabNames.node(k), kind: .veth, master: bridge), up: true,
      peer: VethPeer(name: nodeInterface, namespace: node.descriptor, mac: mac(k)))
    try lan.apply(batch)
    var socket = try RouteSocket(in: node)
    guard let eth0 = try socket.link(named: nodeInterface) else { throw LabError("node n\(k) did not get its eth0") }
    var inside = RouteBatch()
    inside.setLink(index: 1, up: true)
    inside.setLink(index: eth0.index, up: true)
    for family in plan.families {
      let address = LabPlan.underlayAddress(node: k, family)
      inside.set(interfaceAddress(eth0.index, address), noDAD: family == .ipv6)
      inside.set(Route(destination: family.any, gateway: LabPlan.router(family).address, device: eth0.index))
    }
    if plan.nodes >= staticNeighbours {
      for family in plan.families {
        inside.set(Neighbour(device: eth0.index, address: LabPlan.router(family).address, mac: mac(0)))
        for peer in 1...plan.nodes where peer != k { inside.set(neighbour(peer, family, eth0.index)) }
      }
      var known = RouteBatch()
      for family in plan.families { known.set(neighbour(k, family, bridge)) }
      try lan.apply(known)
    }
    try socket.apply(inside)
  }

  private static func neighbour(_ k: Int, _ family: AddressFamily, _ device: Int32) -> Neighbour {
    Neighbour(device: device, address: LabPlan.underlayAddress(node: k, family).address, mac: mac(k))
  }

  static func makeNamespace(_ name: String) throws -> NetworkNamespace {
    try NetworkNamespace.create(path: LabNames.path(name))
    return try NetworkNamespace(path: LabNames.path(name))
  }

  static func interfaceAddress(_ device: Int32, _ prefix: IPPrefix) -> InterfaceAddress {
    InterfaceAddress(device: device, prefix: prefix, broadcast: prefix.family == .ipv4 ? prefix.last : nil)
  }

  /// A locally administered address: node `k`'s, or the bridge's for 0.
  static func mac(_ k: Int) -> MACAddress { MACAddress(0x0277_6c61_0000 | UInt64(max(0, k))) }
}
