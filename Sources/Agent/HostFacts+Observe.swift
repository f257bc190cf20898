public import NetTypes
public import Netlink
import Subnets

extension HostFacts {
  /// Asks the kernel.
  public init(observing socket: inout RouteSocket) throws(NetlinkError) {
    // An overlay device is never the underlay, whatever a pattern matches.
    let links = try socket.links().filter { link in
      if case .vxlan? = link.kind, link.name.hasPrefix("flannel") { return false }
      return true
    }
    let indexes = Set(links.map(\.index))
    let addresses = try socket.addresses().filter { indexes.contains($0.device) }
    var routes: [Route] = []
    for family in AddressFamily.allCases { routes += try socket.routes(family) }
    self.init(links: links, addresses: addresses, routes: routes)
  }
}

extension ExternalInterface {
  /// Chooses the interface of this network namespace.
  public static func observe(
    _ options: InterfaceOptions, families: [AddressFamily], socket: inout RouteSocket, note: (Note) -> Void
  ) throws(InterfaceError) -> ExternalInterface {
    do {
      let facts = try HostFacts(observing: &socket)
      // The look-up is only wanted for --iface-can-reach, but asked for in advance: the choice itself touches nothing.
      let target = IPAddress(options.canReach)
      let reachable = try target.map { target throws(NetlinkError) in try socket.route(to: target) } ?? nil
      return try choose(
        options, facts: facts, families: families, route: { $0 == target ? reachable : nil }, note: note)
    } catch let error as NetlinkError {
      throw InterfaceError("cannot read interfaces, addresses and routes: \(error)")
    } catch let error as InterfaceError {
      throw error
    } catch {
      throw InterfaceError("\(error)")
    }
  }
}
