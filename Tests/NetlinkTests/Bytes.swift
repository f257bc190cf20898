@testable import Netlink

/// Bytes from hexadecimal text; white space is skipped.
func bytes(_ hex: String) -> [UInt8] {
  let digits = hex.compactMap(\.hexDigitValue)
  return stride(from: 0, to: digits.count - 1, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
}

/// The bytes of a span, for comparing.
func array(_ span: RawSpan) -> [UInt8] { span.withUnsafeBytes { Array($0) } }

/// Calls `body` with every message in the bytes; true when they are well-formed to the end.
@discardableResult
func forEachMessage(_ bytes: [UInt8], _ body: (borrowing Message) -> Void) -> Bool {
  var reader = MessageReader(bytes.span.bytes)
  while let message = reader.next() { body(message) }
  return !reader.isMalformed
}

/// The events in the bytes.
func events(_ bytes: [UInt8]) -> [RouteEvent] {
  var out: [RouteEvent] = []
  forEachMessage(bytes) { if let event = RouteEvent($0) { out.append(event) } }
  return out
}
