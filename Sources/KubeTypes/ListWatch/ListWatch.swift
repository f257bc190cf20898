/// Decides what to ask the API server next so that a complete and current set of objects is known: list in pages, watch,
/// list again when the watch cannot go on. It does no input or output and knows no clock but what it is told, in
/// nanoseconds of one that only grows.
///
///     while true {
///       switch machine.next(now: now) {
///       case .wait(let until): …
///       case .send(let request): … then exactly one of page(), ended() and failed(), for a watch observed() before
///       }
///     }
public struct ListWatch: Sendable {
  /// What the API server is asked.
  public enum Request: Hashable, Sendable {
    /// One page of the list, from a token, at most so many objects; nil = all at once.
    case list(continue: String, limit: Int?)
    /// A list of one object, whose version tells whether the server still is the one whose events were seen.
    case probe
    /// The events after a version. The server ends the watch after so many seconds.
    case watch(version: String, seconds: Int)
  }

  /// What to do now.
  public enum Step: Hashable, Sendable {
    case send(Request)
    /// Nothing before this time.
    case wait(until: Int64)
  }

  /// What has become of the objects of the list being read.
  public enum Listing: Hashable, Sendable {
    /// More pages follow, or nothing was listed: nothing changes.
    case unchanged
    /// The list is complete: it takes the place of everything that was known.
    case complete
    /// It starts again: what was collected is void.
    case discarded
  }

  /// Times and sizes.
  public struct Settings: Hashable, Sendable {
    /// Objects per page.
    public var pageSize = 500
    /// Seconds a watch lasts; a random part of the same length is added.
    public var watchSeconds = 300
    /// Seconds without a byte after which a watch is given up. The API server sends a bookmark every minute.
    public var watchSilence = 90
    /// The same for other requests.
    public var answerSilence = 30
    /// Waits after failures that may pass by themselves.
    public var backoff = Backoff()
    /// Waits after refusals that somebody has to do something about.
    public var refusalBackoff = Backoff(first: 10_000_000_000, limit: 60_000_000_000)
    /// The longest wait that the API server may ask for, in seconds.
    public var longestRetryAfter = 300

    /// For the API server of a cluster.
    public init() {}
  }

  private enum State: Hashable {
    case list(continue: String)
    case probe
    case watch
  }

  /// The encoding to ask for. JSON once the server did not do protobuf.
  public private(set) var format: WireFormat
  /// Whether a list was ever complete.
  public private(set) var isSynced = false
  /// What is in the way since the last success.
  public private(set) var problem: KubeFailure?
  /// The version that the known objects have; empty before the first list is complete.
  public private(set) var version = ""

  private let settings: Settings
  private var random: SplitMix64
  private var state = State.list(continue: "")
  private var notBefore = Int64.min
  private var backoff: Backoff
  private var refusals: Backoff
  /// Lists that expired while they were read, one after another.
  private var expiredLists = 0
  private var sentAt: Int64 = 0
  private var askedSeconds = 0
  /// The watch that runs has shown a sign of life.
  private var hasProgressed = false

  /// - Parameter seed: of everything random.
  public init(_ settings: Settings = Settings(), format: WireFormat, seed: UInt64) {
    self.settings = settings
    self.format = format
    backoff = settings.backoff
    refusals = settings.refusalBackoff
    random = SplitMix64(seed: seed)
  }

  /// Seconds without a byte after which a request has to be given up.
  public func silence(of request: Request) -> Int {
    if case .watch = request { settings.watchSilence } else { settings.answerSilence }
  }

  /// What to do now.
  public mutating func next(now: Int64) -> Step {
    if now < notBefore { return .wait(until: notBefore) }
    sentAt = now
    hasProgressed = false
    switch state {
    case .list(let token):
      // A list that expires again and again is too slow for its pages: all at once does not expire.
      return .send(.list(continue: token, limit: expiredLists < 2 ? settings.pageSize : nil))
    case .probe: return .send(.probe)
    case .watch:
      askedSeconds = settings.watchSeconds + Int.random(in: 0...max(settings.watchSeconds, 1), using: &random)
      return .send(.watch(version: version, seconds: askedSeconds))
    }
  }

