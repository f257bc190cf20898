import Firewall
import NetTypes

/// Host ports as rules of iptables (contract cni §B5), one `iptables-restore` for each family.
struct PortmapIptables {
  let environment: PluginEnvironment

  /// Makes the rules of an attachment in one family. What an earlier attempt left is replaced; a port that another
  /// container uses is an error, unless that container is gone.
  func add(_ plan: PortmapPlan) throws(CNIError) {
    let program = try IptablesProgram(plan.family, environment)
    var table = try NATTable(plan.family, program.variant)
    try clear(&table, for: plan)
    var attempts = 0
    while true {
      do throws(CNIError) {
        return try program.change(try commands(plan, &table))
      } catch {
        // Another program may have made a common chain at the same moment: look again.
        attempts += 1
        guard attempts < 4, error.code != .tryAgainLater else { throw error.prefixed("failed to set up host ports: ") }
        table.reload()
      }
    }
  }

  /// Common chains where they are missing, then the container's own.
  private func commands(_ plan: PortmapPlan, _ table: inout NATTable) throws(CNIError) -> [String] {
    var out: [String] = []
    func add(_ chain: String, _ rules: [[String]]) {
      out += rules.map { "-A \(chain) " + IptablesProgram.line($0) }
    }
    for (name, rules) in plan.commonChains {
      let present = try table.chain(name)
      if present == nil { out.append("-N \(name)") }
      if present?.isEmpty ?? true { add(name, rules) }
    }
    if try table.chain(HostPortChain.dnat) == nil { out.append("-N \(HostPortChain.dnat)") }
    for parent in ["PREROUTING", "OUTPUT"] where !(try leads(&table, parent, to: HostPortChain.dnat)) {
      add(parent, [PortmapPlan.localEntry])
    }
    if plan.masqueradesByMark, !(try leads(&table, "POSTROUTING", to: HostPortChain.masquerade)) {
      out.append("-I POSTROUTING 1 " + IptablesProgram.line(PortmapPlan.masqueradeEntry))
    }
    out.append("-N \(plan.chain)")
    add(plan.chain, plan.chainRules)
    add(HostPortChain.dnat, plan.entries)
    return out
  }

  private func leads(_ table: inout NATTable, _ parent: String, to chain: String) throws(CNIError) -> Bool {
    try table.chain(parent)?.contains { $0.jump == chain } ?? false
  }

  /// Removes leftovers, and finds out about containers with the same ports.
  private func clear(_ table: inout NATTable, for plan: PortmapPlan) throws(CNIError) {
    var rules: [HostPortRule] = []
    for entry in try table.chain(HostPortChain.dnat) ?? [] where !rules.contains(where: { $0.chain == entry.jump }) {
      let owner = entry.jump == plan.chain ? plan.owner : Self.owner(entry)
      for rule in try table.chain(entry.jump) ?? [] {
        guard let port = rule.hostPort, let target = rule.translated else { continue }
        rules.append(HostPortRule(chain: entry.jump, owner: owner, target: target, port: port))
      }
    }
    var chains = Set(try PortConflict.obsolete(rules, for: plan).map(\.chain))
    if try table.chain(plan.chain) != nil { chains.insert(plan.chain) }
    for chain in chains { try table.remove(chain, from: [HostPortChain.dnat], environment, holdsLock: true) }
  }

  /// The container in the comment of an entry; the comment itself if it has another form.
  private static func owner(_ entry: IptablesRule) -> String {
    let comment = entry.comment ?? entry.jump
    let parts = comment.split(separator: "\"", omittingEmptySubsequences: false)
    return parts.count >= 4 ? String(parts[parts.count - 2]) : comment
  }

  /// Removes the rules of a container from all that is called iptables on this host; returns the ports of the host that
  /// were its.
  func remove(_ network: String, _ containerID: String) throws(CNIError) -> [HostPort] {
    let chain = RuleNames.chain(network, containerID, prefix: "DN-")
    // What old releases made for masquerading.
    let old = RuleNames.chain(network, containerID, prefix: "SN-")
    var ports: [HostPort] = []
    for family in AddressFamily.allCases {
      for variant in IptablesVariant.allCases {
        var table = try NATTable(family, variant)
        for rule in try table.chain(chain) ?? [] { if let p = rule.hostPort { ports.append(p) } }
        try table.remove(chain, from: [HostPortChain.dnat], environment)
        try table.remove(old, from: ["POSTROUTING", "CNI-HOSTPORT-SNAT"], environment)
      }
    }
    return ports
  }

  /// Removes the chains of containers of the network that are not in the list.
  func removeInvalid(_ network: String, _ valid: Set<String>) throws(CNIError) {
    let kept = Set(valid.map { RuleNames.chain(network, $0, prefix: "DN-") })
    for family in AddressFamily.allCases {
      for variant in IptablesVariant.allCases {
        var table = try NATTable(family, variant)
        let entries = try table.chain(HostPortChain.dnat) ?? []
        let ours = entries.filter { $0.comment?.utf8.starts(with: "dnat name: \"\(network)\" id: ".utf8) ?? false }
        for chain in Set(ours.map(\.jump)).subtracting(kept) {
          try table.remove(chain, from: [HostPortChain.dnat], environment)
        }
      }
    }
  }

  /// Fails when a rule of the attachment, or one that leads to it, is missing.
  func check(_ plan: PortmapPlan) throws(CNIError) {
    var table = try NATTable(plan.family, try IptablesProgram(plan.family, environment).variant)
    guard let present = try table.chain(plan.chain) else { throw .plain("chain \(plan.chain) of table nat is missing") }
    let isThere = plan.mappings.allSatisfy { m in
      present.contains { $0.hostPort == HostPort(m) && $0.translated == plan.target.address }
    }
    guard isThere, present.count >= plan.chainRules.count else {
      throw .plain("missing hostport rules in \(quoted(plan.chain)) chain")
    }
    let entries = try table.chain(HostPortChain.dnat) ?? []
    guard entries.count(where: { $0.jump == plan.chain }) >= plan.entries.count else {
      throw .plain("missing hostport rules in \(quoted(HostPortChain.dnat)) chain")
    }
    var ways = [("PREROUTING", HostPortChain.dnat), ("OUTPUT", HostPortChain.dnat)]
    if plan.masqueradesByMark { ways.append(("POSTROUTING", HostPortChain.masquerade)) }
    for (parent, chain) in ways where !(try leads(&table, parent, to: chain)) {
      throw .plain("missing hostport rules in \(quoted(parent)) chain")
    }
    for (name, _) in plan.commonChains where try table.chain(name)?.isEmpty ?? true {
      throw .plain("missing hostport rules in \(quoted(name)) chain")
    }
  }
}
