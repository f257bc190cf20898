import JSON
import KubeTypes

/// Writes objects of the API in protobuf, from the field numbers in Kubernetes' `generated.proto` files. Independent of the
/// decoders under test; unknown members are left out.
public enum TestProtobuf {
  /// A field by its number.
  public indirect enum Field: Sendable {
    case text(UInt64)
    case number(UInt64)
    case time(UInt64)
    case map(UInt64)
    case quantities(UInt64)
    /// A message whose field 1 is the value's JSON text.
    case raw(UInt64)
    case message(UInt64, [(String, Field)])
  }

  /// `meta.v1.ObjectMeta`
  public static let metadata: [(String, Field)] = [
    ("name", .text(1)), ("namespace", .text(3)), ("uid", .text(5)), ("resourceVersion", .text(6)),
    ("generation", .number(7)), ("creationTimestamp", .time(8)), ("labels", .map(11)), ("annotations", .map(12)),
    (
      "managedFields",
      .message(
        17,
        [
          ("manager", .text(1)), ("operation", .text(2)), ("apiVersion", .text(3)), ("time", .time(4)),
          ("fieldsType", .text(6)), ("fieldsV1", .raw(7)), ("subresource", .text(8)),
        ])
    ),
  ]

  /// `core.v1.Node`
  public static let node: [(String, Field)] = [
    ("metadata", .message(1, metadata)),
    ("spec", .message(2, [("podCIDR", .text(1)), ("providerID", .text(3)), ("podCIDRs", .text(7))])),
    (
      "status",
      .message(
        3,
        [
          ("capacity", .quantities(1)), ("allocatable", .quantities(2)),
          (
            "conditions",
            .message(
              4,
              [
                ("type", .text(1)), ("status", .text(2)), ("lastHeartbeatTime", .time(3)),
                ("lastTransitionTime", .time(4)), ("reason", .text(5)), ("message", .text(6)),
              ])
          ),
          ("addresses", .message(5, [("type", .text(1)), ("address", .text(2))])),
          (
            "nodeInfo",
            .message(
              7,
              [
                ("machineID", .text(1)), ("kernelVersion", .text(4)), ("osImage", .text(5)),
                ("kubeletVersion", .text(7)),
              ]
            )
          ), ("images", .message(8, [("names", .text(1)), ("sizeBytes", .number(2))])),
        ])
    ),
  ]

  /// `core.v1.Pod`
  public static let pod: [(String, Field)] = [
    ("metadata", .message(1, metadata)), ("spec", .message(2, [("nodeName", .text(10))])),
  ]

  /// `meta.v1.Status`
  public static let status: [(String, Field)] = [
    ("status", .text(2)), ("message", .text(3)), ("reason", .text(4)),
    ("details", .message(5, [("name", .text(1)), ("kind", .text(3)), ("retryAfterSeconds", .number(5))])),
    ("code", .number(6)),
  ]

  /// The fields of a kind.
  public static func fields(_ kind: String) -> [(String, Field)] {
    switch kind {
    case "Node": node
    case "Pod": pod
    case "Status": status
    default: [("metadata", .message(1, metadata))]
    }
  }

  /// An object in its envelope.
  public static func envelope(_ object: JSONValue) -> [UInt8] {
    let kind = object.objectValue?["kind"]?.stringValue ?? ""
    return envelope(kind: kind, encode(object, fields(kind)))
  }

  /// `k8s\0` and `runtime.Unknown`.
  public static func envelope(kind: String, _ raw: [UInt8]) -> [UInt8] {
    let meta = bytes(1, Array("v1".utf8)) + bytes(2, Array(kind.utf8))
    return [0x6b, 0x38, 0x73, 0] + bytes(1, meta) + bytes(2, raw) + bytes(3, []) + bytes(4, [])
  }

  /// A list of encoded objects.
  public static func list(kind: String, version: String, continue token: String, _ items: [[UInt8]]) -> [UInt8] {
    var raw = bytes(1, bytes(1, []) + bytes(2, Array(version.utf8)) + bytes(3, Array(token.utf8)))
    for item in items { raw += bytes(2, item) }
    return envelope(kind: "\(kind)List", raw)
  }

  /// A frame of a watch.
  public static func event(_ type: String, _ object: [UInt8]) -> [UInt8] {
    let event = bytes(1, Array(type.utf8)) + bytes(2, bytes(1, object))
    let n = UInt32(event.count)
    return [UInt8(n >> 24), UInt8(n >> 16 & 255), UInt8(n >> 8 & 255), UInt8(n & 255)] + event
  }

  /// A message.
  public static func encode(_ value: JSONValue, _ fields: [(String, Field)]) -> [UInt8] {
    var out: [UInt8] = []
    for (name, field) in fields {
      guard let member = value.objectValue?[name], !member.isNull else { continue }
      for item in member.arrayValue ?? [member] { out += encode(item, field) }
    }
    return out
  }

  private static func encode(_ value: JSONValue, _ field: Field) -> [UInt8] {
    switch field {
    case .text(let n): bytes(n, Array((value.stringValue ?? "").utf8))
    case .number(let n): varint(n << 3) + varint(UInt64(bitPattern: Int64(value.intValue ?? 0)))
    case .time(let n): bytes(n, varint(8) + varint(UInt64(Timestamp.seconds(parsing: value.stringValue ?? "") ?? 0)))
    case .raw(let n): bytes(n, bytes(1, value.bytes()))
    case .message(let n, let fields): bytes(n, encode(value, fields))
    case .map(let n): entries(n, value) { Array(($0.stringValue ?? "").utf8) }
    case .quantities(let n): entries(n, value) { bytes(1, Array(($0.stringValue ?? "").utf8)) }
    }
  }

  private static func entries(_ n: UInt64, _ value: JSONValue, _ content: (JSONValue) -> [UInt8]) -> [UInt8] {
    var out: [UInt8] = []
    for member in (value.objectValue?.members ?? []).sorted(by: { $0.name < $1.name }) {
      out += bytes(n, bytes(1, Array(member.name.utf8)) + bytes(2, content(member.value)))
    }
    return out
  }

  private static func bytes(_ field: UInt64, _ content: [UInt8]) -> [UInt8] {
    varint(field << 3 | 2) + varint(UInt64(content.count)) + content
  }

  private static func varint(_ value: UInt64) -> [UInt8] {
    var out: [UInt8] = []
    var rest = value
    while rest >= 0x80 {
      out.append(UInt8(rest & 0x7f) | 0x80)
      rest >>= 7
    }
    return out + [UInt8(rest)]
  }
}
