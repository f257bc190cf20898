/// What is read of one kind of object, in both encodings of the Kubernetes API: a tree of the fields that are wanted.
/// Everything else in a document is passed over without being looked at.
public final class MessageSchema: Sendable {
  /// The wanted fields.
  public let fields: [FieldSchema]

  /// The order of the fields does not matter.
  public init(_ fields: [FieldSchema]) { self.fields = fields }
}

/// A wanted field. Repeated fields are declared like single ones: each value is reported.
public struct FieldSchema: Sendable {
  /// What the field holds.
  public enum Kind: Sendable {
    /// A string.
    case text
    /// A whole number, or a truth value as 0 or 1.
    case integer
    /// A nested object.
    case message(MessageSchema)
    /// A `map<string, string>`.
    case map
    /// An object whose kind is only known while reading: a watch event's. In protobuf it lies in a `RawExtension`, with
    /// an envelope of its own.
    case embedded
  }

  /// The name in JSON.
  public let name: StaticString
  /// The field number in protobuf.
  public let number: UInt32
  /// The name the field is reported by, unique in the whole tree. 0 is the document itself.
  public let slot: UInt8
  /// What the field holds.
  public let kind: Kind

  /// A field by its names in both encodings.
  public init(_ name: StaticString, _ number: UInt32, _ slot: UInt8, _ kind: Kind = .text) {
    self.name = name
    self.number = number
    self.slot = slot
    self.kind = kind
  }

  func isNamed(_ text: Span<UInt8>) -> Bool {
    guard text.count == name.utf8CodeUnitCount else { return false }
    for i in text.indices where unsafe text[i] != name.utf8Start[i] { return false }
    return true
  }
}

extension MessageSchema {
  func field(named text: Span<UInt8>) -> FieldSchema? {
    for field in fields where field.isNamed(text) { return field }
    return nil
  }

  func field(numbered number: UInt64) -> FieldSchema? {
    for field in fields where field.number == number { return field }
    return nil
  }
}
