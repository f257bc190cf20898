/// Where and why a text is not JSON.
public struct JSONError: Error, Hashable, Sendable, CustomStringConvertible {
  /// Byte offset in the text.
  public var offset: Int
  /// What was expected or found there, without the offset.
  public var reason: String
  /// Offset and reason in one line.
  public var description: String { "invalid JSON at byte \(offset): \(reason)" }
}

extension JSONValue {
  /// Parses one JSON document. Nesting deeper than 512 is refused; a later duplicate member replaces an earlier one.
  public init(parsing bytes: [UInt8]) throws(JSONError) {
    var parser = JSONParser(bytes.span)
    self = try parser.document()
  }

  /// Parses a text.
  public init(parsing text: String) throws(JSONError) { try self.init(parsing: Array(text.utf8)) }
}

/// A recursive-descent parser over borrowed bytes; every access is bounds-checked.
struct JSONParser: ~Escapable {
  private let bytes: Span<UInt8>
  private var i = 0
  private var depth = 0

  @_lifetime(copy bytes)
  init(_ bytes: Span<UInt8>) { self.bytes = bytes }

  @_lifetime(self: copy self)
  mutating func document() throws(JSONError) -> JSONValue {
    let v = try value()
    skipSpace()
    guard i == bytes.count else { throw error("unexpected data after the value") }
    return v
  }

  private func error(_ reason: String) -> JSONError { JSONError(offset: i, reason: reason) }

  @_lifetime(self: copy self)
  private mutating func skipSpace() {
    while i < bytes.count, bytes[i] == 0x20 || (0x09...0x0d).contains(bytes[i]) && bytes[i] != 0x0b && bytes[i] != 0x0c
    {
      i += 1
    }
  }

  @_lifetime(self: copy self)
  private mutating func peek() throws(JSONError) -> UInt8 {
    skipSpace()
    guard i < bytes.count else { throw error("unexpected end") }
    return bytes[i]
  }

