/// A JSON value (RFC 8259). Objects keep the order of their members; numbers keep their text, so that nothing is lost
/// between reading and writing.
public enum JSONValue: Hashable, Sendable {
  case null
  case bool(Bool)
  /// The literal as written, always valid JSON.
  case number(String)
  case string(String)
  case array([JSONValue])
  case object(JSONObject)

  /// A whole number.
  public static func integer(_ n: some BinaryInteger) -> JSONValue { .number(String(n)) }

  /// True for the literal `null`.
  public var isNull: Bool { self == .null }
  /// The truth value; nil for every other kind, also for `0` and `"true"`.
  public var boolValue: Bool? { if case .bool(let b) = self { b } else { nil } }
  /// The text without quotes and escapes; nil for every other kind.
  public var stringValue: String? { if case .string(let s) = self { s } else { nil } }
  /// The elements; nil for every other kind.
  public var arrayValue: [JSONValue]? { if case .array(let a) = self { a } else { nil } }
  /// The members; nil for every other kind.
  public var objectValue: JSONObject? { if case .object(let o) = self { o } else { nil } }
  /// The value as `Int` when it is a whole number in range (`1`, not `1.0` or `"1"`).
  public var intValue: Int? { if case .number(let n) = self { Int(n) } else { nil } }

  /// The kind in words, for error texts: `string`, `number`, …
  public var kind: String {
    switch self {
    case .null: "null"
    case .bool: "bool"
    case .number: "number"
    case .string: "string"
    case .array: "array"
    case .object: "object"
    }
  }
}

extension JSONValue: ExpressibleByStringLiteral, ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral,
  ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
  /// A string, not a document to be parsed.
  public init(stringLiteral s: String) { self = .string(s) }
  /// Allows `true` and `false` where a value is wanted.
  public init(booleanLiteral b: Bool) { self = .bool(b) }
  /// A number; values without a literal go through `integer(_:)`.
  public init(integerLiteral n: Int) { self = .integer(n) }
  /// An array of the elements in order.
  public init(arrayLiteral a: JSONValue...) { self = .array(a) }
  /// An object with the members in order; of duplicates the last one counts.
  public init(dictionaryLiteral members: (String, JSONValue)...) { self = .object(JSONObject(members)) }
}

/// The members of a JSON object in their order. A name occurs once; setting it again keeps its place.
public struct JSONObject: Hashable, Sendable {
  /// The members in order.
  public private(set) var members: [(name: String, value: JSONValue)] = []
  /// Places of the names; empty while there are so few members that looking through them is faster.
  private var places: [String: Int] = [:]
  private static let fewMembers = 16

  /// No members.
  public init() {}
  /// Later duplicates replace earlier ones.
  public init(_ members: [(String, JSONValue)]) { for (n, v) in members { self[n] = v } }

  /// The value of a name (exact match); setting nil removes it.
  public subscript(name: String) -> JSONValue? {
    get { place(name).map { members[$0].value } }
    set {
      switch (place(name), newValue) {
      case (let i?, let v?): members[i].value = v
      case (let i?, nil):
        members.remove(at: i)
        places = [:]
        if members.count > Self.fewMembers { indexAll() }
      case (nil, let v?):
        members.append((name, v))
        if !places.isEmpty { places[name] = members.count - 1 } else if members.count > Self.fewMembers { indexAll() }
      case (nil, nil): break
      }
    }
  }

  private func place(_ name: String) -> Int? {
    places.isEmpty ? members.firstIndex { $0.name == name } : places[name]
  }

  private mutating func indexAll() {
    for (i, m) in members.enumerated() { places[m.name] = i }
  }

  /// The value of a name as Go's decoder finds it: the exact name first, else the last one equal without regard to
  /// ASCII case.
  public func caseInsensitive(_ name: String) -> JSONValue? {
    if let exact = self[name] { return exact }
    let lower = name.lowercased()
    return members.last { $0.name.lowercased() == lower }?.value
  }

  /// True for `{}`.
  public var isEmpty: Bool { members.isEmpty }
  /// Number of members.
  public var count: Int { members.count }
  /// The names in order.
  public var names: [String] { members.map(\.name) }

  /// Equality does not depend on the order (RFC 8259 §4).
  public static func == (a: Self, b: Self) -> Bool {
    a.count == b.count && a.members.allSatisfy { b[$0.name] == $0.value }
  }
  /// Fits `==`: does not depend on the order.
  public func hash(into h: inout Hasher) { h.combine(members.count) }
}
