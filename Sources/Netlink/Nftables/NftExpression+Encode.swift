/// Attribute numbers of the expressions (`NFTA_*` of `linux/netfilter/nf_tables.h`).
enum ExpressionAttribute {
  enum Meta { static let destination: UInt16 = 1, key: UInt16 = 2, source: UInt16 = 3 }
  enum Payload {
    static let destination: UInt16 = 1, base: UInt16 = 2, offset: UInt16 = 3, length: UInt16 = 4, source: UInt16 = 5
  }
  enum Tracking { static let destination: UInt16 = 1, key: UInt16 = 2, direction: UInt16 = 3, source: UInt16 = 4 }
  enum FIB { static let destination: UInt16 = 1, result: UInt16 = 2, flags: UInt16 = 3 }
  enum Compare { static let source: UInt16 = 1, operation: UInt16 = 2, data: UInt16 = 3 }
  enum Range { static let source: UInt16 = 1, operation: UInt16 = 2, from: UInt16 = 3, to: UInt16 = 4 }
  enum Bitwise {
    static let source: UInt16 = 1, destination: UInt16 = 2, length: UInt16 = 3, mask: UInt16 = 4, xor: UInt16 = 5
    static let operation: UInt16 = 6, data: UInt16 = 7
  }
  enum ByteOrder {
    static let source: UInt16 = 1, destination: UInt16 = 2, operation: UInt16 = 3, length: UInt16 = 4, size: UInt16 = 5
  }
  enum Lookup {
    static let set: UInt16 = 1, source: UInt16 = 2, destination: UInt16 = 3, setID: UInt16 = 4, flags: UInt16 = 5
  }
  enum Immediate { static let destination: UInt16 = 1, data: UInt16 = 2 }
  enum Data { static let value: UInt16 = 1, verdict: UInt16 = 2, code: UInt16 = 1, chain: UInt16 = 2 }
  enum NAT {
    static let type: UInt16 = 1, family: UInt16 = 2, address: UInt16 = 3, addressEnd: UInt16 = 4, port: UInt16 = 5
    static let portEnd: UInt16 = 6, flags: UInt16 = 7
  }
  enum Masquerade { static let flags: UInt16 = 1, port: UInt16 = 2 }
  enum Redirect { static let port: UInt16 = 1, portEnd: UInt16 = 2, flags: UInt16 = 3 }
  enum Reject { static let type: UInt16 = 1, code: UInt16 = 2 }
  enum NumberGenerator { static let destination: UInt16 = 1, modulus: UInt16 = 2, type: UInt16 = 3, offset: UInt16 = 4 }
  enum Counter { static let bytes: UInt16 = 1, packets: UInt16 = 2 }
  enum DynamicSet {
    static let set: UInt16 = 1, setID: UInt16 = 2, operation: UInt16 = 3, key: UInt16 = 4, data: UInt16 = 5,
      timeout: UInt16 = 6
    static let expression: UInt16 = 7, flags: UInt16 = 9, expressions: UInt16 = 10
  }
  enum Compatibility { static let name: UInt16 = 1, revision: UInt16 = 2, info: UInt16 = 3 }

  /// `NFT_REG_VERDICT`
  static let verdictRegister: UInt32 = 0
}

extension NftVerdict {
  static let continueCode: Int32 = -1
  static let jumpCode: Int32 = -3
  static let gotoCode: Int32 = -4
  static let returnCode: Int32 = -5

  /// The kernel's number.
  var code: Int32 {
    switch self {
    case .drop: 0
    case .accept: 1
    case .next: Self.continueCode
    case .jump: Self.jumpCode
    case .goto: Self.gotoCode
    case .return: Self.returnCode
    case .other(let code): code
    }
  }

  /// The attributes inside `NFTA_DATA_VERDICT`.
  func encode(into w: inout MessageWriter) {
    w.nest(ExpressionAttribute.Data.verdict) {
      $0.big(ExpressionAttribute.Data.code, UInt32(bitPattern: code))
      if let target { $0.attribute(ExpressionAttribute.Data.chain, target) }
    }
  }
}

extension NftExpression {
  /// The list of a rule.
  static func encode(_ list: [NftExpression], into w: inout MessageWriter) {
    for e in list { w.nest(RuleAttribute.element) { e.encode(into: &$0) } }
  }

  /// Name and attributes of one expression.
  func encode(into w: inout MessageWriter) {
    w.attribute(RuleAttribute.expressionName, name)
    if case .other(_, let bytes) = self { return w.bytes(RuleAttribute.expressionData | 0x8000, bytes) }
    w.nest(RuleAttribute.expressionData) { encodeAttributes(into: &$0) }
  }

  /// As the kernel calls it.
  public var name: String {
    switch self {
    case .meta, .setMeta: "meta"
    case .payload: "payload"
    case .tracking, .setTracking: "ct"
    case .fib: "fib"
    case .compare: "cmp"
    case .range: "range"
    case .bitwise: "bitwise"
    case .byteOrder: "byteorder"
    case .lookup: "lookup"
    case .immediate, .verdict: "immediate"
    case .nat: "nat"
    case .masquerade: "masq"
    case .redirect: "redir"
    case .reject: "reject"
    case .numberGenerator: "numgen"
    case .counter: "counter"
    case .dynamicSet: "dynset"
    case .compatibility(let isTarget, _, _, _): isTarget ? "target" : "match"
    case .other(let name, _): name
    }
  }

