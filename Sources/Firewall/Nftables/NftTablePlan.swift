import NetTypes
public import Netlink
import Syscalls

/// A table of ours as it is to be: its chains with exactly their rules. Other chains of the table are left alone, except
/// those that are to be absent.
public struct NftTablePlan: Hashable, Sendable {
  /// A chain and everything in it.
  public struct Chain: Hashable, Sendable {
    /// Name, hook, comment.
    public var chain: NftChain
    /// All its rules, in order.
    public var rules: [NftRule]

    /// The rules of the model, rendered for the chain.
    public init(_ chain: NftChain, _ rules: [Rule]) {
      self.chain = chain
      self.rules = rules.flatMap { $0.nftables(chain.table, chain.name) }
    }
  }

  /// The table itself.
  public var table: NftTable
  /// Chains in the order in which they are to be made.
  public var chains: [Chain]
  /// Chains of an earlier configuration that must not be there.
  public var absent: [String]

  /// Every field as given.
  public init(_ table: NftTable, _ chains: [Chain] = [], absent: [String] = []) {
    self.table = table
    self.chains = chains
    self.absent = absent
  }

  /// True when a change that the kernel told about may contradict the plan.
  public func concerns(_ event: NftEvent) -> Bool {
    guard event.table == table.id else { return false }
    return switch event {
    case .table(_, let removed): removed
    case .chain(_, let name, _), .rule(_, let name, _):
      absent.contains(name) || chains.contains { $0.chain.name == name }
    default: false
    }
  }
}

extension NftSocket {
  /// Makes the tables as planned, in one transaction: there is no moment without rules, and on any refusal the rules
  /// that were there stay in force.
  /// - Returns: what had to be changed, in words; empty when everything was as planned.
  public mutating func converge(_ plans: [NftTablePlan]) throws(NetlinkError) -> [String] {
    var batch = NftBatch()
    var changes: [String] = []
    for plan in plans { try add(plan, to: &batch, &changes) }
    try commit(batch)
    return changes
  }

  private mutating func add(
    _ plan: NftTablePlan, to batch: inout NftBatch, _ changes: inout [String]
  ) throws(NetlinkError) {
    let id = plan.table.id
    let observed = try table(id)
    if let owner = observed?.owner, owner != 0 {
      throw NetlinkError(
        operation:
          "table \(id) is owned by another program (netlink port \(owner), see `ss -f netlink`), which alone may "
          + "change it: stop that program", object: "", errno: .notPermitted)
    }
    if observed == nil || observed?.isDormant == true {
      batch.add(plan.table)
      changes.append("table \(id)\(observed == nil ? "" : " (was dormant)")")
    }
    for wanted in plan.chains {
      guard let reason = try difference(wanted, tableExists: observed != nil, &batch) else { continue }
      for rule in wanted.rules { batch.append(rule) }
      changes.append("chain \(wanted.chain.name) of table \(id)\(reason)")
    }
    for name in plan.absent where observed != nil {
      guard try chain(id, name) != nil else { continue }
      batch.flush(id, name)
      batch.deleteChain(id, name)
      changes.append("chain \(name) of table \(id) removed")
    }
  }

  /// Empties the chain in the batch when it is not as wanted, and says what was wrong; nil when it is.
  private mutating func difference(
    _ wanted: NftTablePlan.Chain, tableExists: Bool, _ batch: inout NftBatch
  ) throws(NetlinkError) -> String? {
    let id = wanted.chain.table
    guard tableExists, let there = try chain(id, wanted.chain.name) else {
      batch.add(wanted.chain)
      return ""
    }
    let rules = try rules(id, chain: wanted.chain.name).map(\.comparable)
    if there.base == wanted.chain.base {
      guard rules != wanted.rules else { return nil }
      batch.flush(id, wanted.chain.name)
      return " (its rules were different)"
    }
    batch.flush(id, wanted.chain.name)
    // A policy can be set; a chain on another hook must be made again.
    var samePlace = there.base
    samePlace?.policy = wanted.chain.base?.policy ?? .accept
    if samePlace != wanted.chain.base { batch.deleteChain(id, wanted.chain.name) }
    batch.add(wanted.chain)
    return " (its definition was different)"
  }

  /// Removes tables with everything in them; what is not there is no error, and neither is a kernel without nf_tables.
  /// - Returns: the tables that were there.
  public mutating func remove(_ tables: [NftTable.ID]) throws(NetlinkError) -> [NftTable.ID] {
    var batch = NftBatch()
    var found: [NftTable.ID] = []
    do {
      for id in tables where try table(id) != nil {
        batch.delete(id)
        found.append(id)
      }
    } catch  where error.isUnavailable {
      return []
    }
    try commit(batch)
    return found
  }
}

extension NftTable {
  /// `NFT_TABLE_F_DORMANT`: its chains are not called.
  public var isDormant: Bool { flags & 1 != 0 }
}

extension NetlinkError {
  /// The kernel has no nf_tables.
  public var isUnavailable: Bool { errno == .notSupported || errno == .invalid }
}