  /// A page, or the answer to a probe, is complete.
  public mutating func page(continue token: String, version new: String) -> Listing {
    switch state {
    case .watch: return .unchanged
    case .probe:
      succeeded()
      state = .watch
      guard Self.isOlder(new, than: version) else { return .unchanged }
      state = .list(continue: "")
      return .discarded
    case .list:
      succeeded()
      guard token.isEmpty else {
        state = .list(continue: token)
        return .unchanged
      }
      expiredLists = 0
      version = new
      isSynced = true
      state = .watch
      return .complete
    }
  }

  /// The server has accepted a watch; its first event may be long in coming.
  public mutating func opened() { succeeded() }

  /// An event of a watch, or a bookmark.
  /// - Returns: false when it comes from a server whose state is older than what is known: end the watch and call
  ///   nothing, the list comes next.
  public mutating func observed(_ new: String) -> Bool {
    guard !Self.isOlder(new, than: version) else {
      state = .list(continue: "")
      return false
    }
    if !new.isEmpty { version = new }
    if !hasProgressed {
      hasProgressed = true
      succeeded()
      backoff.reset()
    }
    return true
  }

  /// A watch has come to its end in order.
  public mutating func ended(now: Int64) {
    let lasted = now &- sentAt
    if lasted >= 10_000_000_000 {
      succeeded()
      backoff.reset()
    } else if !hasProgressed {
      delay(backoff.next(&random), now)
    }
    // Early: the server went away, and another one may answer next.
    if lasted < Int64(askedSeconds) * 1_000_000_000 - 5_000_000_000 { state = .probe }
  }

  private mutating func succeeded() {
    problem = nil
    refusals.reset()
  }
}

extension ListWatch {
  /// The request failed, or an event of type `ERROR` ended the watch.
  /// - Returns: what becomes of a list being read.
  public mutating func failed(_ failure: KubeFailure, now: Int64) -> Listing {
    problem = failure
    switch failure {
    case .refused(let status): return refused(status, now)
    case .connection, .silence, .credentials: retry(now)
    case .malformed:
      // It may be the encoding that one of both got wrong.
      if format == .protobuf { format = .json }
      retry(now)
    }
    return .unchanged
  }

  private mutating func refused(_ status: KubeStatus, _ now: Int64) -> Listing {
    switch status.code {
    case 410: return startAgain(now)
    // The server has not seen our version yet, or never will.
    case 504 where status.message.isTooLargeVersion: return startAgain(now)
    case 406, 415:
      if format == .protobuf { format = .json } else { delay(refusals.next(&random), now) }
    case 401 where refusals.failures == 0:
      // The token may have been replaced a moment ago: it is read again.
      _ = refusals.next(&random)
      delay(backoff.next(&random), now)
    case 400..<500 where status.code != 408 && status.code != 429: delay(refusals.next(&random), now)
    default: retry(now, after: status.retryAfter)
    }
    return .unchanged
  }

  /// The version or the token that was asked for is too old, or of another server.
  private mutating func startAgain(_ now: Int64) -> Listing {
    if case .list(let token) = state, !token.isEmpty { expiredLists += 1 }
    // At once the first time, since waiting does not help.
    let wait = backoff.next(&random)
    if backoff.failures > 1 { delay(wait, now) }
    state = .list(continue: "")
    return .discarded
  }

  /// Tries again later. A list goes on where it was; before a watch goes on, the server is looked at.
  private mutating func retry(_ now: Int64, after seconds: Int? = nil) {
    if state == .watch { state = .probe }
    let wait = backoff.next(&random)
    let asked = Int64(min(max(seconds ?? 0, 0), settings.longestRetryAfter)) * 1_000_000_000
    // Those who were all told the same time come back spread over a tenth of it.
    delay(asked > wait ? asked + Int64.random(in: 0...asked / 10, using: &random) : wait, now)
  }

  private mutating func delay(_ wait: Int64, _ now: Int64) { notBefore = now &+ wait }

  /// Versions are numbers that grow; what is no number is not compared.
  private static func isOlder(_ new: String, than known: String) -> Bool {
    guard let new = UInt64(new), let known = UInt64(known) else { return false }
    return new < known
  }
}

extension String {
  /// `Too large resource version: 1000, current: 50` (k8s.io/apiserver `storage/errors.go`).
  fileprivate var isTooLargeVersion: Bool { utf8.starts(with: "Too large resource version".utf8) }
}
