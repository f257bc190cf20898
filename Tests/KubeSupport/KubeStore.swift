import JSON
import KubeTypes
import TestSupport

/// Objects with their versions and history, as etcd has them.
struct KubeStore {
  struct Stored {
    var object: JSONValue
    var version: Int
    private var json: [UInt8]?
    private var protobuf: [UInt8]?

    init(_ object: JSONValue, version: Int) {
      self.object = object
      self.version = version
    }

    /// Encoded, in protobuf without envelope.
    mutating func bytes(_ format: WireFormat) -> [UInt8] {
      if let known = format == .json ? json : protobuf { return known }
      let made =
        format == .json
        ? object.bytes()
        : TestProtobuf.encode(object, TestProtobuf.fields(object.objectValue?["kind"]?.stringValue ?? ""))
      if format == .json { json = made } else { protobuf = made }
      return made
    }
  }

  struct Change {
    var version: Int
    var type: String
    var resource: String
    var stored: Stored
  }

  var version = 1000
  /// Changes before this version are forgotten.
  var oldest = 1000
  private(set) var history: [Change] = []
  /// Resource, then `NAME` or `NAMESPACE/NAME`.
  private(set) var objects: [String: [String: Stored]] = [:]

  static func key(_ object: JSONValue) -> String {
    let metadata = object.objectValue?["metadata"]?.objectValue
    let name = metadata?["name"]?.stringValue ?? ""
    return (metadata?["namespace"]?.stringValue).map { "\($0)/\(name)" } ?? name
  }

  /// Adds or replaces an object.
  mutating func put(_ object: JSONValue, _ resource: String) -> Change {
    version += 1
    var object = object
    object.set(["metadata", "resourceVersion"], .string(String(version)))
    let key = Self.key(object)
    let type = objects[resource]?[key] == nil ? "ADDED" : "MODIFIED"
    let stored = Stored(object, version: version)
    objects[resource, default: [:]][key] = stored
    return record(Change(version: version, type: type, resource: resource, stored: stored))
  }

  mutating func remove(_ key: String, _ resource: String) -> Change? {
    guard var stored = objects[resource]?.removeValue(forKey: key) else { return nil }
    version += 1
    stored.object.set(["metadata", "resourceVersion"], .string(String(version)))
    stored = Stored(stored.object, version: version)
    return record(Change(version: version, type: "DELETED", resource: resource, stored: stored))
  }

  private mutating func record(_ change: Change) -> Change {
    history.append(change)
    if history.count > 20_000 { history.removeFirst(10_000) }
    oldest = max(oldest, (history.first?.version ?? 1) - 1)
    return change
  }

  /// Forgets all changes up to now.
  mutating func compact() {
    history = []
    oldest = version
  }

  /// The objects of a page in order of their names, and the name to go on from.
  mutating func page(_ resource: String, after name: String, limit: Int) -> (keys: [String], next: String?) {
    let all = (objects[resource] ?? [:]).keys.sorted().drop { !name.isEmpty && $0 <= name }
    let page = Array(all.prefix(limit))
    return (page, all.count > limit ? page.last : nil)
  }

  mutating func bytes(_ resource: String, _ key: String, _ format: WireFormat) -> [UInt8] {
    objects[resource]?[key]?.bytes(format) ?? []
  }
}

extension JSONValue {
  /// Sets a member of nested objects; what is missing is made.
  mutating func set(_ path: [String], _ value: JSONValue) {
    guard let first = path.first else {
      self = value
      return
    }
    var object = objectValue ?? JSONObject()
    var inner = object[first] ?? .object(JSONObject())
    inner.set(Array(path.dropFirst()), value)
    object[first] = inner
    self = .object(object)
  }

  /// Strategic merge: lists of objects with `type` are merged by it, other lists are replaced, null removes.
  public mutating func merge(_ patch: JSONValue, isStrategic: Bool) {
    switch (self, patch) {
    case (_, .object(let changes)):
      var object = objectValue ?? JSONObject()
      for (name, change) in changes.members {
        if change.isNull {
          object[name] = nil
        } else {
          var inner = object[name] ?? .null
          inner.merge(change, isStrategic: isStrategic)
          object[name] = inner
        }
      }
      self = .object(object)
    case (.array(var items), .array(let changes)) where isStrategic:
      for change in changes {
        guard let type = change.objectValue?["type"] else { break }
        if let i = items.firstIndex(where: { $0.objectValue?["type"] == type }) {
          items[i].merge(change, isStrategic: true)
        } else {
          items.append(change)
        }
      }
      self = .array(items)
    default: self = patch
    }
  }

  /// RFC 6902 without `move`, `copy` and array indices.
  mutating func apply(operations: [JSONValue]) -> Bool {
    for operation in operations {
      let fields = operation.objectValue
      let path = (fields?["path"]?.stringValue ?? "").split(separator: "/").map { $0.unescapedPointer }
      switch fields?["op"]?.stringValue {
      case "add", "replace": set(path, fields?["value"] ?? .null)
      case "remove":
        var parent = self[path: Array(path.dropLast())]?.objectValue ?? JSONObject()
        guard let name = path.last, parent[name] != nil else { return false }
        parent[name] = nil
        set(Array(path.dropLast()), .object(parent))
      case "test": guard self[path: path] == fields?["value"] else { return false }
      default: return false
      }
    }
    return true
  }

  /// A member of nested objects.
  public subscript(path path: [String]) -> JSONValue? {
    path.reduce(self as JSONValue?) { $0?.objectValue?[$1] }
  }
}

extension Substring {
  /// A part of a JSON pointer (RFC 6901 §4).
  fileprivate var unescapedPointer: String {
    split(separator: "~1", omittingEmptySubsequences: false).joined(separator: "/")
      .split(separator: "~0", omittingEmptySubsequences: false).joined(separator: "~")
  }
}
