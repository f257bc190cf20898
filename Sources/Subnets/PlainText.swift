import NetTypes

/// A cursor over ASCII text for the few forms that occur thousands of times: IPv4 addresses and keys. Several times
/// faster than the general parsers, to which everything else is left.
struct PlainText: ~Escapable {
  let bytes: Span<UInt8>
  var position = 0

  @_lifetime(copy bytes)
  init(_ bytes: Span<UInt8>) { self.bytes = bytes }

  /// The next byte; nil at the end.
  var next: UInt8? { position < bytes.count ? bytes[position] : nil }

  /// Passes over exactly this ASCII text; false leaves the position where it was.
  @_lifetime(self: copy self)
  mutating func skip(_ literal: StaticString) -> Bool {
    let count = literal.utf8CodeUnitCount
    guard bytes.count - position >= count else { return false }
    for k in 0..<count where unsafe bytes[position + k] != literal.utf8Start[k] { return false }
    position += count
    return true
  }

  /// A decimal number without leading zeros, at most `limit`.
  @_lifetime(self: copy self)
  mutating func number(upTo limit: Int) -> Int? {
    let start = position
    var value = 0
    while let c = next, (0x30...0x39).contains(c), position - start < 3 {
      value = value * 10 + Int(c - 0x30)
      position += 1
    }
    guard position > start, value <= limit, position - start == 1 || bytes[start] != 0x30 else { return nil }
    return value
  }

  /// Dotted decimal.
  @_lifetime(self: copy self)
  mutating func ipv4() -> IPAddress? {
    var value: UInt32 = 0
    for i in 0..<4 {
      if i > 0, !skip(".") { return nil }
      guard let octet = number(upTo: 255) else { return nil }
      value = value << 8 | UInt32(octet)
    }
    return IPAddress(.ipv4, UInt128(value))
  }

  /// `10.12.13.0-24` and nothing else, host bits clear.
  @_lifetime(self: copy self)
  mutating func ipv4Key() -> IPPrefix? {
    guard let address = ipv4(), skip("-"), let length = number(upTo: 31), position == bytes.count else { return nil }
    let prefix = IPPrefix(base: address, length: length)
    return prefix.isNetwork ? prefix : nil
  }

  /// The content of a string in quotes without escapes.
  @_lifetime(self: copy self)
  mutating func string() -> Range<Int>? {
    guard next == UInt8(ascii: "\"") else { return nil }
    let start = position + 1
    var k = start
    while k < bytes.count, bytes[k] != UInt8(ascii: "\"") {
      guard (0x20..<0x7f).contains(bytes[k]), bytes[k] != UInt8(ascii: "\\") else { return nil }
      k += 1
    }
    guard k < bytes.count else { return nil }
    position = k + 1
    return start..<k
  }

  /// The extent of a JSON object whose members are strings and whole numbers, without white space.
  @_lifetime(self: copy self)
  mutating func flatObject() -> Range<Int>? {
    let start = position
    guard skip("{") else { return nil }
    while true {
      guard string() != nil, skip(":"), string() != nil || digits() else { return nil }
      if skip("}") { return start..<position }
      guard skip(",") else { return nil }
    }
  }

  @_lifetime(self: copy self)
  private mutating func digits() -> Bool {
    let start = position
    while let c = next, (0x30...0x39).contains(c) { position += 1 }
    return position - start == 1 || position > start && bytes[start] != 0x30
  }

  func text(_ range: Range<Int>) -> String {
    unsafe bytes.extracting(range).withUnsafeBufferPointer { unsafe String(decoding: $0, as: UTF8.self) }
  }
}
