/// What an answer holds.
public enum ResponseShape: Sendable {
  /// One object.
  case object
  /// A list, perhaps one page of it.
  case list
  /// A watch: events, one after another.
  case watch
  /// A `Status`.
  case status
}

/// How an answer is encoded.
public enum WireFormat: Hashable, Sendable {
  case json
  case protobuf

  /// For `Accept`.
  public var mediaType: String {
    self == .json ? "application/json" : "application/vnd.kubernetes.protobuf"
  }

  /// From the value of `Content-Type`; nil for anything else.
  public init?(contentType: String) {
    let type = contentType.split(separator: ";", maxSplits: 1).first.map { $0.lowercased() } ?? ""
    switch type.split(separator: " ").first {
    case "application/json": self = .json
    case "application/vnd.kubernetes.protobuf": self = .protobuf
    default: return nil
    }
  }
}

/// Receives the objects of an answer.
public protocol ObjectReceiver {
  /// An object, or an item of a list.
  mutating func object(_ draft: ObjectDraft)
  /// An event of a watch.
  mutating func event(_ kind: WatchEventKind, _ draft: ObjectDraft)
  /// A `Status`, or an event of type `ERROR`.
  mutating func status(_ status: KubeStatus)
  /// The page is complete; the token is empty on the last one.
  mutating func page(continue token: String, version: String)
}

/// What an event of a watch says. Errors are reported as a `KubeStatus`.
public enum WatchEventKind: Hashable, Sendable {
  /// The object as it is now: new, or changed.
  case put
  /// The object is gone.
  case deleted
  /// Only the resource version matters: everything up to it has been sent.
  case bookmark
}

/// Which annotations are kept.
public enum AnnotationFilter: Sendable {
  case none
  case all
  /// Those whose name begins so.
  case prefix(String)

  func keeps(_ name: Span<UInt8>) -> Bool {
    switch self {
    case .none: return false
    case .all: return true
    case .prefix(let prefix):
      guard name.count >= prefix.utf8.count else { return false }
      var i = 0
      for c in prefix.utf8 {
        guard name[i] == c else { return false }
        i &+= 1
      }
      return true
    }
  }
}

/// Reads answers that arrive in pieces, one after another, in either encoding.
public struct ResponseDecoder<Object: KubeObject, Receiver: ObjectReceiver & Sendable>: Sendable {
  private var sink: ResponseSink<Object, Receiver>
  // One of them reads.
  private var json: JSONFieldReader?
  private var protobuf: ProtobufFieldReader?

  /// For answers about one kind.
  public init(annotations: AnnotationFilter, receiver: Receiver) {
    sink = ResponseSink(annotations: annotations, receiver: receiver)
  }

  /// Where the objects go.
  public var receiver: Receiver {
    get { sink.receiver }
    _modify { yield &sink.receiver }
  }

  /// An answer begins; what was left of the one before is forgotten.
  public mutating func start(_ format: WireFormat, _ shape: ResponseShape) {
    sink.start(shape)
    let schema = sink.schema(shape)
    json = nil
    protobuf = nil
    switch format {
    case .json: json = JSONFieldReader(schema)
    case .protobuf: protobuf = ProtobufFieldReader(schema, framing: shape == .watch ? .stream : .single)
    }
  }

  /// Reads the next piece of the body.
  public mutating func read(_ bytes: Span<UInt8>) throws(WireError) {
    try json?.read(bytes, into: &sink)
    try protobuf?.read(bytes, into: &sink)
  }

  /// The body is complete: fails when a document is not, and when there was none where one must be.
  public mutating func finish() throws(WireError) {
    try json?.finish()
    try protobuf?.finish()
    if sink.isEmpty { throw WireError(offset: 0, reason: "the answer is empty") }
  }
}
