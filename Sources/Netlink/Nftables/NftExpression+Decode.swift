/// The attributes of one expression, picked out by number. What is longer than expected is not understood, so that the
/// expression is kept as `other`.
private struct Fields: ~Escapable {
  let payload: RawSpan
  /// Attributes that nothing asks for would be lost; they make the expression unknown.
  let known: Set<UInt16>

  @_lifetime(copy payload)
  init(_ payload: RawSpan, known: Set<UInt16>) {
    self.payload = payload
    self.known = known
  }

  var isUnderstood: Bool {
    var reader = AttributeReader(payload)
    while let a = reader.next() { if !known.contains(a.type) { return false } }
    return true
  }

  private func find<R>(_ type: UInt16, _ body: (borrowing Attribute) -> R?) -> R? {
    var reader = AttributeReader(payload)
    while let a = reader.next() { if a.type == type { return body(a) } }
    return nil
  }

  func has(_ type: UInt16) -> Bool { find(type) { _ in true } ?? false }
  func u8(_ type: UInt16) -> UInt8? { find(type) { $0.uint8 } }
  func u32(_ type: UInt16) -> UInt32? { find(type) { $0.bigUInt32 } }
  func u64(_ type: UInt16) -> UInt64? { find(type) { $0.bigUInt64 } }
  func text(_ type: UInt16) -> String? { find(type) { $0.string } }
  func bytes(_ type: UInt16) -> [UInt8]? { find(type) { $0.bytes } }
  func register(_ type: UInt16) -> NftRegister? { u32(type).flatMap(NftRegister.init(number:)) }
  func value(_ type: UInt16) -> [UInt8]? { find(type) { NftExpression.value($0.nested()) } }
  func verdict(_ type: UInt16) -> NftVerdict? { find(type) { NftVerdict($0.nested()) } }
}

extension NftVerdict {
  /// From the attributes of an `NFTA_*_DATA`; nil when it is a value.
  init?(_ attributes: consuming AttributeReader) {
    var attributes = attributes
    while let a = attributes.next() {
      guard a.type == ExpressionAttribute.Data.verdict else { continue }
      var code: Int32?
      var chain: String?
      var inner = a.nested()
      while let b = inner.next() {
        switch b.type {
        case ExpressionAttribute.Data.code: code = b.bigUInt32.map { Int32(bitPattern: $0) }
        case ExpressionAttribute.Data.chain: chain = b.string
        default: break
        }
      }
      guard let code else { return nil }
      switch code {
      case 0: self = .drop
      case 1: self = .accept
      case Self.continueCode: self = .next
      case Self.returnCode: self = .return
      case Self.jumpCode: self = chain.map { .jump($0) } ?? .other(code)
      case Self.gotoCode: self = chain.map { .goto($0) } ?? .other(code)
      default: self = .other(code)
      }
      return
    }
    return nil
  }
}

extension NftExpression {
  /// The expressions of a rule.
  static func list(_ attributes: consuming AttributeReader) -> [NftExpression] {
    var attributes = attributes
    var out: [NftExpression] = []
    while let a = attributes.next() { if let e = NftExpression(a.nested()) { out.append(e) } }
    return out
  }

  /// The bytes of an `NFTA_DATA_VALUE`; nil when it is a verdict.
  static func value(_ attributes: consuming AttributeReader) -> [UInt8]? {
    var attributes = attributes
    while let a = attributes.next() { if a.type == ExpressionAttribute.Data.value { return a.bytes } }
    return nil
  }

  /// From the attributes of a list element; nil only when it has no name.
  private init?(_ attributes: consuming AttributeReader) {
    var attributes = attributes
    var name: String?
    var expression: NftExpression?
    while let a = attributes.next() {
      switch a.type {
      case RuleAttribute.expressionName: name = a.string
      case RuleAttribute.expressionData:
        guard let name else { break }
        expression = Self.decode(name, a.payload) ?? .other(name: name, a.bytes)
      default: break
      }
    }
    guard let name else { return nil }
    self = expression ?? .other(name: name, [])
  }

