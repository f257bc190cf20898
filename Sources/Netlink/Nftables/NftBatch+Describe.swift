extension NftBatch {
  /// What a message of the batch does and on what, read back from its bytes: `add rule`, `ip nat POSTROUTING`.
  func describe(sequence: UInt32) -> (operation: String, object: String) {
    var reader = MessageReader(writer.buffer.bytes)
    while let message = reader.next() {
      guard message.sequence == sequence else { continue }
      guard message.type >> 8 == Netfilter.nftables else { break }
      let family = NftFamily(message)?.name ?? "?"
      let operation = Self.operations[Int(message.type & 0xff)] ?? "change"
      return (operation, "\(family) \(Self.object(message))")
    }
    return ("change the rule set", "")
  }

  private static let operations: [Int: String] = [
    0: "add table", 2: "delete table", 3: "add chain", 5: "delete chain", 6: "add rule", 8: "delete rule",
    9: "add set", 11: "delete set", 12: "add elements", 14: "delete elements",
  ]

  /// The names in a message: table, then chain or set; for a rule its comment.
  private static func object(_ message: borrowing Message) -> String {
    let type = message.type & 0xff
    if type == NftMessage.newRule || type == NftMessage.deleteRule, let rule = NftRule(message) {
      let comment = rule.comment.map { " (\"\($0)\")" } ?? ""
      let steps = rule.expressions.map(\.name).joined(separator: " ")
      return "\(rule.table.name) \(rule.chain)\(comment)\(steps.isEmpty ? "" : " [\(steps)]")"
    }
    if type == NftMessage.newChain || type == NftMessage.deleteChain, let chain = NftChain(message) {
      return "\(chain.table.name) \(chain.name)"
    }
    // In all other messages the table's name is attribute 1, a set's is attribute 2.
    var names: [String] = []
    var attributes = message.attributes(after: Netfilter.headerSize)
    let hasSet = type >= NftMessage.newSet
    while let a = attributes.next() {
      if a.type == 1 || hasSet && a.type == 2 { names.append(a.string) }
    }
    return names.joined(separator: " ")
  }
}
