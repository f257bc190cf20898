import CLinux

extension NftBatch {
  /// What a message of the batch does and on what, read back from its bytes: `add rule`, `ip nat POSTROUTING`.
  /// - Parameter offset: where the attribute lies that the kernel refused; of a long list, the entry is named.
  func describe(sequence: UInt32, offset: Int? = nil) -> (operation: String, object: String) {
    var reader = MessageReader(writer.buffer.bytes)
    while let message = reader.next() {
      guard message.sequence == sequence else { continue }
      guard message.type >> 8 == Netfilter.nftables else { break }
      let family = NftFamily(message)?.name ?? "?"
      let operation = Self.operations[Int(message.type & 0xff)] ?? "change"
      let part = offset.flatMap { Self.part(message, at: $0) }.map { ": \($0)" } ?? ""
      return (operation, "\(family) \(Self.object(message))\(part)")
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

  // MARK: parts

  /// The expression of a rule, or the element of a set, that lies at an offset; nil for other attributes.
  private static func part(_ message: borrowing Message, at offset: Int) -> String? {
    switch message.type & 0xff {
    case NftMessage.newRule:
      guard let i = entry(message, RuleAttribute.expressions, at: offset), let rule = NftRule(message),
        rule.expressions.indices.contains(i)
      else { return nil }
      return rule.expressions[i].refusalText
    case NftMessage.newElement, NftMessage.deleteElement:
      guard let i = entry(message, ElementAttribute.elements, at: offset) else { return nil }
      let elements = NftElement.list(message)
      return elements.indices.contains(i) ? elements[i].refusalText : nil
    default: return nil
    }
  }

  /// The number of the entry, in the list that an attribute holds, whose bytes are at `offset` of the message.
  private static func entry(_ message: borrowing Message, _ list: UInt16, at offset: Int) -> Int? {
    var attributes = message.attributes(after: Netfilter.headerSize)
    var start = MemoryLayout<nlmsghdr>.size + Netfilter.headerSize
    while true {
      let before = attributes.offset
      guard let a = attributes.next() else { return nil }
      guard a.type == list else { continue }
      start += before + 4
      var entries = a.nested()
      var i = 0
      while entries.next() != nil {
        if offset < start + entries.offset { return i }
        i += 1
      }
      return nil
    }
  }
}

extension NftExpression {
  /// What the kernel may miss when it refuses the expression.
  fileprivate var refusalText: String {
    switch self {
    case .lookup(let set, _, _, _, _): "lookup in set \(set)"
    case .dynamicSet(let d): "change of set \(d.set)"
    case .verdict(.jump(let chain)): "jump to chain \(chain)"
    case .verdict(.goto(let chain)): "goto chain \(chain)"
    case .compatibility(let isTarget, let name, let revision, _):
      "\(isTarget ? "target" : "match") \(name), revision \(revision)"
    default: "expression \(name)"
    }
  }
}

extension NftElement {
  /// The key in hexadecimal, because its types are not known here, and where it leads.
  fileprivate var refusalText: String {
    let digits = key.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    let target = if case .verdict(let v) = value, let chain = v.target { " (to chain \(chain))" } else { "" }
    return "element \(isCatchAll ? "*" : "0x" + digits)\(target)"
  }
}