  /// nil when the expression has another form than those known here.
  private static func decode(_ name: String, _ payload: RawSpan) -> NftExpression? {
    switch name {
    case "meta", "ct", "payload", "fib": decodeLoad(name, payload)
    case "cmp", "range", "bitwise", "byteorder", "lookup", "immediate": decodeTest(name, payload)
    case "nat", "masq", "redir", "reject": decodeTranslation(name, payload)
    default: decodeOther(name, payload)
    }
  }

  private static func decodeLoad(_ name: String, _ payload: RawSpan) -> NftExpression? {
    typealias A = ExpressionAttribute
    switch name {
    case "meta":
      let f = Fields(payload, known: [1, 2, 3])
      guard f.isUnderstood, let key = f.u32(A.Meta.key).flatMap(Meta.init(rawValue:)) else { return nil }
      if let to = f.register(A.Meta.destination) { return .meta(key, to) }
      return f.register(A.Meta.source).map { .setMeta(key, $0) }
    case "ct":
      let f = Fields(payload, known: [1, 2, 3, 4])
      guard f.isUnderstood, let key = f.u32(A.Tracking.key).flatMap(Tracking.init(rawValue:)) else { return nil }
      let direction = f.u8(A.Tracking.direction)
      if let to = f.register(A.Tracking.destination) { return .tracking(key, direction: direction, to) }
      return direction == nil ? f.register(A.Tracking.source).map { .setTracking(key, $0) } : nil
    case "payload":
      let f = Fields(payload, known: [1, 2, 3, 4])
      guard f.isUnderstood, let header = f.u32(A.Payload.base).flatMap(Header.init(rawValue:)),
        let offset = f.u32(A.Payload.offset), let length = f.u32(A.Payload.length),
        let to = f.register(A.Payload.destination)
      else { return nil }
      return .payload(header, offset: offset, length: length, to)
    default:
      let f = Fields(payload, known: [1, 2, 3])
      guard f.isUnderstood, let result = f.u32(A.FIB.result).flatMap(FIBResult.init(rawValue:)),
        let flags = f.u32(A.FIB.flags), let to = f.register(A.FIB.destination)
      else { return nil }
      return .fib(result, flags: flags, to)
    }
  }

  private static func decodeTest(_ name: String, _ payload: RawSpan) -> NftExpression? {
    typealias A = ExpressionAttribute
    switch name {
    case "cmp":
      let f = Fields(payload, known: [1, 2, 3])
      guard f.isUnderstood, let operation = f.u32(A.Compare.operation).flatMap(Comparison.init(rawValue:)),
        let from = f.register(A.Compare.source), let value = f.value(A.Compare.data)
      else { return nil }
      return .compare(operation, from, value)
    case "range":
      let f = Fields(payload, known: [1, 2, 3, 4])
      guard f.isUnderstood, let operation = f.u32(A.Range.operation).flatMap(Comparison.init(rawValue:)),
        let source = f.register(A.Range.source), let from = f.value(A.Range.from), let to = f.value(A.Range.to)
      else { return nil }
      return .range(operation, source, from: from, to: to)
    case "bitwise":
      let f = Fields(payload, known: [1, 2, 3, 4, 5, 6])
      guard f.isUnderstood, f.u32(A.Bitwise.operation) ?? 0 == 0, let from = f.register(A.Bitwise.source),
        let to = f.register(A.Bitwise.destination), let mask = f.value(A.Bitwise.mask),
        let xor = f.value(A.Bitwise.xor)
      else { return nil }
      return .bitwise(from: from, to: to, mask: mask, xor: xor)
    case "byteorder":
      let f = Fields(payload, known: [1, 2, 3, 4, 5])
      guard f.isUnderstood, let from = f.register(A.ByteOrder.source), let to = f.register(A.ByteOrder.destination),
        let operation = f.u32(A.ByteOrder.operation), let length = f.u32(A.ByteOrder.length),
        let size = f.u32(A.ByteOrder.size)
      else { return nil }
      return .byteOrder(from: from, to: to, operation: operation, length: length, size: size)
    case "lookup":
      let f = Fields(payload, known: [1, 2, 3, 4, 5])
      guard f.isUnderstood, let set = f.text(A.Lookup.set), let key = f.register(A.Lookup.source) else { return nil }
      let destination = f.u32(A.Lookup.destination)
      return .lookup(
        set: set, key: key, to: destination.flatMap(NftRegister.init(number:)),
        verdict: destination == A.verdictRegister, inverted: f.u32(A.Lookup.flags) == 1)
    default:
      let f = Fields(payload, known: [1, 2])
      guard f.isUnderstood, let number = f.u32(A.Immediate.destination) else { return nil }
      if number == A.verdictRegister { return f.verdict(A.Immediate.data).map { .verdict($0) } }
      guard let to = NftRegister(number: number), let value = f.value(A.Immediate.data) else { return nil }
      return .immediate(to, value)
    }
  }

