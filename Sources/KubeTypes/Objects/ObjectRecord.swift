/// What is kept of an object, packed: of 5,000 nodes a record of some hundred bytes each is all that stays.
public struct ObjectRecord: Hashable, Sendable {
  /// `metadata.name`
  public let name: String
  /// `metadata.namespace`
  public let namespace: String
  /// The fields, as `RecordReader` reads them.
  let bytes: [UInt8]

  init(name: String, namespace: String, bytes: [UInt8]) {
    self.name = name
    self.namespace = namespace
    self.bytes = bytes
  }

  /// The first string in a slot.
  public func text(_ slot: UInt8) -> String? { reader.text(slot) }
  /// All strings in a slot.
  public func texts(_ slot: UInt8) -> [String] {
    var reader = reader
    var out: [String] = []
    while let item = reader.next() {
      if item.slot == slot, case .text(let range) = item.value { out.append(reader.text(range)) }
    }
    return out
  }
  /// The first number in a slot.
  public func integer(_ slot: UInt8) -> Int64? {
    var reader = reader
    while let item = reader.next() {
      if item.slot == slot, case .integer(let n) = item.value { return n }
    }
    return nil
  }
  /// The entries of a map.
  public func entries(_ slot: UInt8) -> [(name: String, value: String)] {
    let texts = texts(slot)
    return stride(from: 0, to: texts.count - 1, by: 2).map { (texts[$0], texts[$0 + 1]) }
  }
  /// The nested objects in a slot.
  public func nested(_ slot: UInt8) -> [RecordReader] {
    var reader = reader
    var out: [RecordReader] = []
    var start: Int?
    while let item = reader.next() {
      guard item.slot == slot else { continue }
      switch item.value {
      case .begin: start = reader.position
      case .end:
        if let start { out.append(RecordReader(bytes[start..<reader.position])) }
        start = nil
      case .text, .integer: break
      }
    }
    return out
  }

  private var reader: RecordReader { RecordReader(bytes[...]) }
}

/// Walks what was kept of an object.
public struct RecordReader: Sendable {
  /// A kept field.
  public enum Value: Hashable, Sendable {
    /// Where the text lies; `text(_:)` reads it.
    case text(Range<Int>)
    case integer(Int64)
    /// A nested object begins.
    case begin
    /// The nested object is complete.
    case end
  }

  private let bytes: ArraySlice<UInt8>
  private(set) var position: Int

  init(_ bytes: ArraySlice<UInt8>) {
    self.bytes = bytes
    position = bytes.startIndex
  }

  /// The next field; nil at the end.
  public mutating func next() -> (slot: UInt8, value: Value)? {
    guard position < bytes.endIndex else { return nil }
    let head = bytes[position]
    position += 1
    let slot = head >> 2
    switch head & 3 {
    case 0:
      let length = min(Int(clamping: number()), bytes.endIndex - position)
      let range = position..<position + length
      position = range.upperBound
      return (slot, .text(range))
    case 1: return (slot, .integer(Int64(bitPattern: number())))
    case 2: return (slot, .begin)
    default: return (slot, .end)
    }
  }

  /// A text that `next` found.
  public func text(_ range: Range<Int>) -> String { String(decoding: bytes[range], as: UTF8.self) }

  /// The first string in a slot, from the place reached.
  public func text(_ slot: UInt8) -> String? {
    var reader = self
    while let item = reader.next() {
      if item.slot == slot, case .text(let range) = item.value { return text(range) }
    }
    return nil
  }

  private mutating func number() -> UInt64 {
    var value: UInt64 = 0
    var shift: UInt64 = 0
    while position < bytes.endIndex {
      let c = bytes[position]
      position += 1
      value |= UInt64(c & 0x7f) &<< shift
      if c < 0x80 { break }
      shift &+= 7
    }
    return value
  }
}

/// An object while it is read. It is used again for the next one, so that an object that nobody keeps costs no memory.
public struct ObjectDraft: Sendable {
  var bytes: [UInt8] = []
  var name: [UInt8] = []
  var namespace: [UInt8] = []
  var resourceVersion: [UInt8] = []
  /// Where the open nested objects begin.
  private var starts: [Int] = []

  /// The object's name for a store: `NAME`, or `NAMESPACE/NAME`.
  public var key: String {
    let plain = String(decoding: name, as: UTF8.self)
    return namespace.isEmpty ? plain : String(decoding: namespace, as: UTF8.self) + "/" + plain
  }
  /// `metadata.resourceVersion`
  public var version: String { String(decoding: resourceVersion, as: UTF8.self) }
  /// What was kept.
  public var record: ObjectRecord {
    ObjectRecord(
      name: String(decoding: name, as: UTF8.self), namespace: String(decoding: namespace, as: UTF8.self), bytes: bytes)
  }

  mutating func reset() {
    bytes.removeAll(keepingCapacity: true)
    name.removeAll(keepingCapacity: true)
    namespace.removeAll(keepingCapacity: true)
    resourceVersion.removeAll(keepingCapacity: true)
    starts.removeAll(keepingCapacity: true)
  }

  mutating func text(_ slot: UInt8, _ value: Span<UInt8>) {
    switch slot {
    case KubeMetadata.name: name.replace(by: value)
    case KubeMetadata.namespace: namespace.replace(by: value)
    case KubeMetadata.resourceVersion: resourceVersion.replace(by: value)
    default:
      bytes.append(slot << 2)
      append(UInt64(value.count))
      bytes.append(value)
    }
  }

  mutating func integer(_ slot: UInt8, _ value: Int64) {
    bytes.append(slot << 2 | 1)
    append(UInt64(bitPattern: value))
  }

  mutating func begin(_ slot: UInt8) {
    starts.append(bytes.count)
    bytes.append(slot << 2 | 2)
  }

  /// Closes the nested object, or forgets it when it is not wanted.
  mutating func end(_ slot: UInt8, keeping isKept: (RecordReader) -> Bool) {
    guard let start = starts.popLast(), start < bytes.count else { return }
    if isKept(RecordReader(bytes[(start + 1)...])) {
      bytes.append(slot << 2 | 3)
    } else {
      bytes.removeLast(bytes.count - start)
    }
  }

  private mutating func append(_ number: UInt64) {
    var rest = number
    while rest >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(truncatingIfNeeded: rest))
  }
}

extension [UInt8] {
  fileprivate mutating func replace(by value: Span<UInt8>) {
    removeAll(keepingCapacity: true)
    append(value)
  }
}
