import NetTypes
import Netlink

/// The filter in the kernel.
struct MACSpoofRules: ~Copyable {
  private var socket: NftSocket

  init() throws(CNIError) { socket = try .ofThread() }

  /// Makes the filter of an attachment in the place of one that is there, in one transaction.
  mutating func add(_ check: MACSpoofCheck, port: String, mac: MACAddress) throws(CNIError) {
    try socket.change("failed to setup spoof-check") { (socket: inout NftSocket) throws(CNIError) in
      let present = try socket.present(MACSpoofCheck.table, chain: MACSpoofCheck.prerouting)
      var batch = NftBatch()
      let table = MACSpoofCheck.table
      batch.add(NftTable(table))
      batch.add(
        NftChain(
          table, MACSpoofCheck.prerouting, base: .init(type: "filter", hook: .prerouting, priority: -300)))
      for chain in [check.chain, check.macChain] {
        batch.add(NftChain(table, chain))
        batch.flush(table, chain)
      }
      for rule in present where check.isEntry(rule) { batch.deleteRule(table, rule.chain, handle: rule.handle) }
      for rule in check.rules(port: port, mac: mac) { batch.append(rule) }
      return batch
    }
  }

  /// Removes the filter; having none is no error.
  mutating func remove(_ check: MACSpoofCheck) throws(CNIError) {
    try socket.change("failed to remove the spoof-check") { (socket: inout NftSocket) throws(CNIError) in
      var batch = NftBatch()
      let table = MACSpoofCheck.table
      for rule in try socket.present(MACSpoofCheck.table, chain: MACSpoofCheck.prerouting) where check.isEntry(rule) {
        batch.deleteRule(table, rule.chain, handle: rule.handle)
      }
      var chains: [String] = []
      for name in [check.chain, check.macChain] {
        let there = try doing("failed to read the spoof-check") { () throws(NetlinkError) in
          try socket.chain(table, name)
        }
        if there != nil { chains.append(name) }
      }
      for name in chains { batch.flush(table, name) }
      for name in chains { batch.deleteChain(table, name) }
      return batch
    }
  }

  /// Fails when a rule is missing or other than it must be.
  mutating func check(_ check: MACSpoofCheck, port: String, mac: MACAddress) throws(CNIError) {
    let wanted = check.rules(port: port, mac: mac).map(\.comparable)
    for chain in [MACSpoofCheck.prerouting, check.chain, check.macChain] {
      let present = try socket.present(MACSpoofCheck.table, chain: chain).map(\.comparable)
      let rest = wanted.filter { $0.chain == chain && !present.contains($0) }
      guard rest.isEmpty else {
        throw .plain("spoof-check: a rule in \(MACSpoofCheck.table) \(chain) is missing")
      }
    }
  }

  /// Removes the filters of attachments that are not valid and whose port is gone: chains do not tell the network, so
  /// that one of another network may be meant.
  mutating func removeInvalid(
    _ valid: Set<CNIRequest.Attachment>, isPresent: (String) throws(CNIError) -> Bool
  ) throws(CNIError) {
    let kept = Set(valid.map { MACSpoofCheck(attachment: $0).chain })
    for rule in try socket.present(MACSpoofCheck.table, chain: MACSpoofCheck.prerouting) {
      guard let chain = rule.targets.first, let a = CNIRequest.Attachment(spoofChain: chain), !kept.contains(chain),
        let port = rule.inputInterface, !(try isPresent(port))
      else { continue }
      try remove(MACSpoofCheck(attachment: a))
    }
  }
}

extension CNIRequest.Attachment {
  /// The attachment of a chain of the filter: an interface name holds no `-`, unless it was given one; then the chain of
  /// the result is the same all the same.
  init?(spoofChain chain: String) {
    guard chain.utf8.starts(with: MACSpoofCheck.prefix.utf8) else { return nil }
    let rest = chain.dropFirst(MACSpoofCheck.prefix.utf8.count)
    guard let dash = rest.lastIndex(of: "-") else { return nil }
    self.init(containerID: String(rest[..<dash]), ifname: String(rest[rest.index(after: dash)...]))
  }
}

extension NftRule {
  /// The interface a rule wants packets to come from.
  var inputInterface: String? {
    guard case .meta(.inputName, let r)? = expressions.first, expressions.count > 1,
      case .compare(.equal, r, let name) = expressions[1]
    else { return nil }
    return String(decoding: name.prefix { $0 != 0 }, as: UTF8.self)
  }
}
