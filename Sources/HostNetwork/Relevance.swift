public import NetTypes
public import Netlink

/// Decides whether a kernel notification calls for a pass. Our own changes are reported back to us too; an event
/// matters only if it contradicts the plan or concerns something of ours that the plan does not have.
public struct Relevance: Sendable {
  private let ownership: Ownership
  private let deviceNames: Set<String>
  private let underlay: String
  private let watchesForeignRoutes: Bool
  private var addresses: Expected<InterfaceAddress>
  private var neighbours: Expected<Neighbour>
  private var fdb: Expected<FDBEntry>
  private var nexthops: Expected<Nexthop>
  private var routes: Expected<Route>
  private var links: [String: Link]

  /// - Parameters:
  ///   - watchesForeignRoutes: the plan depends on how peers are reached, so that any route may matter.
  ///   - links: our devices and the underlay as last seen, to tell a change that matters from statistics.
  public init(
    plan: NetworkPlan, ownership: Ownership, deviceNames: Set<String>, underlay: String,
    watchesForeignRoutes: Bool = false, links: [Link]
  ) {
    self.ownership = ownership
    self.deviceNames = deviceNames
    self.underlay = underlay
    self.watchesForeignRoutes = watchesForeignRoutes
    self.links = Dictionary(links.map { ($0.name, $0) }) { $1 }
    addresses = Expected(plan.addresses)
    neighbours = Expected(plan.neighbours)
    fdb = Expected(plan.fdb)
    nexthops = Expected(plan.nexthops)
    routes = Expected(plan.routes)
  }

  /// Part of the plan was replaced.
  public mutating func replace(_ old: NetworkPlan, by new: NetworkPlan) {
    addresses.replace(old.addresses, by: new.addresses)
    neighbours.replace(old.neighbours, by: new.neighbours)
    fdb.replace(old.fdb, by: new.fdb)
    nexthops.replace(old.nexthops, by: new.nexthops)
    routes.replace(old.routes, by: new.routes)
  }

  /// True when a pass should look at the kernel again.
  public mutating func concerns(_ event: RouteEvent) -> Bool {
    switch event {
    case .overflow: true
    case .link(let l, let removed): concerns(link: l, removed: removed)
    case .address(let a, let removed): isUnderlay(a) || addresses.isContradicted(by: a, removed, ownership.owns(a))
    case .neighbour(let n, let removed): neighbours.isContradicted(by: n, removed, ownership.owns(n))
    case .fdb(let e, let removed): fdb.isContradicted(by: e, removed, ownership.owns(e))
    case .nexthop(let n, let removed): nexthops.isContradicted(by: n, removed, ownership.owns(n))
    case .route(let r, let removed):
      routes.isContradicted(by: r.comparable, removed, ownership.owns(r)) || watchesForeignRoutes && r.table == 254
    }
  }

  private func isUnderlay(_ a: InterfaceAddress) -> Bool { links[underlay]?.index == a.device }

  private mutating func concerns(link l: Link, removed: Bool) -> Bool {
    guard deviceNames.contains(l.name) || l.name == underlay || ownership.devices.contains(l.index) else {
      return false
    }
    if removed {
      links[l.name] = nil
      return true
    }
    defer { links[l.name] = l }
    guard let old = links[l.name] else { return true }
    return old.index != l.index || old.mtu != l.mtu || old.isUp != l.isUp || old.mac != l.mac
      || l.name == underlay && old.operationalState != l.operationalState
  }
}

/// Which objects of a kind the plan has, as hashes: a large cluster's plan is not kept a second time. Two objects with
/// one hash would hide a change until the next periodic pass; with 64 bits that does not happen.
private struct Expected<Object: KernelObject & Hashable>: Sendable {
  private var keys: Set<Int>
  private var values: Set<Int>

  init(_ objects: [Object]) {
    keys = Set<Int>(minimumCapacity: objects.count)
    values = Set<Int>(minimumCapacity: objects.count)
    insert(objects)
  }

  private mutating func insert(_ objects: [Object]) {
    for o in objects {
      keys.insert(o.id.hashValue)
      values.insert(o.hashValue)
    }
  }

  mutating func replace(_ old: [Object], by new: [Object]) {
    for o in old {
      keys.remove(o.id.hashValue)
      values.remove(o.hashValue)
    }
    insert(new)
  }

  /// A planned object went or has another value, or one of ours is there that is not planned.
  func isContradicted(by seen: Object, _ removed: Bool, _ isOurs: Bool) -> Bool {
    if keys.contains(seen.id.hashValue) { return removed || !values.contains(seen.hashValue) }
    return isOurs && !removed
  }
}
