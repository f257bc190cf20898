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
    default: for plan in plans { try PortmapIptables(environment: request.environment).add(plan) }
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
    ports += try PortmapIptables(environment: request.environment).remove(request.name, request.containerID)
    ports += PortmapConfiguration(removal: request.config).mappings.map(HostPort.init)
    forget(AddressFamily.allCases.flatMap { family in ports.map { (family, $0) } }, request)
  }

  /// Connections of UDP live on in the kernel's table of connections, and would keep going where they went.
  private func forget(_ ports: [(family: AddressFamily, port: HostPort)], _ request: CNIRequest) {
    for family in AddressFamily.allCases {
      let udp = ports.filter { $0.family == family && $0.port.transport == PortProtocol.udp.rawValue }
      guard !udp.isEmpty else { continue }
      do {
        var connections = try ConntrackSocket()
        try connections.flushUDP(destinationPorts: Set(udp.map(\.port.number)), family: family)
      } catch {
        request.log("portmap: cannot forget old connections of UDP: \(error)")
      }
    }
  }

  /// Fails when a rule is missing.
  public func check(_ request: CNIRequest) throws {
    let configuration = try PortmapConfiguration(request.config, request.environment)
    guard let previous = try request.previousResult() else { throw CNIError.plain("Required prevResult missing") }
    for plan in PortmapPlan.all(configuration, request, previous) {
      switch configuration.backend {
      case .nftables:
        var rules = try PortmapNftables()
        try rules.check(plan)
      case .iptables: try PortmapIptables(environment: request.environment).check(plan)
      }
    }
  }

  /// A configuration that ADD would refuse and a back end that is not there are code 50.
  public func status(_ request: CNIRequest) throws {
    do throws(CNIError) {
      let configuration = try PortmapConfiguration(request.config, request.environment)
      switch configuration.backend {
      case .nftables:
        var socket = try NftSocket.ofThread()
        _ = try doing("nf_tables") { () throws(NetlinkError) in try socket.generation() }
      case .iptables: _ = try IptablesProgram(.ipv4, request.environment)
      }
    } catch {
      throw CNIError(.notAvailable, error.message)
    }
  }

  /// Rules outlive their containers when DEL never came.
  public func gc(_ request: CNIRequest) throws {
    let valid = Set(try request.validAttachments().map(\.containerID))
    try PortmapIptables(environment: request.environment).removeInvalid(request.name, valid)
    var nftables = try PortmapNftables()
    try nftables.removeInvalid(Set(valid.map(\.ruleOwner)))
  }
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
