import Firewall
import NetTypes
import Netlink

/// What the rules of one attachment are in one family, worked out from the configuration. Pure.
struct PortmapPlan: Hashable, Sendable {
  let configuration: PortmapConfiguration
  let network: String
  let containerID: String
  /// The container's id as rules carry it.
  var owner: String { containerID.ruleOwner }
  /// The container's address with the length of its subnet.
  let target: IPPrefix
  /// The mappings that packets of the family can mean, in the order of the configuration.
  let mappings: [PortMapping]

  var family: AddressFamily { target.family }

  /// - Returns: nil when no packet of the family can be meant.
  init?(_ configuration: PortmapConfiguration, network: String, containerID: String, target: IPPrefix) {
    mappings = configuration.mappings.filter { $0.applies(to: target.family) }
    guard !mappings.isEmpty else { return nil }
    self.configuration = configuration
    self.network = network
    self.containerID = containerID
    self.target = target
  }

  /// Connections from 127.0.0.1 reach a container only when the kernel does not take them for martians.
  var needsLocalRouting: Bool {
    family == .ipv4 && configuration.snat && mappings.contains(where: \.isForLocalhost)
  }
}

/// The names of the nftables layout, common to both families (contract cni §B5).
enum HostPortTable {
  static let name = "cni_hostport"
  static let comment = "CNI portmap plugin"
  static let ports = "hostports"
  /// Where older releases put rules with a host address; empty, and kept for them.
  static let legacyPorts = "hostip_hostports"
  static let allPorts = "hostports_all"
  static let prerouting = "prerouting"
  static let output = "output"
  static let masquerading = "masquerading"
  /// The chains that hold rules of containers.
  static let ofContainers = [ports, legacyPorts, masquerading]
}

// MARK: - nftables

extension PortmapPlan {
  /// The rule of each mapping in `hostports`, without conditions.
  var portRules: [Rule] {
    mappings.map { m in
      var matches: [Match] = []
      if let host = m.hostIP { matches.append(.destination(IPPrefix(host: host))) }
      matches.append(.destinationPort(m.transport, m.hostPort))
      return Rule(matches, .dnat(target.address, port: m.containerPort), comment: owner)
    }
  }

  /// The rules in `masquerading`: connections that the container opens to itself, and those of the host through
  /// 127.0.0.1, come from an address that the container can answer.
  var masqueradeRules: [Rule] {
    guard configuration.snat else { return [] }
    let container = IPPrefix(host: target.address)
    var sources = [configuration.masqueradesAll ? family.any : container]
    if family == .ipv4, !configuration.masqueradesAll { sources.append(.loopbackHost) }
    return sources.map {
      Rule([.source($0), .destination(container)], .masquerade(fullyRandom: false), comment: owner)
    }
  }

  /// The rules of a base chain and of the chain it leads to.
  static let baseRules = [Rule([.localDestination], .jump(HostPortTable.allPorts))]
  static let dispatchRules = [HostPortTable.legacyPorts, HostPortTable.ports].map { Rule([], .jump($0)) }
}

extension IPPrefix {
  /// 127.0.0.1/32
  static let loopbackHost = IPPrefix(host: IPAddress(.ipv4, 0x7f00_0001))
}

extension String {
  /// A container's id as the comment of a rule: what fits.
  var ruleOwner: String { String(decoding: utf8.prefix(NftRule.commentLimit), as: UTF8.self) }
}
