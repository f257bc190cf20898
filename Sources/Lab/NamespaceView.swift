import NetTypes
import Netlink
import Syscalls

/// What the kernel has in a network namespace at one moment.
public struct NamespaceView: Sendable {
  /// Interfaces.
  public var links: [Link] = []
  /// Addresses of all interfaces.
  public var addresses: [InterfaceAddress] = []
  /// Routes of the main table, both families.
  public var routes: [Route] = []
  /// Next-hop objects.
  public var nexthops: [Nexthop] = []
  /// ARP and neighbour discovery entries of all interfaces.
  public var neighbours: [Neighbour] = []
  /// Forwarding entries of the VXLAN devices.
  public var fdb: [FDBEntry] = []
  /// Families the namespace forwards packets of.
  public var forwarding: Set<AddressFamily> = []

  /// Nothing.
  public init() {}

  /// Reads a namespace by its name in `/run/netns`.
  public init(namespace name: String) throws {
    let namespace = try NetworkNamespace(path: LabNames.path(name))
    var socket = try RouteSocket(in: namespace)
    links = try socket.links()
    addresses = try socket.addresses()
    nexthops = try socket.nexthops()
    for family in AddressFamily.allCases { routes += try socket.routes(family) }
    for link in links where !link.isLoopback {
      for family in AddressFamily.allCases { neighbours += try socket.neighbours(family, device: link.index) }
      if case .vxlan = link.kind { fdb += try socket.fdb(device: link.index) }
    }
    forwarding = try namespace.run { () throws(SystemError) in
      Set(AddressFamily.allCases.filter(Self.forwards))
    }
  }

  private static func forwards(_ family: AddressFamily) -> Bool {
    (try? Sysctl.read(Internet.forwarding(family))) == "1"
  }

  /// The interface of a name.
  public func link(_ name: String) -> Link? { links.first { $0.name == name } }
  /// The interface of an index.
  public func link(_ index: Int32) -> Link? { links.first { $0.index == index } }
  /// The name of an interface for messages.
  public func name(_ index: Int32) -> String { link(index)?.name ?? "interface \(index)" }
  /// The addresses of an interface, without link-local ones.
  public func addresses(of link: Link, _ family: AddressFamily? = nil) -> [InterfaceAddress] {
    addresses.filter {
      $0.device == link.index && (family == nil || $0.prefix.family == family)
        && !$0.prefix.address.isLinkLocalUnicast
    }
  }

  /// Whether duplicate address detection still runs for an address that counts. A device without carrier has to wait
  /// for it first.
  var hasTentativeAddress: Bool {
    addresses.contains { a in
      a.isTentative && !a.isDuplicate && !a.prefix.address.isLinkLocalUnicast && link(a.device)?.operationalState != 2
    }
  }

  /// The main table's route to an address: longest prefix, then lowest metric.
  public func route(to address: IPAddress) -> Route? {
    routes.filter { $0.destination.contains(address) }
      .max { a, b in
        (a.destination.length, Int64(b.metric)) < (b.destination.length, Int64(a.metric))
      }
  }

  /// Where a route sends packets: its own gateway and device, or those of its next-hop object.
  public func hop(of route: Route) -> (gateway: IPAddress?, device: Int32) {
    guard route.nexthop != 0, let object = nexthops.first(where: { $0.id == route.nexthop }) else {
      return (route.gateway, route.device)
    }
    return (object.gateway, object.device)
  }
}
