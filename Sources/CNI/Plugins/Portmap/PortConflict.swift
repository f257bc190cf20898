import NetTypes
import Netlink
import Syscalls

/// A port of the host leads to one container. Pure but for the look whether another container is still there.
enum PortConflict {
  /// The rules that an ADD replaces: those of the same container to the same address or for the same port, those of
  /// anybody to the address, which is this container's now, and those of a container that is gone for the same port.
  /// - Throws: code 11 when a container that is there uses a port: the runtime may call again after its DEL.
  static func obsolete(
    _ present: [HostPortRule], for plan: PortmapPlan,
    isGone: (IPAddress) throws(CNIError) -> Bool = { a throws(CNIError) in try !Liveness.unreachable([a]).isEmpty }
  ) throws(CNIError) -> [HostPortRule] {
    let ports = Set(plan.mappings.map(HostPort.init))
    var dead: Set<IPAddress> = []
    var out: Set<HostPortRule> = []
    for rule in present {
      if rule.target == plan.target.address {
        out.insert(rule)
      } else if let port = rule.port, ports.contains(port) {
        if rule.owner != plan.owner, !dead.contains(rule.target) {
          guard try isGone(rule.target) else { throw inUse(port, by: rule.owner, rule.target) }
          dead.insert(rule.target)
        }
        out.insert(rule)
      }
    }
    return present.filter { out.contains($0) || isOrphan($0, present, out) }
  }

  /// Masquerading for a container to whose address no port leads any more.
  private static func isOrphan(_ rule: HostPortRule, _ present: [HostPortRule], _ removed: Set<HostPortRule>) -> Bool {
    func isOf(_ r: HostPortRule) -> Bool { r.port != nil && r.owner == rule.owner && r.target == rule.target }
    return rule.port == nil && removed.contains(where: isOf)
      && !present.contains { isOf($0) && !removed.contains($0) }
  }

  static func inUse(_ port: HostPort, by owner: String, _ target: IPAddress) -> CNIError {
    CNIError(
      .tryAgainLater, "host \(port) is in use by container \(owner) (\(target)): only one container can have it",
      details: "remove that container, or choose another hostPort or a hostIP of its own")
  }
}
