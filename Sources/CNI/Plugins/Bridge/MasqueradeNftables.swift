import Firewall
import Netlink

/// Masquerading in nf_tables, by netlink.
struct MasqueradeNftables: ~Copyable {
  private var socket: NftSocket

  init() throws(CNIError) { socket = try .ofThread() }

  /// Makes the rules of an attachment in the place of those that are there, in one transaction.
  mutating func add(_ wanted: Masquerade) throws(CNIError) {
    try socket.change("failed to set up masquerading") { (socket: inout NftSocket) throws(CNIError) in
      let present = try socket.present(Masquerade.table)
      var batch = NftBatch()
      let table = Masquerade.table
      batch.add(NftTable(table, comment: Masquerade.tableComment))
      batch.add(NftChain(table, Masquerade.checks, comment: Masquerade.checksComment))
      batch.add(
        NftChain(table, Masquerade.postrouting, base: .init(type: "nat", hook: .postrouting, priority: 100)))
      batch.fill(table, Masquerade.postrouting, Masquerade.baseRules, present)
      for rule in present where rule.isCommented(wanted.commentPrefix) {
        batch.deleteRule(table, rule.chain, handle: rule.handle)
      }
      for rule in wanted.nftables { batch.append(rule) }
      return batch
    }
  }

  /// Removes the rules whose comment begins so; having none is no error.
  mutating func remove(_ prefix: String, except kept: Set<String> = []) throws(CNIError) {
    try socket.change("failed to remove masquerading") { (socket: inout NftSocket) throws(CNIError) in
      var batch = NftBatch()
      for rule in try socket.present(Masquerade.table) where rule.isCommented(prefix) {
        if kept.contains(where: rule.isCommented) { continue }
        batch.deleteRule(Masquerade.table, rule.chain, handle: rule.handle)
      }
      return batch
    }
  }

  /// Fails when a rule of the attachment, or one that leads to it, is missing.
  mutating func check(_ wanted: Masquerade) throws(CNIError) {
    let present = Set(try socket.present(Masquerade.table).map(\.comparable))
    let base = Masquerade.baseRules.flatMap { $0.nftables(Masquerade.table, Masquerade.postrouting) }
    for rule in wanted.nftables + base where !present.contains(rule.comparable) {
      throw .plain("masquerading of the container: a rule in \(Masquerade.table) \(rule.chain) is missing")
    }
  }
}

extension NftRule {
  /// True when the comment begins so.
  func isCommented(_ prefix: String) -> Bool { comment?.utf8.starts(with: prefix.utf8) ?? false }
}
