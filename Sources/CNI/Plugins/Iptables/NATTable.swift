import Firewall
import NetTypes
import Netlink
import Syscalls

/// The table `nat` of one family in one variant of iptables, read from the kernel without any program.
struct NATTable: ~Copyable {
  let family: AddressFamily
  let variant: IptablesVariant
  private var state: IptablesState

  init(_ family: AddressFamily, _ variant: IptablesVariant) throws(CNIError) {
    self.family = family
    self.variant = variant
    state = try doing("failed to open a netlink socket") { () throws(NetlinkError) in
      try IptablesState(family, variant)
    }
  }

  /// Takes notice of changes since; `chain` of the nft variant always does.
  mutating func reload() { state.reload() }

  private var table: NftTable.ID { NftTable.ID(family == .ipv4 ? .ipv4 : .ipv6, "nat") }

  /// The rules of a chain in their order; nil when there is no such chain.
  mutating func chain(_ name: String) throws(CNIError) -> [IptablesRule]? {
    do throws(NetlinkError) {
      return try state.chain(name, in: "nat")
    } catch {
      throw CNIError("failed to read the rules of iptables-\(variant.rawValue)", error)
    }
  }

  /// Removes rules that jump to a chain, and the chain itself if nothing else does.
  /// - Parameters:
  ///   - parents: the chains that may hold such rules.
  ///   - holdsLock: the caller has the lock of our processes. Otherwise the legacy variant takes it, where many that
  ///     remove at once would change the texts for each other.
  ///   - isMeant: which of them.
  mutating func remove(
    _ chain: String, from parents: [String], _ environment: PluginEnvironment, holdsLock: Bool = false,
    where isMeant: (IptablesRule) -> Bool = { _ in true }
  ) throws(CNIError) {
    guard try self.chain(chain) != nil else { return }
    if holdsLock || variant == .nft { return try remove(chain, parents, environment, isMeant) }
    let lock = try RuleLock()
    reload()
    try remove(chain, parents, environment, isMeant)
    _ = consume lock
  }

  private mutating func remove(
    _ chain: String, _ parents: [String], _ environment: PluginEnvironment, _ isMeant: (IptablesRule) -> Bool
  ) throws(CNIError) {
    var attempts = 0
    while true {
      guard let plan = try removal(chain, parents, isMeant) else { return }
      do throws(CNIError) {
        switch variant {
        case .nft: try removeByHandle(chain, plan)
        case .legacy: try removeByText(chain, plan, environment)
        }
        return
      } catch {
        // Somebody else changed the same rules in between: look again.
        attempts += 1
        guard attempts < 4, error.code != .tryAgainLater else {
          throw error.prefixed("failed to remove the chain \(chain) of table nat: ")
        }
        reload()
      }
    }
  }

  /// What is to be removed: rules by their place in each parent; the chain itself.
  private struct Removal {
    var rules: [(parent: String, index: Int, count: Int, handle: UInt64)] = []
    var removesChain = false
  }

  /// nil when there is nothing to do.
  private mutating func removal(
    _ chain: String, _ parents: [String], _ isMeant: (IptablesRule) -> Bool
  ) throws(CNIError) -> Removal? {
    guard try self.chain(chain) != nil else { return nil }
    var out = Removal()
    var others = 0
    for parent in parents {
      let rules = try self.chain(parent) ?? []
      for (i, rule) in rules.enumerated() where rule.jump == chain {
        if isMeant(rule) { out.rules.append((parent, i, rules.count, rule.handle)) } else { others += 1 }
      }
    }
    out.removesChain = others == 0
    return out.removesChain || !out.rules.isEmpty ? out : nil
  }

  private mutating func removeByHandle(_ chain: String, _ plan: Removal) throws(CNIError) {
    var batch = NftBatch()
    for r in plan.rules { batch.deleteRule(table, r.parent, handle: r.handle) }
    if plan.removesChain {
      batch.flush(table, chain)
      batch.deleteChain(table, chain)
    }
    var socket = try NftSocket.ofThread()
    do throws(NetlinkError) {
      try socket.commit(batch)
    } catch {
      throw CNIError("iptables-nft", error)
    }
  }

  /// Rules of the legacy variant are named by their text, which only the program knows; a place would be another rule's
  /// by then.
  private func removeByText(
    _ chain: String, _ plan: Removal, _ environment: PluginEnvironment
  ) throws(CNIError) {
    guard let program = IptablesProgram(family, variant, environment) else {
      throw .plain("iptables-legacy-restore is not in PATH")
    }
    var commands: [String] = []
    for parent in Set(plan.rules.map(\.parent)) {
      let texts = try program.rules(of: parent)
      for r in plan.rules where r.parent == parent {
        guard texts.count == r.count, texts.indices.contains(r.index) else {
          throw .plain("the rules changed meanwhile")
        }
        commands.append("-D \(parent) \(texts[r.index])")
      }
    }
    if plan.removesChain { commands += ["-F \(chain)", "-X \(chain)"] }
    try program.change(commands)
  }
}
