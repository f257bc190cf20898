/// A kind of object of the Kubernetes API, with what we keep of it.
///
/// A kind declares its schema, and reads its record. That is all a new kind needs; both encodings, lists and watches
/// come with it.
public protocol KubeObject: Sendable, Equatable {
  /// Where the API server has objects of this kind.
  static var resource: KubeResource { get }
  /// What is kept; `metadata` is made with `KubeMetadata.schema`.
  static var schema: MessageSchema { get }
  /// Whether a nested object that was just read is kept. By default it is.
  static func keeps(_ slot: UInt8, _ nested: RecordReader) -> Bool
  /// What was kept.
  var record: ObjectRecord { get }
  /// The object with this record.
  init(_ record: ObjectRecord)
}

extension KubeObject {
  /// Keeps everything.
  public static func keeps(_ slot: UInt8, _ nested: RecordReader) -> Bool { true }
  /// `metadata.name`
  public var name: String { record.name }
  /// `metadata.namespace`; empty for objects of the cluster.
  public var namespace: String { record.namespace }
  /// `metadata.uid`: another object of the same name has another one.
  public var uid: String { record.text(KubeMetadata.uid) ?? "" }
  /// The annotations that were kept, in the order of the API server.
  public var annotations: [(name: String, value: String)] { record.entries(KubeMetadata.annotations) }
  /// The value of an annotation that was kept.
  public func annotation(_ name: String) -> String? { annotations.last { $0.name == name }?.value }
}

/// Where the API server has a kind of objects.
public struct KubeResource: Hashable, Sendable {
  /// `/api/v1`, or `/apis/GROUP/VERSION`.
  public let root: String
  /// The plural in lower case, as in URLs and RBAC rules: `nodes`.
  public let plural: String
  /// `Node`
  public let kind: String
  /// Whether objects lie in namespaces.
  public let isNamespaced: Bool

  /// A resource by its place.
  public init(root: String, plural: String, kind: String, isNamespaced: Bool) {
    self.root = root
    self.plural = plural
    self.kind = kind
    self.isNamespaced = isNamespaced
  }

  /// The path of one object, or without a name of all. An empty namespace means those of all namespaces.
  public func path(namespace: String = "", name: String = "", subresource: String = "") -> String {
    var out = root
    if isNamespaced, !namespace.isEmpty { out += "/namespaces/" + namespace.percentEncoded }
    out += "/" + plural
    if !name.isEmpty { out += "/" + name.percentEncoded }
    if !subresource.isEmpty { out += "/" + subresource }
    return out
  }
}

extension String {
  /// For a part of a path or query: everything but letters, digits, `-`, `.`, `_` and `~` as `%XX` (RFC 3986 §2.3).
  public var percentEncoded: String {
    var out: [UInt8] = []
    let hex = Array("0123456789ABCDEF".utf8)
    for c in utf8 {
      switch c {
      case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
        UInt8(ascii: "~"):
        out.append(c)
      default: out += [UInt8(ascii: "%"), hex[Int(c >> 4)], hex[Int(c & 15)]]
      }
    }
    return String(decoding: out, as: UTF8.self)
  }
}

/// The part of `metadata` that is kept of every kind.
public enum KubeMetadata {
  /// Slot of `uid`.
  public static let uid: UInt8 = 1
  /// Slot of `annotations`.
  public static let annotations: UInt8 = 2
  static let name: UInt8 = 3
  static let namespace: UInt8 = 4
  static let resourceVersion: UInt8 = 5
  /// Kinds use the slots from here on, below 64.
  public static let firstFree: UInt8 = 8

  /// The schema of `metadata` (k8s.io/apimachinery `meta/v1/generated.proto`).
  public static let schema = MessageSchema([
    FieldSchema("name", 1, name),
    FieldSchema("namespace", 3, namespace),
    FieldSchema("uid", 5, uid),
    FieldSchema("resourceVersion", 6, resourceVersion),
    FieldSchema("annotations", 12, annotations, .map),
  ])
}
