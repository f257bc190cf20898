enum SetAttribute {
  static let table: UInt16 = 1
  static let name: UInt16 = 2
  static let flags: UInt16 = 3
  static let keyType: UInt16 = 4
  static let keyLength: UInt16 = 5
  static let dataType: UInt16 = 6
  static let dataLength: UInt16 = 7
  static let description: UInt16 = 9
  static let id: UInt16 = 10
  static let timeout: UInt16 = 11
  static let userData: UInt16 = 13
  static let descriptionConcatenation: UInt16 = 2
  static let fieldLength: UInt16 = 1
}

enum ElementAttribute {
  static let table: UInt16 = 1
  static let set: UInt16 = 2
  static let elements: UInt16 = 3
  static let setID: UInt16 = 4
  static let key: UInt16 = 1
  static let data: UInt16 = 2
  static let flags: UInt16 = 3
  static let timeout: UInt16 = 4
  static let expiration: UInt16 = 5
  static let userData: UInt16 = 6
  static let keyEnd: UInt16 = 10
  static let intervalEnd: UInt32 = 1
  static let catchAll: UInt32 = 2
}

extension NftSet {
  /// From `NFT_MSG_NEWSET` or `NFT_MSG_DELSET`; nil when a name or a known family is missing.
  init?(_ message: borrowing Message) {
    guard let family = NftFamily(message) else { return nil }
    var table: String?
    var name: String?
    self.init(NftTable.ID(family, ""), "", key: [])
    var attributes = message.attributes(after: Netfilter.headerSize)
    while let a = attributes.next() {
      switch a.type {
      case SetAttribute.table: table = a.string
      case SetAttribute.name: name = a.string
      case SetAttribute.flags: flags = Flags(rawValue: a.bigUInt32 ?? 0)
      case SetAttribute.keyType: key = NftDatatype(rawValue: a.bigUInt32 ?? 0).parts
      case SetAttribute.dataType:
        let type = NftDatatype(rawValue: a.bigUInt32 ?? 0)
        data = type == .verdict ? [.verdict] : type.parts
      case SetAttribute.timeout: timeout = a.bigUInt64 ?? 0
      case SetAttribute.userData:
        comment = NftUserData.comment(NftUserData.setComment, in: a.bytes)
        isKeyHostOrder = NftUserData.value(NftUserData.keyByteOrder, in: a.bytes)?.first == 1
      default: break
      }
    }
    guard let table, let name else { return nil }
    self.table.name = table
    self.name = name
  }

  /// - Parameter id: number by which rules and elements of the same transaction may name the set.
  func encode(into w: inout MessageWriter, id: UInt32) {
    var flags = flags
    let isConcatenatedInterval = key.count > 1 && flags.contains(.interval)
    if isConcatenatedInterval { flags.insert(.concatenation) }
    w.attribute(SetAttribute.table, table.name)
    w.attribute(SetAttribute.name, name)
    w.big(SetAttribute.flags, flags.rawValue)
    w.big(SetAttribute.keyType, NftDatatype.concatenation(key).rawValue)
    w.big(SetAttribute.keyLength, UInt32(clamping: keyLength))
    if let data {
      w.big(
        SetAttribute.dataType,
        data == [.verdict] ? NftDatatype.verdict.rawValue : NftDatatype.concatenation(data).rawValue)
      w.big(SetAttribute.dataLength, UInt32(clamping: dataLength))
    }
    if isConcatenatedInterval {
      w.nest(SetAttribute.description) {
        $0.nest(SetAttribute.descriptionConcatenation) {
          for type in key {
            $0.nest(RuleAttribute.element) { $0.big(SetAttribute.fieldLength, UInt32(clamping: type.length)) }
          }
        }
      }
    }
    w.big(SetAttribute.id, id)
    if timeout > 0 { w.big(SetAttribute.timeout, timeout) }
    w.bytes(SetAttribute.userData, userData)
  }

  /// Byte orders (1 = the machine's, 2 = network) and the comment, as `nft` stores them.
  private var userData: [UInt8] {
    func order(_ isHost: Bool) -> [UInt8] { [isHost ? 1 : 2, 0, 0, 0] }
    var out = NftUserData.entry(NftUserData.keyByteOrder, order(isKeyHostOrder))
    if let data, data != [.verdict] {
      out += NftUserData.entry(NftUserData.dataByteOrder, order(data.count == 1 && data[0].isHostOrder))
    }
    return out + NftUserData.entry(NftUserData.setComment, comment: comment)
  }
}

extension NftElement {
  /// The elements in an answer or notification.
  static func list(_ message: borrowing Message) -> [NftElement] {
    var out: [NftElement] = []
    var attributes = message.attributes(after: Netfilter.headerSize)
    while let a = attributes.next() {
      guard a.type == ElementAttribute.elements else { continue }
      var elements = a.nested()
      while let e = elements.next() { if let element = NftElement(e.nested()) { out.append(element) } }
    }
    return out
  }

  private init?(_ attributes: consuming AttributeReader) {
    var attributes = attributes
    var flags: UInt32 = 0
    self.init(key: [])
    var key: [UInt8]?
    while let a = attributes.next() {
      switch a.type {
      case ElementAttribute.key: key = NftExpression.value(a.nested())
      case ElementAttribute.keyEnd: keyEnd = NftExpression.value(a.nested())
      case ElementAttribute.flags: flags = a.bigUInt32 ?? 0
      case ElementAttribute.timeout: timeout = a.bigUInt64 ?? 0
      case ElementAttribute.expiration: expiration = a.bigUInt64 ?? 0
      case ElementAttribute.userData: comment = NftUserData.comment(in: a.bytes)
      case ElementAttribute.data:
        if let v = NftVerdict(a.nested()) {
          value = .verdict(v)
        } else if let bytes = NftExpression.value(a.nested()) {
          value = .data(bytes)
        }
      default: break
      }
    }
    isIntervalEnd = flags & ElementAttribute.intervalEnd != 0
    isCatchAll = flags & ElementAttribute.catchAll != 0
    guard let key else {
      guard isCatchAll else { return nil }
      return
    }
    self.key = key
  }

  func encode(into w: inout MessageWriter) {
    w.nest(RuleAttribute.element) { w in
      if !isCatchAll { w.value(ElementAttribute.key, key) }
      if let keyEnd { w.value(ElementAttribute.keyEnd, keyEnd) }
      switch value {
      case .data(let bytes): w.value(ElementAttribute.data, bytes)
      case .verdict(let verdict): w.nest(ElementAttribute.data) { verdict.encode(into: &$0) }
      case nil: break
      }
      let flags = (isIntervalEnd ? ElementAttribute.intervalEnd : 0) | (isCatchAll ? ElementAttribute.catchAll : 0)
      if flags != 0 { w.big(ElementAttribute.flags, flags) }
      if timeout > 0 { w.big(ElementAttribute.timeout, timeout) }
      let data = NftUserData.entry(comment: comment)
      if !data.isEmpty { w.bytes(ElementAttribute.userData, data) }
    }
  }

  /// Upper bound of the encoded size, bytes.
  var encodedSize: Int { 96 + key.count + (keyEnd?.count ?? 0) + (comment?.utf8.count ?? 0) + valueSize }

  private var valueSize: Int {
    switch value {
    case .data(let bytes): bytes.count + 16
    case .verdict(let v): 32 + (v.target?.utf8.count ?? 0)
    case nil: 0
    }
  }
}
