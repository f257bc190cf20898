/// Reads `application/vnd.kubernetes.protobuf` that arrives in pieces and reports the fields of a schema.
///
/// A document is an envelope, `k8s\0` and a message `runtime.Unknown`, whose field `raw` holds the object. A watch is a
/// sequence of messages `meta.v1.WatchEvent` without envelope, each behind four bytes with its length; the object inside
/// an event has an envelope again (k8s.io/apimachinery `pkg/runtime/serializer/protobuf`).
public struct ProtobufFieldReader: Sendable {
  /// How documents follow one another.
  public enum Framing: Sendable {
    /// One document in an envelope, to the end.
    case single
    /// Documents without envelope, each behind its length.
    case stream
  }

  private enum Content {
    case message(MessageSchema)
    /// The object's schema is in the field.
    case envelope(MessageSchema)
    /// An object in its envelope in a `RawExtension`.
    case rawExtension(slot: UInt8)
    case mapEntry
  }

  private struct Frame {
    var content: Content
    var slot: UInt8
    /// Whether the sink knows of it.
    var isReported: Bool
    /// Where it ends, counted from the start.
    var end: Int
  }

  private enum State {
    case frameLength
    case magic
    case tag
    case varint
    case length
    case skip
    case text(TextUse)
  }

  private enum TextUse {
    case value
    case mapKey
    case mapValue
  }

  private let root: MessageSchema
  private let framing: Framing
  private var frames: [Frame] = []
  private var state: State
  private var position = 0
  /// The number being put together, and how many bytes of it were read.
  private var number: UInt64 = 0
  private var digits = 0
  private var fieldNumber: UInt64 = 0
  /// Bytes left of what is skipped or kept.
  private var left = 0
  private var wanted: FieldSchema?
  private var pending: [UInt8] = []
  private var key: [UInt8] = []
  private var wantsEntry = false

  /// For documents of one kind.
  public init(_ root: MessageSchema, framing: Framing) {
    self.root = root
    self.framing = framing
    switch framing {
    case .single:
      frames = [Frame(content: .envelope(root), slot: 0, isReported: false, end: .max)]
      state = .magic
    case .stream: state = .frameLength
    }
  }

  /// Reads the next piece.
  public mutating func read<Sink: FieldSink>(_ bytes: Span<UInt8>, into sink: inout Sink) throws(WireError) {
    var i = 0
    while i < bytes.count {
      switch state {
      case .skip:
        let n = min(left, bytes.count &- i)
        advance(n, &i)
        left &-= n
        if left == 0 { try endOfField(&sink) }
      case .text(let use): try text(bytes, &i, use, &sink)
      default:
        let c = bytes[i]
        advance(1, &i)
        try byte(c, &sink)
      }
    }
  }

  /// Call at the end: fails when a document is incomplete.
  public func finish() throws(WireError) {
    switch (framing, state) {
    case (.single, .tag) where frames.count == 1 && digits == 0: break
    case (.stream, .frameLength) where digits == 0: break
    default: throw error("the answer ends in the middle")
    }
  }

  private mutating func advance(_ n: Int, _ i: inout Int) {
    i &+= n
    position &+= n
  }

  private func error(_ reason: String) -> WireError { WireError(offset: position, reason: reason) }
}

extension ProtobufFieldReader {
  /// A byte of a length, of a tag, or of a number.
  private mutating func byte<Sink: FieldSink>(_ c: UInt8, _ sink: inout Sink) throws(WireError) {
    switch state {
    case .frameLength:
      number = number << 8 | UInt64(c)
      digits += 1
      if digits == 4 { try startFrame(Int(number), &sink) }
    case .magic:
      // `k8s` and a zero.
      guard c == UInt8(truncatingIfNeeded: 0x0073_386b >> (8 * digits)) else {
        throw error("this is not the protobuf of Kubernetes")
      }
      digits += 1
      if digits == 4 { try endOfField(&sink) }
    case .tag:
      guard try accumulate(c) else { return }
      try tag(number, &sink)
    case .varint:
      guard try accumulate(c) else { return }
      if case .integer? = wanted?.kind, let wanted { sink.integer(wanted.slot, Int64(bitPattern: number)) }
      try endOfField(&sink)
    case .length:
      guard try accumulate(c) else { return }
      guard let top = frames.last, position <= top.end, number <= UInt64(top.end &- position) else {
        throw error("a field is longer than what it lies in")
      }
      try value(Int(number), &sink)
    case .skip, .text: break
    }
  }

  /// Adds seven bits; true when the number is complete.
  private mutating func accumulate(_ c: UInt8) throws(WireError) -> Bool {
    guard digits < 10 else { throw error("a number of more than ten bytes") }
    number |= UInt64(c & 0x7f) &<< UInt64(7 * digits)
    digits += 1
    return c < 0x80
  }

  private mutating func startField() {
    state = .tag
    number = 0
    digits = 0
  }

  private mutating func startFrame<Sink: FieldSink>(_ length: Int, _ sink: inout Sink) throws(WireError) {
    frames.append(Frame(content: .message(root), slot: 0, isReported: true, end: position &+ length))
    sink.begin(0)
    try endOfField(&sink)
  }