  private static func decodeTranslation(_ name: String, _ payload: RawSpan) -> NftExpression? {
    typealias A = ExpressionAttribute
    switch name {
    case "nat":
      let f = Fields(payload, known: [1, 2, 3, 4, 5, 6, 7])
      guard f.isUnderstood, let kind = f.u32(A.NAT.type).flatMap(NAT.Kind.init(rawValue:)),
        let family = f.u32(A.NAT.family)
      else { return nil }
      let address = f.register(A.NAT.address)
      let addressEnd = f.register(A.NAT.addressEnd)
      let port = f.register(A.NAT.port)
      let portEnd = f.register(A.NAT.portEnd)
      // The kernel reports the start as the end where none was given.
      return .nat(
        NAT(
          kind, family: family, address: address, addressEnd: addressEnd == address ? nil : addressEnd, port: port,
          portEnd: portEnd == port ? nil : portEnd, flags: NftNATFlags(kernel: f.u32(A.NAT.flags) ?? 0)))
    case "masq":
      let f = Fields(payload, known: [1])
      return f.isUnderstood ? .masquerade(NftNATFlags(kernel: f.u32(A.Masquerade.flags) ?? 0)) : nil
    case "redir":
      let f = Fields(payload, known: [1, 2, 3])
      let port = f.register(A.Redirect.port)
      let end = f.register(A.Redirect.portEnd)
      guard f.isUnderstood, end == nil || end == port else { return nil }
      return .redirect(port, NftNATFlags(kernel: f.u32(A.Redirect.flags) ?? 0))
    default:
      let f = Fields(payload, known: [1, 2])
      guard f.isUnderstood, let type = f.u32(A.Reject.type) else { return nil }
      return .reject(type: type, code: f.u8(A.Reject.code) ?? 0)
    }
  }

  private static func decodeOther(_ name: String, _ payload: RawSpan) -> NftExpression? {
    typealias A = ExpressionAttribute
    switch name {
    case "numgen":
      let f = Fields(payload, known: [1, 2, 3, 4])
      guard f.isUnderstood, let modulus = f.u32(A.NumberGenerator.modulus), let type = f.u32(A.NumberGenerator.type),
        type < 2, let to = f.register(A.NumberGenerator.destination)
      else { return nil }
      return .numberGenerator(
        random: type == 1, modulus: modulus, offset: f.u32(A.NumberGenerator.offset) ?? 0, to)
    case "counter":
      // 3 is padding.
      let f = Fields(payload, known: [1, 2, 3])
      guard f.isUnderstood else { return nil }
      return .counter(packets: f.u64(A.Counter.packets) ?? 0, bytes: f.u64(A.Counter.bytes) ?? 0)
    case "dynset":
      // 8 is padding; newer kernels always report flags.
      let f = Fields(payload, known: [1, 2, 3, 4, 5, 6, 8, A.DynamicSet.flags])
      guard f.isUnderstood, f.u32(A.DynamicSet.flags) ?? 0 == 0, let set = f.text(A.DynamicSet.set),
        let key = f.register(A.DynamicSet.key),
        let operation = f.u32(A.DynamicSet.operation).flatMap(SetOperation.init(rawValue:))
      else { return nil }
      return .dynamicSet(
        DynamicSet(
          operation, set: set, key: key, data: f.register(A.DynamicSet.data), timeout: f.u64(A.DynamicSet.timeout) ?? 0)
      )
    case "match", "target":
      let f = Fields(payload, known: [1, 2, 3])
      guard f.isUnderstood, let what = f.text(A.Compatibility.name), let info = f.bytes(A.Compatibility.info) else {
        return nil
      }
      return .compatibility(
        isTarget: name == "target", name: what, revision: f.u32(A.Compatibility.revision) ?? 0, info: info)
    default: return nil
    }
  }
}
