import KubeTypes
import NIOCore
import NIOHTTP1
import Synchronization
import Syscalls

/// Follows the nodes of a cluster.
public typealias NodeWatcher = ObjectWatcher<KubeNode>

/// Keeps all objects of a kind known. Made by `KubeClient.watch`; may be used from any thread.
///
/// What is known is always one complete state of the API server: nothing before the first list is complete, and while the
/// server is away the last one. A heartbeat that changes nothing of what is kept is not noticed.
public final class ObjectWatcher<Object: KubeObject>: Sendable {
  private let shared: SharedReflector<Object>
  private let loop: ClientLoop
  private let driver: NIOLoopBoundBox<WatchDriver<Object>?>

  init(
    _ loop: ClientLoop, _ transport: NIOLoopBoundBox<Transport>, settings: KubeClient.Settings,
    annotations: AnnotationFilter,
    wake: @escaping @Sendable () -> Void
  ) {
    let shared = SharedReflector<Object>(settings, annotations, wake)
    let driver = NIOLoopBoundBox<WatchDriver<Object>?>.makeEmptyBox(
      valueType: WatchDriver<Object>.self, eventLoop: loop.loop)
    self.shared = shared
    self.loop = loop
    self.driver = driver
    _ = loop.execute {
      let started = WatchDriver(shared, transport.value)
      driver.value = started
      started.advance()
    }
  }

  deinit { stop() }

  /// Ends the watch; what is known stays.
  public func stop() {
    let driver = driver
    // When the thread has ended, so has the watch.
    _ = loop.execute {
      driver.value?.stop()
      driver.value = nil
    }
  }

  /// True once a list was complete.
  public var isSynced: Bool { shared.state.withLock { $0.reflector.machine.isSynced } }

  /// Objects known.
  public var count: Int { shared.state.withLock { $0.reflector.store.count } }

  /// What is in the way of being up to date; nil while all is well.
  public var problem: KubeError? { shared.state.withLock { $0.problem } }

  /// What has changed since the last call; nil when nothing has. The first changes hold all objects, and may be empty if
  /// there are none.
  public func takeChanges() -> ObjectChanges<Object>? { shared.state.withLock { $0.takeChanges() } }

  /// All objects, sorted by name. Costs time and memory for each.
  public var objects: [Object] { shared.state.withLock { $0.reflector.store.all } }

  /// An object by its name, or by `NAMESPACE/NAME`.
  public subscript(key: String) -> Object? { shared.state.withLock { $0.reflector.store[key] } }
}

/// What the client's thread and the watcher's user share.
final class SharedReflector<Object: KubeObject>: Sendable {
  struct State: Sendable {
    var reflector: Reflector<Object>
    var problem: KubeError?
    /// The user was woken and has not come yet.
    var isAnnounced = false

    mutating func takeChanges() -> ObjectChanges<Object>? {
      isAnnounced = false
      return reflector.store.takeChanges()
    }
  }

  let state: Mutex<State>
  private let wake: @Sendable () -> Void

  init(_ settings: KubeClient.Settings, _ annotations: AnnotationFilter, _ wake: @escaping @Sendable () -> Void) {
    var random = SystemRandomNumberGenerator()
    let reflector = Reflector<Object>(
      settings.listWatch, format: settings.format, annotations: annotations, seed: random.next())
    state = Mutex(State(reflector: reflector))
    self.wake = wake
  }

  /// Runs a step, and wakes the user when there is news.
  func step<R: Sendable>(_ problem: (KubeFailure) -> KubeError, _ body: (inout Reflector<Object>) -> sending R) -> R {
    let (result, isNews) = state.withLock { state in
      let result = body(&state.reflector)
      var isNews = state.reflector.store.hasChanges && !state.isAnnounced
      let failure = state.reflector.machine.problem
      if failure != state.problem?.failure {
        state.problem = failure.map(problem)
        isNews = true
      }
      if isNews { state.isAnnounced = true }
      return (result, isNews)
    }
    if isNews { wake() }
    return result
  }
}

/// Does what the state machine says. Use on the event loop.
final class WatchDriver<Object: KubeObject>: ResponseObserver {
  private let shared: SharedReflector<Object>
  private let transport: Transport
  private var connection: HTTPConnection?
  private var timer: Scheduled<Void>?
  private var isStopped = false
  private var status = 0
  private var action = KubeAction("list", Object.resource)

  init(_ shared: SharedReflector<Object>, _ transport: Transport) {
    self.shared = shared
    self.transport = transport
  }

  func stop() {
    isStopped = true
    timer?.cancel()
    connection?.close()
    connection = nil
  }

  func advance() {
    guard !isStopped else { return }
    let now = Clock.monotonic()
    let (step, format, silence) = step {
      let step = $0.next(now: now)
      let machine = $0.machine
      guard case .send(let request) = step else { return (step, machine.format, 0) }
      return (step, machine.format, machine.silence(of: request))
    }
    switch step {
    case .wait(let until):
      // A connection is not kept for the time after a failure.
      connection?.close()
      connection = nil
      timer = transport.loop.assumeIsolated().scheduleTask(in: .nanoseconds(until - now)) { [weak self] in
        self?.advance()
      }
    case .send(let request): send(request, format, silence)
    }
  }

  private func send(_ request: ListWatch.Request, _ format: WireFormat, _ silence: Int) {
    var sent = KubeRequest(action: KubeAction("list", Object.resource), accept: format)
    switch request {
    case .list(let token, let limit):
      let parameters = [limit.map { "limit=\($0)" }, token.isEmpty ? nil : "continue=\(token.percentEncoded)"]
      sent.query = parameters.compactMap { $0 }.joined(separator: "&")
    case .probe: sent.query = "limit=1"
    case .watch(let version, let seconds):
      sent.action.verb = "watch"
      sent.query =
        "watch=1&allowWatchBookmarks=true&resourceVersion=\(version.percentEncoded)&timeoutSeconds=\(seconds)"
    }
    if !sent.query.isEmpty { sent.query = "?" + sent.query }
    action = sent.action
    transport.send(sent, on: connection, silence: .seconds(Int64(silence)), observer: self) { [weak self] in
      guard let self, !isStopped else { return $0.close() }
      connection = $0
    }
  }

  func responseHead(_ head: HTTPResponseHead) {
    status = Int(head.status.code)
    if status == 401 { transport.wasRefused() }
    let type = head.headers.first(name: "Content-Type") ?? ""
    let retryAfter = head.headers.first(name: "Retry-After").flatMap { Int($0) }
    step { [status] in $0.head(status: status, contentType: type, retryAfter: retryAfter) }
  }

  func responseBody(_ bytes: Span<UInt8>) -> Bool {
    let now = Clock.monotonic()
    if step({ $0.body(bytes, now: now) }) { return true }
    connection = nil
    // Not from here: the connection is in the middle of something.
    transport.loop.assumeIsolated().execute { [weak self] in self?.advance() }
    return false
  }

  func responseEnded() {
    let now = Clock.monotonic()
    step { $0.end(now: now) }
    advance()
  }

  func responseFailed(_ failure: KubeFailure) {
    guard !isStopped else { return }
    let now = Clock.monotonic()
    connection = nil
    step { $0.failed(failure, now: now) }
    advance()
  }

  @discardableResult
  private func step<R: Sendable>(_ body: (inout Reflector<Object>) -> sending R) -> R {
    shared.step({ KubeError(action, server: transport.access.server.description, $0) }, body)
  }
}
