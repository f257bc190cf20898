import CLinux

/// A rule of a chain.
public struct NftRule: Hashable, Sendable {
  /// Bytes of a comment that `nft` accepts.
  public static let commentLimit = 128

  /// The table of its chain.
  public var table: NftTable.ID
  /// The chain's name.
  public var chain: String
  /// The kernel's number of the rule in its table; 0 = not known yet.
  public var handle: UInt64
  /// Read from left to right; the first that does not match ends the rule.
  public var expressions: [NftExpression]
  /// Up to `commentLimit` bytes; the rest is cut.
  public var comment: String?

  /// A rule to be made.
  public init(
    _ table: NftTable.ID, _ chain: String, _ expressions: [NftExpression], comment: String? = nil, handle: UInt64 = 0
  ) {
    self.table = table
    self.chain = chain
    self.expressions = expressions
    self.comment = comment
    self.handle = handle
  }

  /// Without what the kernel adds or counts: equal rules do the same.
  public var comparable: NftRule {
    var r = self
    r.handle = 0
    for i in r.expressions.indices {
      if case .counter = r.expressions[i] { r.expressions[i] = .counter(packets: 0, bytes: 0) }
    }
    return r
  }

  /// Names, expressions and comment as they are sent to the kernel, without what it adds or counts.
  public var encodedForm: [UInt8] {
    var writer = MessageWriter()
    comparable.encode(into: &writer)
    return writer.buffer.bytes.array
  }

  /// The chains this rule jumps or goes to.
  public var targets: [String] {
    expressions.compactMap { if case .verdict(let v) = $0 { v.target } else { nil } }
  }
}

enum RuleAttribute {
  static let table: UInt16 = 1
  static let chain: UInt16 = 2
  static let handle: UInt16 = 3
  static let expressions: UInt16 = 4
  static let compatibility: UInt16 = 5
  static let compatibilityProtocol: UInt16 = 1
  static let compatibilityFlags: UInt16 = 2
  static let position: UInt16 = 6
  static let userData: UInt16 = 7
  static let expressionName: UInt16 = 1
  static let expressionData: UInt16 = 2
  /// `NFTA_LIST_ELEM`
  static let element: UInt16 = 1
}

extension NftRule {
  /// From `NFT_MSG_NEWRULE` or `NFT_MSG_DELRULE`; nil when a name or a known family is missing.
  init?(_ message: borrowing Message) {
    guard let family = NftFamily(message) else { return nil }
    var table: String?
    var chain: String?
    self.init(NftTable.ID(family, ""), "", [])
    var attributes = message.attributes(after: Netfilter.headerSize)
    while let a = attributes.next() {
      switch a.type {
      case RuleAttribute.table: table = a.string
      case RuleAttribute.chain: chain = a.string
      case RuleAttribute.handle: handle = a.bigUInt64 ?? 0
      case RuleAttribute.expressions: expressions = NftExpression.list(a.nested())
      case RuleAttribute.userData: comment = NftUserData.comment(in: a.bytes)
      default: break
      }
    }
    guard let table, let chain else { return nil }
    self.table.name = table
    self.chain = chain
  }

  /// The transport protocol of a rule with matches or targets of iptables: some of them (multiport) ask for it when the
  /// rule is made, and the kernel does not report it. nil for all other rules.
  private var compatibilityProtocol: (number: UInt8, inverted: Bool)? {
    guard expressions.contains(where: { if case .compatibility = $0 { true } else { false } }) else { return nil }
    for (load, test) in zip(expressions, expressions.dropFirst()) {
      guard case .meta(.transportProtocol, let loaded) = load, case .compare(let operation, loaded, let value) = test,
        let number = value.first
      else { continue }
      return (number, operation == .notEqual)
    }
    return nil
  }

  /// The body of a request that makes the rule.
  func encode(into writer: inout MessageWriter) {
    writer.attribute(RuleAttribute.table, table.name)
    writer.attribute(RuleAttribute.chain, chain)
    writer.nest(RuleAttribute.expressions) { NftExpression.encode(expressions, into: &$0) }
    if let p = compatibilityProtocol {
      writer.nest(RuleAttribute.compatibility) {
        $0.big(RuleAttribute.compatibilityProtocol, UInt32(p.number))
        $0.big(RuleAttribute.compatibilityFlags, UInt32(p.inverted ? 2 : 0))
      }
    }
    let data = NftUserData.entry(comment: comment)
    if !data.isEmpty { writer.bytes(RuleAttribute.userData, data) }
  }
}
