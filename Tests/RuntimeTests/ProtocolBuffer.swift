/// A message of protocol buffers without its schema: fields by number, each with its values in order.
struct ProtocolBuffer {
  /// What a field of ours can hold.
  enum Value: Equatable {
    case number(UInt64)
    case bytes([UInt8])
  }

  private(set) var fields: [Int: [Value]] = [:]
  /// The encoding of what was added.
  private(set) var bytes: [UInt8] = []

  /// An empty message.
  init() {}

  /// Adds a number; enumerations and truth values are numbers too.
  mutating func add(_ field: Int, _ number: Int) {
    append(UInt64(field) << 3)
    append(UInt64(number))
    fields[field, default: []].append(.number(UInt64(number)))
  }

  /// Adds a text.
  mutating func add(_ field: Int, _ text: String) { add(field, Array(text.utf8)) }
  /// Adds a message within this one.
  mutating func add(_ field: Int, _ message: ProtocolBuffer) { add(field, message.bytes) }

  private mutating func add(_ field: Int, _ content: [UInt8]) {
    append(UInt64(field) << 3 | 2)
    append(UInt64(content.count))
    bytes += content
    fields[field, default: []].append(.bytes(content))
  }

  private mutating func append(_ number: UInt64) {
    var rest = number
    while rest > 0x7f {
      bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(rest))
  }

  /// Decodes a message; nil when the bytes are none, or have fields of fixed width, which CRI has none of.
  init?(decoding bytes: [UInt8]) {
    self.bytes = bytes
    var rest = bytes[...]
    while !rest.isEmpty {
      guard let key = Self.number(&rest), let value = Self.number(&rest) else { return nil }
      switch key & 7 {
      case 0: fields[Int(key >> 3), default: []].append(.number(value))
      case 2:
        guard value <= rest.count else { return nil }
        fields[Int(key >> 3), default: []].append(.bytes(Array(rest.prefix(Int(value)))))
        rest = rest.dropFirst(Int(value))
      default: return nil
      }
    }
  }

  private static func number(_ rest: inout ArraySlice<UInt8>) -> UInt64? {
    var out: UInt64 = 0
    for shift in stride(from: UInt64(0), to: 64, by: 7) {
      guard let byte = rest.popFirst() else { return nil }
      out |= UInt64(byte & 0x7f) << shift
      if byte < 0x80 { return out }
    }
    return nil
  }

  /// The messages in a field.
  func messages(_ field: Int) -> [ProtocolBuffer] {
    (fields[field] ?? []).compactMap { if case .bytes(let b) = $0 { ProtocolBuffer(decoding: b) } else { nil } }
  }

  /// The text in a field; empty when there is none, as in protocol buffers.
  func text(_ field: Int) -> String {
    if case .bytes(let b) = fields[field]?.last { String(decoding: b, as: UTF8.self) } else { "" }
  }

  /// The number in a field; 0 when there is none, as in protocol buffers.
  func number(_ field: Int) -> UInt64 { if case .number(let n) = fields[field]?.last { n } else { 0 } }
}
