import Firewall
import NetTypes

/// Masquerading in iptables (contract cni §B2.2). A chain belongs to a container in a network: several interfaces share it.
struct MasqueradeIptables {
  let environment: PluginEnvironment
  private static let parent = "POSTROUTING"

  /// Makes the rules of an attachment, those that are not there.
  func add(_ wanted: Masquerade) throws(CNIError) {
    for family in AddressFamily.allCases {
      let addresses = wanted.addresses.filter { $0.family == family }
      if !addresses.isEmpty { try add(wanted, addresses, try IptablesProgram(family, environment)) }
    }
  }

  private func add(_ wanted: Masquerade, _ addresses: [IPPrefix], _ program: IptablesProgram) throws(CNIError) {
    var table = try NATTable(program.family, program.variant)
    var attempts = 0
    while true {
      let commands = try commands(wanted, addresses, &table)
      guard !commands.isEmpty else { return }
      do throws(CNIError) {
        return try program.change(commands)
      } catch {
        attempts += 1
        guard attempts < 4, error.code != .tryAgainLater else {
          throw error.prefixed("failed to set up masquerading: ")
        }
        table.reload()
      }
    }
  }

  private func commands(
    _ wanted: Masquerade, _ addresses: [IPPrefix], _ table: inout NATTable
  ) throws(CNIError) -> [String] {
    let chain = wanted.chain
    let comment = ["-m", "comment", "--comment", RuleNames.comment(wanted.network, wanted.attachment.containerID)]
    func line(_ words: [String], _ target: String) -> String { IptablesProgram.line(words + ["-j", target] + comment) }
    var out: [String] = []
    let present = try table.chain(chain)
    if present == nil { out.append("-N \(chain)") }
    for network in Set(addresses.map(\.network)).sorted() where !Self.accepts(present ?? [], network) {
      out.append("-I \(chain) 1 " + line(["-d", "\(network)"], "ACCEPT"))
    }
    if !(present ?? []).contains(where: { $0.jump == "MASQUERADE" }) {
      out.append("-A \(chain) " + line(["!", "-d", "\(table.family.multicast)"], "MASQUERADE"))
    }
    let sources = Set((try table.chain(Self.parent) ?? []).filter { $0.jump == chain }.compactMap(\.source))
    for address in addresses.map({ IPPrefix(host: $0.address) }) where !sources.contains(address) {
      out.append("-A \(Self.parent) " + line(["-s", "\(address.address)"], chain))
    }
    return out
  }

  private static func accepts(_ rules: [IptablesRule], _ network: IPPrefix) -> Bool {
    rules.contains { $0.jump == "ACCEPT" && $0.destination?.network == network }
  }

  /// Removes the rules of an attachment from all that is called iptables on this host. Without addresses those of the
  /// whole container go; with them, the chain stays as long as another interface uses it (contract cni §C 9, 11).
  func remove(_ unwanted: Masquerade) throws(CNIError) {
    let own = unwanted.addresses
    for family in AddressFamily.allCases {
      for variant in IptablesVariant.allCases {
        var table = try NATTable(family, variant)
        try table.remove(unwanted.chain, from: [Self.parent], environment) { rule in
          // Old releases wrote the subnet.
          own.isEmpty
            || own.contains { IPPrefix(host: $0.address) == rule.source || $0.network == rule.source?.network }
        }
      }
    }
  }

  /// Removes the chains of the network's containers that are not in the list.
  func removeInvalid(_ network: String, _ valid: Set<String>) throws(CNIError) {
    let kept = Set(valid.map { RuleNames.chain(network, $0) })
    let start = "name: \"\(network)\" id: "
    for family in AddressFamily.allCases {
      for variant in IptablesVariant.allCases {
        var table = try NATTable(family, variant)
        let ours = try table.chain(Self.parent)?.filter { $0.comment?.utf8.starts(with: start.utf8) ?? false } ?? []
        for chain in Set(ours.map(\.jump)).subtracting(kept) {
          try table.remove(chain, from: [Self.parent], environment)
        }
      }
    }
  }

  /// Fails when a rule is missing.
  func check(_ wanted: Masquerade) throws(CNIError) {
    for family in AddressFamily.allCases {
      let addresses = wanted.addresses.filter { $0.family == family }
      guard !addresses.isEmpty else { continue }
      var table = try NATTable(family, try IptablesProgram(family, environment).variant)
      guard try commands(wanted, addresses, &table).isEmpty else {
        throw .plain(
          "masquerading of the container: a rule of the chain \(wanted.chain) or one that leads to it is missing")
      }
    }
  }
}
