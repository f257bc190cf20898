import Firewall
import NetTypes
import Netlink
import Syscalls

/// The `portmap` plugin: ports of the host that lead to ports of the container (contract cni §B5). Chained behind the
/// plugin that gave the container its addresses; its result is passed on.
public struct PortmapPlugin: CNIPlugin {
  /// As in `type` of a configuration.
  public static let name = "portmap"

  /// The plugin has no state.
  public init() {}

  /// Without mappings nothing is looked at and nothing changed.
  public func add(_ request: CNIRequest) throws -> CNIResult {
    let configuration = try PortmapConfiguration(request.config, request.environment)
    guard let previous = try request.previousResult() else {
      throw CNIError.plain("must be called as chained plugin", .invalidConfiguration)
    }
    let plans = PortmapPlan.all(configuration, request, previous)
    guard !plans.isEmpty else { return previous }
    do {
      try make(plans, request)
    } catch {
      do {
        try remove(request, targets: Set(plans.map(\.target.address)))
      } catch {
        request.log("portmap: cannot remove the rules of a failed ADD: \(error)")
      }
      throw error
    }
    return previous
  }

  private func make(_ plans: [PortmapPlan], _ request: CNIRequest) throws(CNIError) {
    let lock = try RuleLock()
    switch plans.first?.configuration.backend {
    case .nftables:
      var rules = try PortmapNftables()
      try rules.add(plans, request.environment)
    default:
      var rules = try PortmapIptables(request.environment)
      try rules.add(plans)
    }
    _ = consume lock
    forget(plans.flatMap { plan in plan.mappings.map { (plan.family, HostPort($0)) } }, request)
    for plan in plans where plan.needsLocalRouting { try LocalRouting.enable(to: plan.target.address) }
  }

  /// Removes what any back end holds of the attachment, whoever made it. Rules of another interface of the container
  /// stay, if the previous result tells which addresses are meant.
  public func del(_ request: CNIRequest) throws {
    let previous = try? request.previousResult()
    try remove(request, targets: Set(previous?.addresses(ofContainer: request.ifname).values.map(\.address) ?? []))
  }

  private func remove(_ request: CNIRequest, targets: Set<IPAddress>) throws(CNIError) {
    var nftables = try PortmapNftables()
    var ports = try nftables.remove(request.containerID, targets: targets)
    var iptables = try PortmapIptables(request.environment)
    ports += try iptables.remove(request.name, request.containerID, targets: targets)
    let configured = PortmapConfiguration(removal: request.config).mappings
    forget(AddressFamily.allCases.flatMap { f in (configured.map(HostPort.init) + ports).map { (f, $0) } }, request)
  }

  private func forget(_ ports: [(AddressFamily, HostPort)], _ request: CNIRequest) {}
}

extension PortmapPlan {
  /// The plans of an attachment, one for each family that packets can come by.
  static func all(_ c: PortmapConfiguration, _ request: CNIRequest, _ previous: CNIResult) -> [PortmapPlan] {
    let addresses = previous.addresses(ofContainer: request.ifname)
    return AddressFamily.allCases.compactMap { family in
      addresses[family].flatMap {
        PortmapPlan(c, network: request.name, containerID: request.containerID, target: $0)
      }
    }
  }
}
