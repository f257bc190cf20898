/// A `Status`: the API server's answer when it did not do what was asked.
public struct KubeStatus: Hashable, Sendable {
  /// The HTTP status.
  public var code: Int
  /// One word, such as `Forbidden` or `Expired`; may be empty.
  public var reason: String
  /// For people.
  public var message: String
  /// How long to wait before the next try, in seconds.
  public var retryAfter: Int?

  /// By default only the number is known.
  public init(code: Int, reason: String = "", message: String = "", retryAfter: Int? = nil) {
    self.code = code
    self.reason = reason
    self.message = message
    self.retryAfter = retryAfter
  }

  enum Slot {
    static let code: UInt8 = 1
    static let reason: UInt8 = 2
    static let message: UInt8 = 3
    static let details: UInt8 = 4
    static let retryAfter: UInt8 = 5
  }

  /// k8s.io/apimachinery `meta/v1/generated.proto`
  static let schema = MessageSchema([
    FieldSchema("message", 3, Slot.message),
    FieldSchema("reason", 4, Slot.reason),
    FieldSchema(
      "details", 5, Slot.details,
      .message(MessageSchema([FieldSchema("retryAfterSeconds", 5, Slot.retryAfter, .integer)]))),
    FieldSchema("code", 6, Slot.code, .integer),
  ])

  mutating func set(_ slot: UInt8, _ value: Span<UInt8>) {
    switch slot {
    case Slot.reason: reason = value.utf8Text
    case Slot.message: message = value.utf8Text
    default: break
    }
  }

  mutating func set(_ slot: UInt8, _ value: Int64) {
    switch slot {
    case Slot.code: code = Int(clamping: value)
    case Slot.retryAfter: retryAfter = Int(clamping: value)
    default: break
    }
  }
}
