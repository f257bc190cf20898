import HostNetwork
import NetTypes
import Netlink
import Syscalls

/// Removes the devices, routes and next-hop objects of the agent, and the bridge of the pods when it is empty.
struct NetworkPurge {
  /// The pod networks, as far as they are known: black-hole routes in them are flannel's.
  var networks: [IPPrefix]

  /// The bridge that the configuration of flannel makes.
  static let bridge = "cni0"

  /// - Parameter hasPods: set when pods are on the bridge.
  func run(_ removal: inout Removal, hasPods: inout Bool) {
    var pods = false
    removal.look(at: "the network devices") { removal in
      var socket = try RouteSocket()
      let links = try socket.links()
      let overlays = links.filter(Self.isOverlay)
      removal.look(at: "the routes") { try removeRoutes(&$0, devices: Set(overlays.map(\.index))) }
      for link in overlays { Self.remove(link, &removal) }
      guard let bridge = links.first(where: { $0.name == Self.bridge }) else { return }
      let ports = links.filter { $0.master == bridge.index }
      pods = !ports.isEmpty
      if case .bridge? = bridge.kind, ports.isEmpty {
        Self.remove(bridge, &removal)
      } else if ports.isEmpty {
        removal.keep(bridge.name, "it is no bridge")
      } else {
        removal.keep(bridge.name, "pods are connected to it: \(ports.map(\.name).sorted().joined(separator: ", "))")
      }
    }
    hasPods = pods
  }

  /// `flannel.<VNI>` and `flannel-v6.<VNI>`, VXLAN devices with that VNI.
  static func isOverlay(_ link: Link) -> Bool {
    guard case .vxlan(let options)? = link.kind else { return false }
    return link.name == "flannel.\(options.vni)" || link.name == "flannel-v6.\(options.vni)"
  }

  private static func remove(_ link: Link, _ removal: inout Removal) {
    removal.remove("device \(link.name) (\(link.kind?.name ?? "device"))") {
      try apply { $0.deleteLink(index: link.index) }
    }
  }

  /// Routes over our own devices go with these. (Routes that Flannel made over other devices, its `host-gw`, look like an
  /// administrator's and stay.)
  private func removeRoutes(_ removal: inout Removal, devices: Set<Int32>) throws {
    var socket = try RouteSocket()
    let ownership = Ownership(devices: devices, networks: networks)
    for family in AddressFamily.allCases {
      for route in try socket.routes(family).map(\.comparable)
      where ownership.owns(route) && !devices.contains(route.device) {
        removal.remove(Self.describe(route)) { try Self.apply { $0.remove(route) } }
      }
    }
    for hop in try Self.nexthops(&socket) where hop.origin == RouteOrigin.weft {
      removal.remove("next-hop object \(hop.id)\(hop.gateway.map { " via \($0)" } ?? "")") {
        try Self.apply { $0.removeNexthop(id: hop.id) }
      }
    }
  }

  private static func describe(_ route: Route) -> String {
    if route.kind == .blackhole { return "black-hole route \(route.destination)" }
    let way = route.gateway.map { " via \($0)" } ?? (route.nexthop == 0 ? "" : " over next-hop object \(route.nexthop)")
    return "route \(route.destination)\(way)"
  }

  /// None on a kernel without them.
  private static func nexthops(_ socket: inout RouteSocket) throws(NetlinkError) -> [Nexthop] {
    do { return try socket.nexthops() } catch  where error.errno == .notSupported { return [] }
  }

  /// Sends one request; removing what is gone is no error.
  private static func apply(_ request: (inout RouteBatch) -> Void) throws(NetlinkError) {
    var socket = try RouteSocket()
    var batch = RouteBatch()
    request(&batch)
    do {
      try socket.apply(batch)
    } catch  where [.noEntry, .noProcess, .noDevice].contains(error.errno) {}
  }
}
