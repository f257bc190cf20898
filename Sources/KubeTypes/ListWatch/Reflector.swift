/// Keeps a store the same as the objects of an API server, given the bytes of its answers: the state machine, the decoders
/// and the store together, without any input or output of their own.
///
///     switch reflector.next(now: now) {
///     case .wait(let until): …
///     case .send(let request): … then head(), body() as long as it returns true, and end(); or at any time failed()
///     }
public struct Reflector<Object: KubeObject>: Sendable {
  private var decoder: ResponseDecoder<Object, Mirror<Object>>
  /// Set while the body is a refusal.
  private var refusal: KubeStatus?
  private var isReadable = true

  /// - Parameter seed: of everything random.
  public init(
    _ settings: ListWatch.Settings = ListWatch.Settings(), format: WireFormat, annotations: AnnotationFilter,
    seed: UInt64
  ) {
    decoder = ResponseDecoder(
      annotations: annotations, receiver: Mirror(machine: ListWatch(settings, format: format, seed: seed)))
  }

  /// What is asked, and how it goes.
  public var machine: ListWatch { decoder.receiver.machine }

  /// The objects.
  public var store: ObjectStore<Object> {
    get { decoder.receiver.store }
    _modify { yield &decoder.receiver.store }
  }

  /// What to do now.
  public mutating func next(now: Int64) -> ListWatch.Step {
    let step = decoder.receiver.machine.next(now: now)
    if case .send(let request) = step { decoder.receiver.start(request) }
    return step
  }

  /// The head of the answer.
  /// - Parameters:
  ///   - retryAfter: the header's value in seconds.
  public mutating func head(status: Int, contentType: String, retryAfter: Int?) {
    let format = WireFormat(contentType: contentType)
    isReadable = format != nil
    guard status == 200 else {
      refusal = KubeStatus(code: status, retryAfter: retryAfter)
      decoder.start(format ?? .json, .status)
      return
    }
    refusal = nil
    guard decoder.receiver.isWatching else { return decoder.start(format ?? .json, .list) }
    decoder.start(format ?? .json, .watch)
    if isReadable { decoder.receiver.machine.opened() }
  }

  /// A piece of the body.
  /// - Returns: false when nothing more is wanted: close the connection and call neither `end` nor `failed`.
  public mutating func body(_ bytes: Span<UInt8>, now: Int64) -> Bool {
    guard isReadable else {
      // A proxy's page, say: its status is all that can be used.
      guard refusal == nil else { return true }
      failed(.malformed("it is neither JSON nor protobuf"), now: now)
      return false
    }
    do {
      try decoder.read(bytes)
    } catch {
      if refusal != nil {
        isReadable = false
        return true
      }
      failed(.malformed(error.description), now: now)
      return false
    }
    guard refusal == nil, decoder.receiver.isOver else { return true }
    if let status = decoder.receiver.status { failed(.refused(status), now: now) }
    return false
  }

  /// The body is complete.
  public mutating func end(now: Int64) {
    if var refusal {
      if let status = decoder.receiver.status {
        refusal = KubeStatus(
          code: refusal.code, reason: status.reason, message: status.message,
          retryAfter: refusal.retryAfter ?? status.retryAfter)
      }
      failed(.refused(refusal), now: now)
      return
    }
    do {
      try decoder.finish()
      if decoder.receiver.isWatching { decoder.receiver.machine.ended(now: now) }
    } catch {
      // A watch that breaks off in the middle of an event is a lost connection, not a server that cannot write.
      failed(decoder.receiver.isWatching ? .connection("it broke off") : .malformed(error.description), now: now)
    }
  }

  /// The request could not be sent, or the answer broke off.
  public mutating func failed(_ failure: KubeFailure, now: Int64) {
    decoder.receiver.follow(decoder.receiver.machine.failed(failure, now: now))
  }
}

/// Takes the objects of an answer into the store, as far as the state machine lets them.
struct Mirror<Object: KubeObject>: ObjectReceiver, Sendable {
  var machine: ListWatch
  var store = ObjectStore<Object>()
  /// The last `Status` of the answer.
  private(set) var status: KubeStatus?
  /// The watch must not go on.
  private(set) var isOver = false
  private var request = ListWatch.Request.probe

  init(machine: ListWatch) { self.machine = machine }

  var isWatching: Bool {
    if case .watch = request { true } else { false }
  }

  mutating func start(_ request: ListWatch.Request) {
    self.request = request
    status = nil
    isOver = false
  }

  mutating func follow(_ listing: ListWatch.Listing) {
    switch listing {
    case .unchanged: break
    case .complete: store.commit()
    case .discarded: store.discard()
    }
  }

  mutating func object(_ draft: ObjectDraft) {
    if case .list = request { store.collect(draft) }
  }

  mutating func event(_ kind: WatchEventKind, _ draft: ObjectDraft) {
    guard !isOver else { return }
    if machine.observed(draft.version) { store.apply(kind, draft) } else { isOver = true }
  }

  mutating func status(_ status: KubeStatus) {
    guard !isOver else { return }
    self.status = status
    if isWatching { isOver = true }
  }

  mutating func page(continue token: String, version: String) {
    follow(machine.page(continue: token, version: version))
  }
}
