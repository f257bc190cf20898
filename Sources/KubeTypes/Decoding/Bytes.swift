import NetTypes

extension [UInt8] {
  /// Appends borrowed bytes.
  mutating func append(_ bytes: Span<UInt8>) {
    unsafe bytes.withUnsafeBufferPointer { unsafe append(contentsOf: $0) }
  }
}

extension Span<UInt8> {
  /// The first place from `start` on with a quote or a backslash; `count` when there is none. Eight bytes at a time: the
  /// strings of an answer are most of its bytes.
  func quoteOrBackslash(from start: Int) -> Int {
    var i = start
    let raw = unsafe bytes
    while i <= count &- 8 {
      // In bounds: i + 8 <= count.
      let word = unsafe raw.unsafeLoadUnaligned(fromByteOffset: i, as: UInt64.self)
      let quote = word ^ 0x2222_2222_2222_2222
      let backslash = word ^ 0x5c5c_5c5c_5c5c_5c5c
      let ones: UInt64 = 0x0101_0101_0101_0101
      let hits = ((quote &- ones) & ~quote | (backslash &- ones) & ~backslash) & 0x8080_8080_8080_8080
      if hits != 0 { return i &+ UInt64(littleEndian: hits).trailingZeroBitCount / 8 }
      i &+= 8
    }
    while i < count, self[i] != UInt8(ascii: "\""), self[i] != UInt8(ascii: "\\") { i &+= 1 }
    return i
  }

  /// As text; what is not UTF-8 is replaced.
  var utf8Text: String { unsafe withUnsafeBufferPointer { unsafe String(decoding: $0, as: UTF8.self) } }

  /// Byte for byte the same.
  func equals(_ text: StaticString) -> Bool {
    guard count == text.utf8CodeUnitCount else { return false }
    for i in indices where unsafe self[i] != text.utf8Start[i] { return false }
    return true
  }
}

extension UInt8 {
  /// May occur in a number, `true`, `false` or `null`.
  var isScalarByte: Bool {
    switch self {
    case 0x30...0x39, 0x61...0x7a, UInt8(ascii: "-"), UInt8(ascii: "+"), UInt8(ascii: "."), UInt8(ascii: "E"): true
    default: false
    }
  }
}

/// What stands in a document for a number or literal.
struct JSONScalar {
  /// The value if it is a whole number in range, or a truth value.
  var integer: Int64?
}

extension [UInt8] {
  /// A number or literal; nil when it is neither.
  var scalarValue: JSONScalar? {
    if self.span.equals("null") { return JSONScalar() }
    if self.span.equals("true") { return JSONScalar(integer: 1) }
    if self.span.equals("false") { return JSONScalar(integer: 0) }
    guard let first, first == UInt8(ascii: "-") || (0x30...0x39).contains(first) else { return nil }
    for c in self where (0x61...0x7a).contains(c) && c != UInt8(ascii: "e") { return nil }
    return JSONScalar(integer: Int64(String(decoding: self, as: UTF8.self)))
  }

  /// Replaces the escapes of a JSON string by what they stand for; false when one is malformed. Half of a surrogate pair
  /// becomes U+FFFD.
  mutating func unescapeJSON() -> Bool {
    var out = 0
    var i = 0
    while i < count {
      let c = self[i]
      i += 1
      guard c == UInt8(ascii: "\\") else {
        self[out] = c
        out += 1
        continue
      }
      guard i < count else { return false }
      let escape = self[i]
      i += 1
      if escape == UInt8(ascii: "u") {
        guard let scalar = unicodeEscape(&i) else { return false }
        // An escape of six bytes stands for at most three, a pair of twelve for four: there is room.
        for byte in String(Character(scalar)).utf8 {
          self[out] = byte
          out += 1
        }
      } else {
        guard let plain = Self.plain(escape) else { return false }
        self[out] = plain
        out += 1
      }
    }
    removeLast(count - out)
    return true
  }

  private static func plain(_ escape: UInt8) -> UInt8? {
    switch escape {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): escape
    case UInt8(ascii: "b"): 8
    case UInt8(ascii: "f"): 12
    case UInt8(ascii: "n"): 10
    case UInt8(ascii: "r"): 13
    case UInt8(ascii: "t"): 9
    default: nil
    }
  }

  /// What follows `\u`, with the second half of a pair.
  private func unicodeEscape(_ i: inout Int) -> Unicode.Scalar? {
    guard var unit = hexadecimal(at: i) else { return nil }
    i += 4
    if (0xd800..<0xdc00).contains(unit), i + 1 < count, self[i] == UInt8(ascii: "\\"), self[i + 1] == UInt8(ascii: "u"),
      let low = hexadecimal(at: i + 2), (0xdc00..<0xe000).contains(low)
    {
      unit = 0x10000 + (unit - 0xd800) << 10 + (low - 0xdc00)
      i += 6
    }
    return Unicode.Scalar(unit) ?? "\u{fffd}"
  }

  private func hexadecimal(at start: Int) -> UInt32? {
    guard start + 4 <= count else { return nil }
    var value: UInt32 = 0
    for c in self[start..<start + 4] {
      guard let digit = hexDigitValue(c) else { return nil }
      value = value << 4 | UInt32(digit)
    }
    return value
  }
}
