/// Puts the fields of an answer together to objects, events and pages.
struct ResponseSink<Object: KubeObject, Receiver: ObjectReceiver & Sendable>: FieldSink, Sendable {
  var receiver: Receiver
  private let annotations: AnnotationFilter
  private var shape = ResponseShape.object
  private var draft = ObjectDraft()
  private var status = KubeStatus(code: 0)
  private var continueToken = ""
  private var listVersion = ""
  private var eventType = EventType.unknown
  private var documents = 0

  private enum EventType: Sendable {
    case put, deleted, bookmark, error, unknown
  }

  private let list: MessageSchema

  init(annotations: AnnotationFilter, receiver: Receiver) {
    self.annotations = annotations
    self.receiver = receiver
    list = MessageSchema([
      FieldSchema("metadata", 1, Envelope.listMetadata, .message(Envelope.listMetadataSchema)),
      FieldSchema("items", 2, Envelope.item, .message(Object.schema)),
    ])
  }

  /// True when a document was expected and none came. A watch may end without any event.
  var isEmpty: Bool { shape != .watch && documents == 0 }

  func schema(_ shape: ResponseShape) -> MessageSchema {
    switch shape {
    case .object: Object.schema
    case .list: list
    case .watch: Envelope.watchSchema
    case .status: KubeStatus.schema
    }
  }

  mutating func start(_ shape: ResponseShape) {
    self.shape = shape
    documents = 0
    reset()
  }

  private mutating func reset() {
    draft.reset()
    status = KubeStatus(code: 0)
    continueToken = ""
    listVersion = ""
    eventType = .unknown
  }

  mutating func begin(_ slot: UInt8) {
    switch slot {
    case 0: reset()
    case Envelope.item: draft.reset()
    case Envelope.listMetadata, Envelope.eventObject: break
    default: if !isStatus { draft.begin(slot) }
    }
  }

  mutating func end(_ slot: UInt8) {
    switch slot {
    case 0:
      documents += 1
      endDocument()
    case Envelope.item: receiver.object(draft)
    case Envelope.listMetadata, Envelope.eventObject: break
    default: if !isStatus { draft.end(slot, keeping: { Object.keeps(slot, $0) }) }
    }
  }

  private mutating func endDocument() {
    switch (shape, eventType) {
    case (.object, _): receiver.object(draft)
    case (.list, _): receiver.page(continue: continueToken, version: listVersion)
    case (.status, _), (.watch, .error): receiver.status(status)
    case (.watch, .put): receiver.event(.put, draft)
    case (.watch, .deleted): receiver.event(.deleted, draft)
    case (.watch, .bookmark): receiver.event(.bookmark, draft)
    case (.watch, .unknown):
      receiver.status(KubeStatus(code: 500, reason: "InternalError", message: "an event without a type that is known"))
    }
  }

  mutating func text(_ slot: UInt8, _ value: Span<UInt8>) {
    switch slot {
    case Envelope.continueToken: continueToken = value.utf8Text
    case Envelope.listVersion: listVersion = value.utf8Text
    case Envelope.eventType: eventType = Self.eventType(value)
    default: if isStatus { status.set(slot, value) } else { draft.text(slot, value) }
    }
  }

  mutating func integer(_ slot: UInt8, _ value: Int64) {
    if isStatus { status.set(slot, value) } else { draft.integer(slot, value) }
  }

  func wants(_ slot: UInt8, key: Span<UInt8>) -> Bool { slot != KubeMetadata.annotations || annotations.keeps(key) }

  mutating func entry(_ slot: UInt8, key: Span<UInt8>, value: Span<UInt8>) {
    draft.text(slot, key)
    draft.text(slot, value)
  }

  /// An event's type comes before its object, as Go's encoders write both.
  func embedded(_ slot: UInt8) -> MessageSchema? { eventType == .error ? KubeStatus.schema : Object.schema }

  /// The slots of a `Status` and of objects are the same numbers.
  private var isStatus: Bool { shape == .status || eventType == .error }

  private static func eventType(_ text: Span<UInt8>) -> EventType {
    if text.equals("MODIFIED") || text.equals("ADDED") { return .put }
    if text.equals("DELETED") { return .deleted }
    if text.equals("BOOKMARK") { return .bookmark }
    return text.equals("ERROR") ? .error : .unknown
  }
}

/// What lies around objects: lists and events (k8s.io/apimachinery `meta/v1/generated.proto`).
private enum Envelope {
  static let item: UInt8 = 200
  static let listMetadata: UInt8 = 201
  static let listVersion: UInt8 = 202
  static let continueToken: UInt8 = 203
  static let eventType: UInt8 = 204
  static let eventObject: UInt8 = 205

  static let listMetadataSchema = MessageSchema([
    FieldSchema("resourceVersion", 2, listVersion), FieldSchema("continue", 3, continueToken),
  ])
  static let watchSchema = MessageSchema([
    FieldSchema("type", 1, eventType), FieldSchema("object", 2, eventObject, .embedded),
  ])
}