  @_lifetime(self: copy self)
  private mutating func value() throws(JSONError) -> JSONValue {
    switch try peek() {
    case UInt8(ascii: "{"): return .object(try object())
    case UInt8(ascii: "["): return .array(try array())
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "t"):
      try literal("true")
      return .bool(true)
    case UInt8(ascii: "f"):
      try literal("false")
      return .bool(false)
    case UInt8(ascii: "n"):
      try literal("null")
      return .null
    case UInt8(ascii: "-"), 0x30...0x39: return .number(try number())
    default: throw error("expected a value")
    }
  }

  @_lifetime(self: copy self)
  private mutating func literal(_ text: String) throws(JSONError) {
    for c in text.utf8 {
      guard i < bytes.count, bytes[i] == c else { throw error("expected \(text)") }
      i += 1
    }
  }

  @_lifetime(self: copy self)
  private mutating func enter() throws(JSONError) {
    depth += 1
    guard depth <= 512 else { throw error("nested too deeply") }
    i += 1
  }

  @_lifetime(self: copy self)
  private mutating func object() throws(JSONError) -> JSONObject {
    try enter()
    var out = JSONObject()
    if try peek() == UInt8(ascii: "}") {
      i += 1
      depth -= 1
      return out
    }
    while true {
      guard try peek() == UInt8(ascii: "\"") else { throw error("expected a member name") }
      let name = try string()
      guard try peek() == UInt8(ascii: ":") else { throw error("expected ':'") }
      i += 1
      out[name] = try value()
      let c = try peek()
      i += 1
      if c == UInt8(ascii: "}") {
        depth -= 1
        return out
      }
      guard c == UInt8(ascii: ",") else {
        i -= 1
        throw error("expected ',' or '}'")
      }
    }
  }

  @_lifetime(self: copy self)
  private mutating func array() throws(JSONError) -> [JSONValue] {
    try enter()
    var out: [JSONValue] = []
    if try peek() == UInt8(ascii: "]") {
      i += 1
      depth -= 1
      return out
    }
    while true {
      out.append(try value())
      let c = try peek()
      i += 1
      if c == UInt8(ascii: "]") {
        depth -= 1
        return out
      }
      guard c == UInt8(ascii: ",") else {
        i -= 1
        throw error("expected ',' or ']'")
      }
    }
  }

  @_lifetime(self: copy self)
  private mutating func digits() throws(JSONError) {
    guard i < bytes.count, (0x30...0x39).contains(bytes[i]) else { throw error("expected a digit") }
    while i < bytes.count, (0x30...0x39).contains(bytes[i]) { i += 1 }
  }

  @_lifetime(self: copy self)
  private mutating func number() throws(JSONError) -> String {
    let start = i
    if bytes[i] == UInt8(ascii: "-") { i += 1 }
    if i < bytes.count, bytes[i] == UInt8(ascii: "0") { i += 1 } else { try digits() }
    if i < bytes.count, bytes[i] == UInt8(ascii: ".") {
      i += 1
      try digits()
    }
    if i < bytes.count, bytes[i] | 0x20 == UInt8(ascii: "e") {
      i += 1
      if i < bytes.count, bytes[i] == UInt8(ascii: "+") || bytes[i] == UInt8(ascii: "-") { i += 1 }
      try digits()
    }
    return text(start..<i)
  }

  private func text(_ r: Range<Int>) -> String {
    unsafe bytes.extracting(r).withUnsafeBufferPointer { unsafe String(decoding: $0, as: UTF8.self) }
  }

  @_lifetime(self: copy self)
  private mutating func string() throws(JSONError) -> String {
    i += 1
    let start = i
    while i < bytes.count {
      let c = bytes[i]
      if c == UInt8(ascii: "\"") {
        i += 1
        return text(start..<i - 1)
      }
      if c == UInt8(ascii: "\\") { break }
      guard c >= 0x20 else { throw error("control character in a string") }
      i += 1
    }
    var out: [UInt8] = []
    for k in start..<i { out.append(bytes[k]) }
    while i < bytes.count {
      let c = bytes[i]
      i += 1
      if c == UInt8(ascii: "\"") { return String(decoding: out, as: UTF8.self) }
      if c == UInt8(ascii: "\\") {
        try escape(into: &out)
      } else {
        guard c >= 0x20 else { throw error("control character in a string") }
        out.append(c)
      }
    }
    throw error("unterminated string")
  }

  @_lifetime(self: copy self)
  private mutating func escape(into out: inout [UInt8]) throws(JSONError) {
    guard i < bytes.count else { throw error("unterminated string") }
    let c = bytes[i]
    i += 1
    switch c {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): out.append(c)
    case UInt8(ascii: "b"): out.append(8)
    case UInt8(ascii: "f"): out.append(12)
    case UInt8(ascii: "n"): out.append(10)
    case UInt8(ascii: "r"): out.append(13)
    case UInt8(ascii: "t"): out.append(9)
    case UInt8(ascii: "u"):
      var unit = try hex4()
      if (0xd800..<0xdc00).contains(unit), i + 1 < bytes.count, bytes[i] == UInt8(ascii: "\\"),
        bytes[i + 1] == UInt8(ascii: "u")
      {
        let back = i
        i += 2
        let low = try hex4()
        if (0xdc00..<0xe000).contains(low) {
          unit = 0x10000 + (unit - 0xd800) << 10 + (low - 0xdc00)
        } else {
          i = back
        }
      }
      out.append(contentsOf: String(Unicode.Scalar(unit).map(Character.init) ?? "\u{fffd}").utf8)
    default:
      i -= 1
      throw error("unknown escape")
    }
  }

  @_lifetime(self: copy self)
  private mutating func hex4() throws(JSONError) -> UInt32 {
    var v: UInt32 = 0
    for _ in 0..<4 {
      guard i < bytes.count else { throw error("unterminated string") }
      let c = bytes[i]
      let d: UInt8
      switch c {
      case 0x30...0x39: d = c &- 0x30
      case 0x41...0x46: d = c &- 0x37
      case 0x61...0x66: d = c &- 0x57
      default: throw error("expected a hexadecimal digit")
      }
      v = v << 4 | UInt32(d)
      i += 1
    }
    return v
  }
}