  private mutating func tag<Sink: FieldSink>(_ tag: UInt64, _ sink: inout Sink) throws(WireError) {
    fieldNumber = tag >> 3
    guard fieldNumber > 0 else { throw error("a field without number") }
    wanted = nil
    if case .message(let schema)? = frames.last?.content { wanted = schema.field(numbered: fieldNumber) }
    number = 0
    digits = 0
    switch tag & 7 {
    case 0: state = .varint
    case 1: try skip(8, &sink)
    case 2: state = .length
    case 5: try skip(4, &sink)
    default: throw error("unknown wire type \(tag & 7)")
    }
  }

  private mutating func skip<Sink: FieldSink>(_ n: Int, _ sink: inout Sink) throws(WireError) {
    guard let top = frames.last, n <= top.end &- position else { throw error("a field is longer than what it lies in") }
    left = n
    state = .skip
    if n == 0 { try endOfField(&sink) }
  }

  /// A field with a length, and what it holds.
  private mutating func value<Sink: FieldSink>(_ length: Int, _ sink: inout Sink) throws(WireError) {
    guard let top = frames.last else { throw error("a field outside of a message") }
    let end = position &+ length
    switch (top.content, wanted?.kind) {
    case (.message, .text?): try keep(length, .value, &sink)
    case (.message, .message(let schema)?): try enter(schema, wanted?.slot ?? 0, end, &sink)
    case (.message, .map?):
      wantsEntry = false
      frames.append(Frame(content: .mapEntry, slot: wanted?.slot ?? 0, isReported: false, end: end))
      try endOfField(&sink)
    case (.message, .embedded?):
      let slot = wanted?.slot ?? 0
      frames.append(Frame(content: .rawExtension(slot: slot), slot: slot, isReported: false, end: end))
      try endOfField(&sink)
    case (.envelope(let schema), _) where fieldNumber == 2: try enter(schema, top.slot, end, &sink)
    case (.rawExtension(let slot), _) where fieldNumber == 1:
      guard let schema = sink.embedded(slot) else { return try skip(length, &sink) }
      guard length >= 4 else { throw error("an object without envelope") }
      frames.append(Frame(content: .envelope(schema), slot: slot, isReported: false, end: end))
      startField()
      state = .magic
    case (.mapEntry, _) where fieldNumber == 1: try keep(length, .mapKey, &sink)
    case (.mapEntry, _) where fieldNumber == 2 && wantsEntry: try keep(length, .mapValue, &sink)
    default: try skip(length, &sink)
    }
  }

  private mutating func enter<Sink: FieldSink>(
    _ schema: MessageSchema, _ slot: UInt8, _ end: Int, _ sink: inout Sink
  ) throws(WireError) {
    frames.append(Frame(content: .message(schema), slot: slot, isReported: true, end: end))
    sink.begin(slot)
    try endOfField(&sink)
  }

  /// A field is complete, and with it perhaps the messages it was the last of.
  private mutating func endOfField<Sink: FieldSink>(_ sink: inout Sink) throws(WireError) {
    while let top = frames.last, position >= top.end {
      guard position == top.end else { throw error("a field is longer than what it lies in") }
      if top.isReported { sink.end(top.slot) }
      frames.removeLast()
    }
    startField()
    if frames.isEmpty { state = .frameLength }
  }
}

extension ProtobufFieldReader {
  private mutating func keep<Sink: FieldSink>(_ n: Int, _ use: TextUse, _ sink: inout Sink) throws(WireError) {
    guard n <= longestText else { throw error("a string of more than \(longestText) bytes") }
    pending.removeAll(keepingCapacity: true)
    left = n
    state = .text(use)
    if n == 0 {
      let nothing: [UInt8] = []
      try deliver(nothing.span, use, &sink)
    }
  }

  private mutating func text<Sink: FieldSink>(
    _ bytes: Span<UInt8>, _ i: inout Int, _ use: TextUse, _ sink: inout Sink
  ) throws(WireError) {
    let n = min(left, bytes.count &- i)
    let piece = bytes.extracting(i..<i &+ n)
    advance(n, &i)
    left &-= n
    if left == 0, pending.isEmpty { return try deliver(piece, use, &sink) }
    pending.append(piece)
    guard left == 0 else { return }
    var text: [UInt8] = []
    swap(&text, &pending)
    try deliver(text.span, use, &sink)
    swap(&text, &pending)
  }

  private mutating func deliver<Sink: FieldSink>(
    _ text: Span<UInt8>, _ use: TextUse, _ sink: inout Sink
  ) throws(WireError) {
    let slot = frames.last?.slot ?? 0
    switch use {
    case .value: if let wanted { sink.text(wanted.slot, text) }
    case .mapKey:
      key.removeAll(keepingCapacity: true)
      key.append(text)
      wantsEntry = sink.wants(slot, key: text)
    case .mapValue: sink.entry(slot, key: key.span, value: text)
    }
    try endOfField(&sink)
  }
}
