import CYAML
import JSON

/// Why a YAML text cannot be read.
public struct YAMLError: Error, Hashable, Sendable, CustomStringConvertible {
  /// From 1.
  public let line: Int
  /// What is wrong.
  public let reason: String

  /// `line 3: …`
  public var description: String { "line \(line): \(reason)" }
}

/// Reads YAML with libyaml into JSON values: mappings, sequences, strings, and of the plain scalars `true`, `false` and
/// `null` as such. Numbers stay strings. Of a text with several documents only the first is read.
///
/// Aliases are refused: with them a short text becomes as large as it likes.
public enum YAML {
  /// Levels of nesting that are read.
  public static let deepest = 64

  /// Parses a text. An empty one is `null`.
  public static func parse(_ text: [UInt8]) throws(YAMLError) -> JSONValue {
    var parser = YAMLParser(text)
    defer { parser.finish() }
    return try parser.document()
  }
}

/// libyaml's event parser. It holds pointers into the text, so both live together.
@safe private struct YAMLParser: ~Copyable {
  private let parser: UnsafeMutablePointer<yaml_parser_t>
  private let text: UnsafeMutableBufferPointer<UInt8>

  init(_ bytes: [UInt8]) {
    unsafe parser = .allocate(capacity: 1)
    unsafe text = .allocate(capacity: max(bytes.count, 1))
    _ = unsafe text.initialize(from: bytes)
    unsafe parser.initialize(to: yaml_parser_t())
    // It fails only without memory, and then the first event does too.
    _ = unsafe yaml_parser_initialize(parser)
    unsafe yaml_parser_set_input_string(parser, text.baseAddress, bytes.count)
  }

  mutating func finish() {
    unsafe yaml_parser_delete(parser)
    unsafe parser.deallocate()
    unsafe text.deallocate()
  }

  private enum Event {
    case scalar(String, isPlain: Bool)
    case sequence, sequenceEnd, mapping, mappingEnd, alias, end, other
  }

  mutating func document() throws(YAMLError) -> JSONValue {
    while true {
      let event = try next()
      switch event {
      case .other: continue
      case .end: return .null
      default: return try value(event, depth: 0)
      }
    }
  }

  private mutating func value(_ event: Event, depth: Int) throws(YAMLError) -> JSONValue {
    guard depth < YAML.deepest else { throw error("nested more than \(YAML.deepest) levels deep") }
    switch event {
    case .scalar(let text, let isPlain): return isPlain ? Self.plain(text) : .string(text)
    case .sequence:
      var out: [JSONValue] = []
      while true {
        let event = try next()
        if case .sequenceEnd = event { return .array(out) }
        out.append(try value(event, depth: depth + 1))
      }
    case .mapping:
      var out = JSONObject()
      while true {
        switch try next() {
        case .mappingEnd: return .object(out)
        case .scalar(let name, _): out[name] = try value(try next(), depth: depth + 1)
        default: throw error("expected a key")
        }
      }
    case .alias: throw error("aliases (*name) are not supported; write the value out")
    case .sequenceEnd, .mappingEnd, .end, .other: throw error("unexpected end")
    }
  }

  /// The scalars of the core schema that matter here (YAML 1.2 §10.3.2).
  private static func plain(_ text: String) -> JSONValue {
    switch text {
    case "", "~", "null", "Null", "NULL": .null
    case "true", "True", "TRUE": .bool(true)
    case "false", "False", "FALSE": .bool(false)
    default: .string(text)
    }
  }

  private mutating func next() throws(YAMLError) -> Event {
    var event = unsafe yaml_event_t()
    guard unsafe yaml_parser_parse(parser, &event) != 0 else { throw problem() }
    defer { unsafe yaml_event_delete(&event) }
    switch unsafe event.type {
    case YAML_SCALAR_EVENT:
      let scalar = unsafe event.data.scalar
      let bytes = unsafe UnsafeBufferPointer(start: scalar.value, count: scalar.length)
      return .scalar(
        unsafe String(decoding: bytes, as: UTF8.self), isPlain: unsafe scalar.style == YAML_PLAIN_SCALAR_STYLE)
    case YAML_SEQUENCE_START_EVENT: return .sequence
    case YAML_SEQUENCE_END_EVENT: return .sequenceEnd
    case YAML_MAPPING_START_EVENT: return .mapping
    case YAML_MAPPING_END_EVENT: return .mappingEnd
    case YAML_ALIAS_EVENT: return .alias
    case YAML_STREAM_END_EVENT: return .end
    default: return .other
    }
  }

  private func error(_ reason: String) -> YAMLError {
    YAMLError(line: unsafe Int(clamping: parser.pointee.mark.line) + 1, reason: reason)
  }

  private func problem() -> YAMLError {
    guard let reason = unsafe parser.pointee.problem else { return error("out of memory") }
    let line = unsafe Int(clamping: parser.pointee.problem_mark.line) + 1
    return YAMLError(line: line, reason: unsafe String(cString: reason))
  }
}
