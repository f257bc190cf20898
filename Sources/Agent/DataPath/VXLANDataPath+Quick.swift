import Backends
import HostNetwork
import Logging
import NetTypes
import Netlink
import Subnets

/// In a large cluster looking at everything takes tens of milliseconds, and nodes come and go all the time. A few
/// changed leases are therefore planned and applied alone, while nothing else has changed.
extension VXLANDataPath {
  /// More changed leases than this are left to a pass over everything.
  private static let mostChanges = 32

  /// Applies the difference between the leases of the last pass and these.
  /// - Returns: false when everything must be looked at.
  mutating func quickPass(_ latest: [Lease], _ report: inout PassReport) throws(NetlinkError) -> Bool {
    guard var context, let (gone, new) = Self.changes(leases, latest) else { return false }
    var warnings: [String] = []
    let before = gone.compactMap { peer($0, &warnings) }
    warnings = []
    let after = new.compactMap { peer($0, &warnings) }
    let count = peers.count - before.count + after.count
    let usesNexthops = planner.wantsNexthops(peers: peers.count, current: context.usesNexthops)
    guard planner.wantsNexthops(peers: count, current: usesNexthops) == usesNexthops,
      !usesNexthops || planner.networks[.ipv6] == nil
    else { return false }
    context.nexthopChoice = usesNexthops
    let seeds = before + after
    let old = planner.plan(peers: planner.related(to: seeds, in: peers), context)
    if !before.isEmpty { peers.removeAll { before.contains($0) } }
    peers += after
    let plan = planner.plan(peers: planner.related(to: seeds, in: peers), context)
    relevance?.replace(old, by: plan)
    leases = latest
    try host.apply(NetworkChanges(plan: plan, state: NetworkState(old)), up: [], &report)
    for text in plan.warnings + warnings where logged.insert(text).inserted { log.warning("\(text)") }
    return true
  }

  /// What one list of leases has and the other has not; both are sorted by key. Nil when it is much.
  private static func changes(_ old: [Lease], _ new: [Lease]) -> (gone: [Lease], new: [Lease])? {
    var gone: [Lease] = []
    var come: [Lease] = []
    var i = 0
    var j = 0
    while i < old.count || j < new.count {
      guard gone.count + come.count <= mostChanges else { return nil }
      if i < old.count, j < new.count, isSame(old[i], new[j]) {
        i += 1
        j += 1
      } else if i < old.count, j == new.count || precedes(old[i], new[j]) {
        gone.append(old[i])
        i += 1
      } else if j < new.count, i == old.count || precedes(new[j], old[i]) {
        come.append(new[j])
        j += 1
      } else {
        gone.append(old[i])
        come.append(new[j])
        i += 1
        j += 1
      }
    }
    return (gone, come)
  }

  private static func isSame(_ a: Lease, _ b: Lease) -> Bool {
    if a.stamp != 0, b.stamp != 0 { return a.stamp == b.stamp }
    return a == b
  }

  private static func precedes(_ a: Lease, _ b: Lease) -> Bool {
    a.key != b.key ? a.key < b.key : a.rank < b.rank
  }
}
