/// Reads JSON documents that arrive in pieces and reports the fields of a schema.
///
/// It keeps nothing but its place: what is not wanted is passed over without being stored, however large or deep it is,
/// and only its strings and brackets are looked at. Documents may follow one another, as in a watch. A name that occurs
/// twice is reported twice.
public struct JSONFieldReader: Sendable {
  private enum Frame {
    case object(MessageSchema, slot: UInt8)
    case array(FieldSchema)
    case map(slot: UInt8)

    var isArray: Bool {
      if case .array = self { true } else { false }
    }
    var closing: UInt8 { isArray ? UInt8(ascii: "]") : UInt8(ascii: "}") }
  }

  private enum State {
    /// A value of the field `wanted` follows.
    case value
    case firstElement
    /// A name follows, or at first the end.
    case firstName
    case name
    case colon
    /// A comma or the end of what is on top.
    case after
    case string(StringUse)
    case scalar
    /// Inside `skipped` brackets that nobody wants.
    case skip
  }

  private enum StringUse {
    case name
    case value
    /// Outside or inside of skipped brackets.
    case ignored
    case skipped
  }

  private let root: MessageSchema
  private var frames: [Frame] = []
  private var state = State.value
  /// The field whose value is read; nil = nobody wants it.
  private var wanted: FieldSchema?
  private var skipped = 0
  /// The part of a string or number that came with earlier pieces, escapes and all.
  private var pending: [UInt8] = []
  private var isEscaped = false
  private var afterBackslash = false
  /// The key of a map whose value is read.
  private var key: [UInt8] = []
  private var position = 0

  /// For documents of one kind.
  public init(_ root: MessageSchema) { self.root = root }

  /// Reads the next piece.
  public mutating func read<Sink: FieldSink>(_ bytes: Span<UInt8>, into sink: inout Sink) throws(WireError) {
    var i = 0
    let start = position
    defer { position = start &+ bytes.count }
    while i < bytes.count {
      position = start &+ i
      switch state {
      case .string(let use): try string(bytes, &i, use, &sink)
      case .scalar: try scalar(bytes, &i, &sink)
      case .skip: skip(bytes, &i)
      default:
        let c = bytes[i]
        if c == 0x20 || c == 0x0a || c == 0x0d || c == 0x09 {
          i &+= 1
        } else {
          try structure(c, &i, &sink)
        }
      }
    }
  }

  /// Call at the end: fails when a document is incomplete.
  public func finish() throws(WireError) {
    guard case .value = state, frames.isEmpty else { throw error("the answer ends in the middle") }
  }

  private func error(_ reason: String) -> WireError { WireError(offset: position, reason: reason) }
}

extension JSONFieldReader {
  private mutating func structure<Sink: FieldSink>(
    _ c: UInt8, _ i: inout Int, _ sink: inout Sink
  ) throws(WireError) {
    switch (state, c) {
    case (.firstElement, UInt8(ascii: "]")), (.firstName, UInt8(ascii: "}")):
      i &+= 1
      close(&sink)
    case (.value, _), (.firstElement, _): try value(c, &i, &sink)
    case (.firstName, UInt8(ascii: "\"")), (.name, UInt8(ascii: "\"")):
      i &+= 1
      begin(.name)
    case (.firstName, _), (.name, _): throw error("expected a name in quotes")
    case (.colon, UInt8(ascii: ":")):
      i &+= 1
      state = .value
    case (.colon, _): throw error("expected ':'")
    case (.after, UInt8(ascii: ",")):
      i &+= 1
      if case .array(let field)? = frames.last {
        wanted = field
        state = .value
      } else {
        state = .name
      }
    case (.after, _):
      guard let top = frames.last, c == top.closing else { throw error("expected ',' or a closing bracket") }
      i &+= 1
      close(&sink)
    default: throw error("unexpected state")
    }
  }

  /// The first byte of a value.
  private mutating func value<Sink: FieldSink>(_ c: UInt8, _ i: inout Int, _ sink: inout Sink) throws(WireError) {
    switch c {
    case UInt8(ascii: "{"):
      i &+= 1
      open(&sink)
    case UInt8(ascii: "["):
      i &+= 1
      // A list of lists is none of ours.
      if let wanted, frames.last?.isArray != true {
        frames.append(.array(wanted))
        state = .firstElement
      } else {
        startSkipping()
      }
    case UInt8(ascii: "\""):
      i &+= 1
      begin(wantsText ? .value : .ignored)
    case UInt8(ascii: "-"), 0x30...0x39, UInt8(ascii: "t"), UInt8(ascii: "f"), UInt8(ascii: "n"):
      pending.removeAll(keepingCapacity: true)
      state = .scalar
    default: throw error("expected a value")
    }
  }

  private var wantsText: Bool {
    if case .map? = frames.last { return wanted != nil }
    if case .text? = wanted?.kind { return true }
    return false
  }

