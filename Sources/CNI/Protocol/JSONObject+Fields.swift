import JSON

extension JSONObject {
  /// A member as Go's decoder finds it: the exact name, else the last one that is equal without regard to ASCII case.
  /// `null` counts as absent.
  func field(_ name: String) -> JSONValue? {
    var found: JSONValue?
    for m in members where m.name.utf8.count == name.utf8.count {
      if m.name == name { return m.value.isNull ? nil : m.value }
      if zip(m.name.utf8, name.utf8).allSatisfy({ foldASCII($0) == foldASCII($1) }) { found = m.value }
    }
    return found.flatMap { $0.isNull ? nil : $0 }
  }

  /// A string member; absent is nil.
  func string(_ name: String) throws(CNIError) -> String? {
    guard let v = field(name) else { return nil }
    guard let s = v.stringValue else { throw wrongKind(name, v, "string") }
    return s
  }

  /// A boolean member; absent is nil.
  func bool(_ name: String) throws(CNIError) -> Bool? {
    guard let v = field(name) else { return nil }
    guard let b = v.boolValue else { throw wrongKind(name, v, "bool") }
    return b
  }

  /// A whole number in `range`; absent is nil.
  func integer(_ name: String, in range: ClosedRange<Int> = Int.min...Int.max) throws(CNIError) -> Int? {
    guard let v = field(name) else { return nil }
    guard let n = v.intValue, range.contains(n) else { throw wrongKind(name, v, "whole number") }
    return n
  }

  /// An object member; absent is nil.
  func object(_ name: String) throws(CNIError) -> JSONObject? {
    guard let v = field(name) else { return nil }
    guard let o = v.objectValue else { throw wrongKind(name, v, "object") }
    return o
  }

  /// An array member; absent is nil.
  func array(_ name: String) throws(CNIError) -> [JSONValue]? {
    guard let v = field(name) else { return nil }
    guard let a = v.arrayValue else { throw wrongKind(name, v, "array") }
    return a
  }

  /// A list of strings; absent is empty.
  func strings(_ name: String) throws(CNIError) -> [String] {
    var out: [String] = []
    for v in try array(name) ?? [] {
      guard let s = v.stringValue else { throw wrongKind(name, v, "string") }
      out.append(s)
    }
    return out
  }
}

extension JSONValue {
  /// The kind with its article, for error texts: `an array`, `a number`, `null`.
  var kindWithArticle: String {
    switch self {
    case .null: kind
    case .array, .object: "an \(kind)"
    default: "a \(kind)"
    }
  }
}

/// The error for a member of the wrong type, worded like Go's decoder where it can be.
func wrongKind(_ name: String, _ value: JSONValue, _ expected: String) -> CNIError {
  switch value {
  case .number(let n): .decoding("cannot read \"\(name)\": found number \(n), expected \(expected)")
  default: .decoding("cannot read \"\(name)\": found \(value.kind), expected \(expected)")
  }
}

private func foldASCII(_ c: UInt8) -> UInt8 { (0x41...0x5a).contains(c) ? c | 0x20 : c }

/// A text in double quotes as Go prints it with `%q`, for error texts.
func quoted(_ text: some StringProtocol) -> String {
  var out = "\""
  for u in text.unicodeScalars {
    switch u {
    case "\"": out += "\\\""
    case "\\": out += "\\\\"
    case "\n": out += "\\n"
    case "\r": out += "\\r"
    case "\t": out += "\\t"
    default:
      if u.value < 0x20 || u.value == 0x7f {
        let hex = String(u.value, radix: 16)
        out += "\\x" + (hex.utf8.count < 2 ? "0" : "") + hex
      } else {
        out.unicodeScalars.append(u)
      }
    }
  }
  return out + "\""
}
