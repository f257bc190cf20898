public import NetTypes

/// What is in the kernel and belongs to us, normalised for comparison with a plan.
public struct NetworkState: Equatable, Sendable {
  /// Addresses of our devices.
  public var addresses: [InterfaceAddress] = []
  /// Permanent neighbours on our devices.
  public var neighbours: [Neighbour] = []
  /// Permanent forwarding entries of our VXLAN devices.
  public var fdb: [FDBEntry] = []
  /// Next-hop objects we made.
  public var nexthops: [Nexthop] = []
  /// Routes of the main table, in `comparable` form.
  public var routes: [Route] = []

  /// Nothing of ours is there.
  public init() {}

  /// What is there when a plan was carried out.
  public init(_ plan: NetworkPlan) {
    addresses = plan.addresses
    neighbours = plan.neighbours
    fdb = plan.fdb
    nexthops = plan.nexthops
    routes = plan.routes.map(\.comparable)
  }
}

/// The difference between a plan and the kernel, by kind.
public struct NetworkChanges: Equatable, Sendable {
  /// Changes of addresses; the first to be set.
  public var addresses: Changes<InterfaceAddress>
  /// Changes of permanent neighbours.
  public var neighbours: Changes<Neighbour>
  /// Changes of VXLAN forwarding entries.
  public var fdb: Changes<FDBEntry>
  /// Changes of next-hop objects: set before the routes that use them, removed after these.
  public var nexthops: Changes<Nexthop>
  /// Changes of routes; the last to be set and the first to be removed.
  public var routes: Changes<Route>

  /// Pure; empty when plan and state agree.
  public init(plan: NetworkPlan, state: NetworkState) {
    addresses = diff(desired: plan.addresses, observed: state.addresses)
    neighbours = diff(desired: plan.neighbours, observed: state.neighbours)
    fdb = diff(desired: plan.fdb, observed: state.fdb)
    nexthops = diff(desired: plan.nexthops, observed: state.nexthops)
    routes = diff(desired: plan.routes, observed: state.routes)
  }

  /// True when nothing has to be done.
  public var isEmpty: Bool {
    addresses.isEmpty && neighbours.isEmpty && fdb.isEmpty && nexthops.isEmpty && routes.isEmpty
  }
}

extension Route {
  /// The route as it is compared: with a next-hop object the kernel repeats the object's gateway and flags in its
  /// answers, and the state of the link is not part of the route.
  public var comparable: Route {
    var r = self
    r.isDead = false
    // IPv6 shows black holes on the loopback device.
    if r.kind == .blackhole { r.device = 0 }
    if r.nexthop != 0 {
      r.gateway = nil
      r.isOnlink = false
    }
    return r
  }
}
