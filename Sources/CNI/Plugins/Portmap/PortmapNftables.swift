import Firewall
import NetTypes
import Netlink
import Syscalls

/// Host ports as rules of nf_tables, by netlink (contract cni §B5): tables `ip cni_hostport` and `ip6 cni_hostport`, in
/// which every container has rules with its id as their comment.
struct PortmapNftables: ~Copyable {
  var socket: NftSocket

  init() throws(CNIError) { socket = try .ofThread() }

  static func table(_ family: AddressFamily) -> NftTable.ID {
    NftTable.ID(family == .ipv4 ? .ipv4 : .ipv6, HostPortTable.name)
  }

  /// Makes the rules of an attachment, in one transaction for both families. What an earlier attempt left is replaced;
  /// a port that another container uses is an error, unless that container is gone.
  mutating func add(_ plans: [PortmapPlan], _ environment: PluginEnvironment) throws(CNIError) {
    for plan in plans { try PortmapPlan.check(plan.conditions) }
    try socket.change("failed to set up host ports") { (socket: inout NftSocket) throws(CNIError) in
      var batch = NftBatch()
      for plan in plans {
        let present = try socket.present(Self.table(plan.family))
        for rule in try PortConflict.obsolete(present.compactMap(HostPortRule.init), for: plan) {
          batch.deleteRule(Self.table(plan.family), rule.chain, handle: rule.handle)
        }
        Self.record(plan, present, into: &batch)
      }
      return batch
    }
    for plan in plans where !plan.conditions.isEmpty { try NftProgram.run(try plan.conditionalScript(), environment) }
  }

  /// Chains as everybody expects them, then the container's rules. A chain that is as it must be is left alone.
  private static func record(_ plan: PortmapPlan, _ present: [NftRule], into batch: inout NftBatch) {
    let table = table(plan.family)
    batch.add(NftTable(table, comment: HostPortTable.comment))
    batch.add(NftChain(table, HostPortTable.ports))
    batch.add(NftChain(table, HostPortTable.legacyPorts))
    batch.add(NftChain(table, HostPortTable.allPorts))
    batch.add(NftChain(table, HostPortTable.prerouting, base: .init(type: "nat", hook: .prerouting, priority: -100)))
    batch.add(NftChain(table, HostPortTable.output, base: .init(type: "nat", hook: .output, priority: -100)))
    batch.fill(table, HostPortTable.allPorts, PortmapPlan.dispatchRules, present)
    for chain in [HostPortTable.prerouting, HostPortTable.output] {
      batch.fill(table, chain, PortmapPlan.baseRules, present)
    }
    if plan.configuration.snat {
      batch.add(
        NftChain(table, HostPortTable.masquerading, base: .init(type: "nat", hook: .postrouting, priority: 100)))
    }
    if plan.conditions.isEmpty {
      for rule in plan.portRules { batch.append(rule, table, HostPortTable.ports) }
    }
    for rule in plan.masqueradeRules { batch.append(rule, table, HostPortTable.masquerading) }
  }

  /// Removes the rules of a container: those to the given addresses, or all if none is known. Returns the ports that
  /// were listened on.
  mutating func remove(_ containerID: String, targets: Set<IPAddress>) throws(CNIError) -> [HostPort] {
    let owner = containerID.ruleOwner
    return try removeRules { $0.owner == owner && (targets.isEmpty || targets.contains($0.target)) }
  }

  /// Removes the rules of containers that are not in the list and do not answer any more: the comment does not tell
  /// the network, so that one of another network may be meant.
  mutating func removeInvalid(_ valid: Set<String>) throws(CNIError) {
    var suspects: Set<IPAddress> = []
    for family in AddressFamily.allCases {
      let rules = try rules(family)
      for r in rules where !valid.contains(r.owner) { suspects.insert(r.target) }
    }
    guard !suspects.isEmpty else { return }
    let gone = try Liveness.unreachable(suspects)
    _ = try removeRules { !valid.contains($0.owner) && gone.contains($0.target) }
  }

  private mutating func removeRules(_ isObsolete: (HostPortRule) -> Bool) throws(CNIError) -> [HostPort] {
    var ports: [HostPort] = []
    try socket.change("failed to remove host ports") { (socket: inout NftSocket) throws(CNIError) in
      var batch = NftBatch()
      ports = []
      for family in AddressFamily.allCases {
        let present = try socket.present(Self.table(family))
        for rule in present.compactMap(HostPortRule.init) where isObsolete(rule) {
          batch.deleteRule(Self.table(family), rule.chain, handle: rule.handle)
          if let p = rule.port { ports.append(p) }
        }
      }
      return batch
    }
    return ports
  }

  private mutating func rules(_ family: AddressFamily) throws(CNIError) -> [HostPortRule] {
    try socket.present(Self.table(family)).compactMap(HostPortRule.init)
  }

  /// Fails when a rule of the attachment, or one that leads to it, is missing.
  mutating func check(_ plan: PortmapPlan) throws(CNIError) {
    let table = Self.table(plan.family)
    let present = try socket.present(table)
    func expect(_ rules: [Rule], _ chain: String, conditions: Bool = false) throws(CNIError) {
      for wanted in rules.flatMap({ $0.nftables(table, chain) }) {
        let isThere = present.contains { r in
          guard r.chain == chain, r.comment == wanted.comment else { return false }
          return conditions
            ? r.expressions.suffix(wanted.expressions.count).elementsEqual(wanted.expressions)
            : r.comparable == wanted.comparable
        }
        guard isThere else { throw .plain("missing hostport rules in \(quoted(chain)) chain") }
      }
    }
    try expect(plan.portRules, HostPortTable.ports, conditions: !plan.conditions.isEmpty)
    try expect(plan.masqueradeRules, HostPortTable.masquerading)
    try expect(PortmapPlan.dispatchRules, HostPortTable.allPorts)
    // A reference plugin may have put its conditions before ours.
    for chain in [HostPortTable.prerouting, HostPortTable.output] {
      try expect(PortmapPlan.baseRules, chain, conditions: true)
    }
  }
}