  private func encodeAttributes(into w: inout MessageWriter) {
    typealias A = ExpressionAttribute
    switch self {
    case .meta(let key, let to):
      w.big(A.Meta.key, key.rawValue)
      w.register(A.Meta.destination, to)
    case .setMeta(let key, let from):
      w.big(A.Meta.key, key.rawValue)
      w.register(A.Meta.source, from)
    case .payload(let header, let offset, let length, let to):
      w.register(A.Payload.destination, to)
      w.big(A.Payload.base, header.rawValue)
      w.big(A.Payload.offset, offset)
      w.big(A.Payload.length, length)
    case .tracking(let key, let direction, let to):
      w.big(A.Tracking.key, key.rawValue)
      w.register(A.Tracking.destination, to)
      if let direction { w.attribute(A.Tracking.direction, direction) }
    case .setTracking(let key, let from):
      w.big(A.Tracking.key, key.rawValue)
      w.register(A.Tracking.source, from)
    case .fib(let result, let flags, let to):
      w.register(A.FIB.destination, to)
      w.big(A.FIB.result, result.rawValue)
      w.big(A.FIB.flags, flags)
    case .compare(let operation, let from, let value):
      w.register(A.Compare.source, from)
      w.big(A.Compare.operation, operation.rawValue)
      w.value(A.Compare.data, value)
    case .range(let operation, let source, let from, let to):
      w.register(A.Range.source, source)
      w.big(A.Range.operation, operation.rawValue)
      w.value(A.Range.from, from)
      w.value(A.Range.to, to)
    case .bitwise(let from, let to, let mask, let xor):
      w.register(A.Bitwise.source, from)
      w.register(A.Bitwise.destination, to)
      w.big(A.Bitwise.length, UInt32(clamping: mask.count))
      w.value(A.Bitwise.mask, mask)
      w.value(A.Bitwise.xor, xor)
    case .byteOrder(let from, let to, let operation, let length, let size):
      w.register(A.ByteOrder.source, from)
      w.register(A.ByteOrder.destination, to)
      w.big(A.ByteOrder.operation, operation)
      w.big(A.ByteOrder.length, length)
      w.big(A.ByteOrder.size, size)
    case .lookup(let set, let key, let to, let verdict, let inverted):
      w.attribute(A.Lookup.set, set)
      w.register(A.Lookup.source, key)
      if let to { w.register(A.Lookup.destination, to) }
      if verdict { w.big(A.Lookup.destination, A.verdictRegister) }
      if inverted { w.big(A.Lookup.flags, UInt32(1)) }
    case .immediate(let to, let value):
      w.register(A.Immediate.destination, to)
      w.value(A.Immediate.data, value)
    case .verdict(let verdict):
      w.big(A.Immediate.destination, A.verdictRegister)
      w.nest(A.Immediate.data) { verdict.encode(into: &$0) }
    case .nat, .masquerade, .redirect, .reject: encodeTranslation(into: &w)
    case .numberGenerator(let random, let modulus, let offset, let to):
      w.register(A.NumberGenerator.destination, to)
      w.big(A.NumberGenerator.modulus, modulus)
      w.big(A.NumberGenerator.type, UInt32(random ? 1 : 0))
      w.big(A.NumberGenerator.offset, offset)
    case .counter(let packets, let bytes):
      w.big(A.Counter.packets, packets)
      w.big(A.Counter.bytes, bytes)
    case .dynamicSet(let d):
      w.attribute(A.DynamicSet.set, d.set)
      w.big(A.DynamicSet.operation, d.operation.rawValue)
      w.register(A.DynamicSet.key, d.key)
      if let data = d.data { w.register(A.DynamicSet.data, data) }
      if d.timeout > 0 { w.big(A.DynamicSet.timeout, d.timeout) }
    case .compatibility(_, let name, let revision, let info):
      w.attribute(A.Compatibility.name, name)
      w.big(A.Compatibility.revision, revision)
      w.bytes(A.Compatibility.info, info)
    case .other: break
    }
  }

  private func encodeTranslation(into w: inout MessageWriter) {
    typealias A = ExpressionAttribute
    switch self {
    case .nat(let n):
      w.big(A.NAT.type, n.kind.rawValue)
      w.big(A.NAT.family, n.family)
      if let r = n.address { w.register(A.NAT.address, r) }
      if let r = n.addressEnd { w.register(A.NAT.addressEnd, r) }
      if let r = n.port { w.register(A.NAT.port, r) }
      if let r = n.portEnd { w.register(A.NAT.portEnd, r) }
      if !n.flags.isEmpty { w.big(A.NAT.flags, n.flags.rawValue) }
    case .masquerade(let flags):
      if !flags.isEmpty { w.big(A.Masquerade.flags, flags.rawValue) }
    case .redirect(let port, let flags):
      if let port { w.register(A.Redirect.port, port) }
      if !flags.isEmpty { w.big(A.Redirect.flags, flags.rawValue) }
    case .reject(let type, let code):
      w.big(A.Reject.type, type)
      w.attribute(A.Reject.code, code)
    default: break
    }
  }
}

extension MessageWriter {
  mutating func register(_ type: UInt16, _ register: NftRegister) { big(type, register.number) }

  /// Bytes as `NFTA_DATA_VALUE`.
  mutating func value(_ type: UInt16, _ bytes: [UInt8]) {
    nest(type) { $0.bytes(ExpressionAttribute.Data.value, bytes) }
  }
}
