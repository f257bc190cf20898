/// Receives the wanted fields of a document in the order in which they stand there.
///
/// The spans are valid only during the call. Text is not checked: it may not be UTF-8.
public protocol FieldSink {
  /// A nested object, or with slot 0 a whole document, begins.
  mutating func begin(_ slot: UInt8)
  /// The object begun last is complete.
  mutating func end(_ slot: UInt8)
  /// A string.
  mutating func text(_ slot: UInt8, _ value: Span<UInt8>)
  /// A whole number. One that does not fit is not reported.
  mutating func integer(_ slot: UInt8, _ value: Int64)
  /// Whether the value of this key of a map is wanted.
  func wants(_ slot: UInt8, key: Span<UInt8>) -> Bool
  /// A wanted entry of a map.
  mutating func entry(_ slot: UInt8, key: Span<UInt8>, value: Span<UInt8>)
  /// What is wanted of the object that follows; nil = nothing.
  func embedded(_ slot: UInt8) -> MessageSchema?
}

/// Why a document from the API server cannot be read.
public struct WireError: Error, Hashable, Sendable, CustomStringConvertible {
  /// Bytes read before.
  public let offset: Int
  /// What is wrong.
  public let reason: String

  /// `malformed answer at byte 17: expected ','`
  public var description: String { "malformed answer at byte \(offset): \(reason)" }
}

/// The longest string that is wanted and kept, in bytes. The API server allows 256 KiB for all annotations of an object.
let longestText = 1 << 20
