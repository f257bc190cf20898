/// The result of reading an integer in Go's syntax.
enum GoInteger: Hashable, Sendable {
  case value(Int)
  case syntax
  case range
}

/// Go's `strconv.ParseBool`; nil for any other text.
func goBool(_ text: String) -> Bool? {
  switch text {
  case "1", "t", "T", "TRUE", "true", "True": true
  case "0", "f", "F", "FALSE", "false", "False": false
  default: nil
  }
}

/// Go's `strconv.ParseInt(text, 0, 64)`: sign, prefixes `0x`, `0o`, `0b`, `0` (octal), `_` between digits.
func goInteger(_ text: String) -> GoInteger {
  var digits = Array(text.utf8)[...]
  var isNegative = false
  if let sign = digits.first, sign == UInt8(ascii: "-") || sign == UInt8(ascii: "+") {
    isNegative = sign == UInt8(ascii: "-")
    digits = digits.dropFirst()
  }
  var radix = 10
  // A prefix counts as a digit for the rule that `_` must follow one.
  var afterDigit = false
  if digits.first == UInt8(ascii: "0"), digits.count > 1 {
    radix = 8
    digits = digits.dropFirst()
    afterDigit = true
    if digits.count > 1, let letter = digits.first, let prefixed = goRadix(letter) {
      radix = prefixed
      digits = digits.dropFirst()
    }
  }
  guard !digits.isEmpty else { return .syntax }
  var magnitude: UInt64 = 0
  var overflow = false
  for c in digits {
    if c == UInt8(ascii: "_") {
      guard afterDigit else { return .syntax }
      afterDigit = false
      continue
    }
    guard let digit = Character(Unicode.Scalar(c)).hexDigitValue, digit < radix else { return .syntax }
    afterDigit = true
    let (product, high) = magnitude.multipliedReportingOverflow(by: UInt64(radix))
    let (sum, carry) = product.addingReportingOverflow(UInt64(digit))
    magnitude = sum
    overflow = overflow || high || carry
  }
  guard afterDigit else { return .syntax }
  if overflow { return .range }
  if isNegative {
    guard magnitude <= UInt64(Int64.max) + 1 else { return .range }
    return .value(Int(truncatingIfNeeded: 0 &- Int64(bitPattern: magnitude)))
  }
  guard let value = Int(exactly: magnitude) else { return .range }
  return .value(value)
}

private func goRadix(_ letter: UInt8) -> Int? {
  switch letter | 0x20 {
  case UInt8(ascii: "x"): 16
  case UInt8(ascii: "o"): 8
  case UInt8(ascii: "b"): 2
  default: nil
  }
}

/// A text in double quotes as Go's `%q` prints it; control characters become escapes, so that one value never spans
/// two log lines.
func goQuoted(_ text: String) -> String {
  var out = "\""
  for c in text.unicodeScalars {
    switch c {
    case "\"": out += "\\\""
    case "\\": out += "\\\\"
    case "\n": out += "\\n"
    case "\r": out += "\\r"
    case "\t": out += "\\t"
    case _ where c.value < 0x20 || c.value == 0x7f:
      out += "\\x" + (c.value < 16 ? "0" : "") + String(c.value, radix: 16)
    default: out.unicodeScalars.append(c)
    }
  }
  return out + "\""
}