  private mutating func open<Sink: FieldSink>(_ sink: inout Sink) {
    guard !frames.isEmpty else {
      enter(root, 0, &sink)
      return
    }
    if case .map? = frames.last { return startSkipping() }
    switch wanted?.kind {
    case .message(let schema)?: enter(schema, wanted?.slot ?? 0, &sink)
    case .embedded?:
      let slot = wanted?.slot ?? 0
      if let schema = sink.embedded(slot) { enter(schema, slot, &sink) } else { startSkipping() }
    case .map?:
      frames.append(.map(slot: wanted?.slot ?? 0))
      state = .firstName
    case .text?, .integer?, nil: startSkipping()
    }
  }

  private mutating func enter<Sink: FieldSink>(_ schema: MessageSchema, _ slot: UInt8, _ sink: inout Sink) {
    frames.append(.object(schema, slot: slot))
    sink.begin(slot)
    state = .firstName
  }

  private mutating func close<Sink: FieldSink>(_ sink: inout Sink) {
    if case .object(_, let slot)? = frames.popLast() { sink.end(slot) }
    finishValue()
  }

  private mutating func finishValue() {
    wanted = nil
    state = frames.isEmpty ? .value : .after
  }

  private mutating func startSkipping() {
    skipped = 1
    state = .skip
  }

  /// Passes over everything up to the bracket that closes the outermost skipped one.
  private mutating func skip(_ bytes: Span<UInt8>, _ i: inout Int) {
    while i < bytes.count {
      let c = bytes[i]
      i &+= 1
      switch c {
      case UInt8(ascii: "\""):
        begin(.skipped)
        return
      case UInt8(ascii: "{"), UInt8(ascii: "["): skipped &+= 1
      case UInt8(ascii: "}"), UInt8(ascii: "]"):
        skipped &-= 1
        if skipped == 0 { return finishValue() }
      default: break
      }
    }
  }
}

extension JSONFieldReader {
  private mutating func begin(_ use: StringUse) {
    pending.removeAll(keepingCapacity: true)
    isEscaped = false
    afterBackslash = false
    state = .string(use)
  }

  /// Reads on in a string: to its end, or to the end of the piece.
  private mutating func string<Sink: FieldSink>(
    _ bytes: Span<UInt8>, _ i: inout Int, _ use: StringUse, _ sink: inout Sink
  ) throws(WireError) {
    let start = i
    while i < bytes.count {
      if afterBackslash {
        afterBackslash = false
        i &+= 1
        continue
      }
      i = bytes.quoteOrBackslash(from: i)
      guard i < bytes.count else { break }
      if bytes[i] == UInt8(ascii: "\\") {
        isEscaped = true
        afterBackslash = true
        i &+= 1
        continue
      }
      let end = i
      i &+= 1
      return try complete(bytes.extracting(start..<end), use, &sink)
    }
    switch use {
    case .ignored, .skipped: break
    case .name, .value: try keep(bytes.extracting(start..<i))
    }
  }

  private mutating func keep(_ piece: Span<UInt8>) throws(WireError) {
    guard pending.count &+ piece.count <= longestText else { throw error("a string of more than \(longestText) bytes") }
    pending.append(piece)
  }

  /// The string has ended; `last` is its part in this piece.
  private mutating func complete<Sink: FieldSink>(
    _ last: Span<UInt8>, _ use: StringUse, _ sink: inout Sink
  ) throws(WireError) {
    switch use {
    case .skipped: state = .skip
    case .ignored: finishValue()
    case .name, .value:
      if pending.isEmpty, !isEscaped { return deliver(last, use, &sink) }
      try keep(last)
      if isEscaped, !pending.unescapeJSON() { throw error("an escape that JSON does not know") }
      // Taken out and put back: the reader must not be read while it is changed, and the buffer is to be used again.
      var text: [UInt8] = []
      swap(&text, &pending)
      deliver(text.span, use, &sink)
      swap(&text, &pending)
    }
  }

  private mutating func deliver<Sink: FieldSink>(_ text: Span<UInt8>, _ use: StringUse, _ sink: inout Sink) {
    switch (use, frames.last) {
    case (.name, .object(let schema, _)?):
      wanted = schema.field(named: text)
      state = .colon
    case (.name, .map(let slot)?):
      if sink.wants(slot, key: text) {
        wanted = FieldSchema("", 0, slot)
        key.removeAll(keepingCapacity: true)
        key.append(text)
      } else {
        wanted = nil
      }
      state = .colon
    case (_, .map(let slot)?):
      sink.entry(slot, key: key.span, value: text)
      finishValue()
    default:
      if let wanted { sink.text(wanted.slot, text) }
      finishValue()
    }
  }

  /// Reads on in a number or literal.
  private mutating func scalar<Sink: FieldSink>(
    _ bytes: Span<UInt8>, _ i: inout Int, _ sink: inout Sink
  ) throws(WireError) {
    while i < bytes.count, bytes[i].isScalarByte {
      // A number that is this long is not one of ours.
      if pending.count < 64 { pending.append(bytes[i]) }
      i &+= 1
    }
    guard i < bytes.count else { return }
    guard let number = pending.scalarValue else { throw error("expected a number, true, false or null") }
    if case .integer? = wanted?.kind, let wanted, let value = number.integer { sink.integer(wanted.slot, value) }
    finishValue()
  }
}
