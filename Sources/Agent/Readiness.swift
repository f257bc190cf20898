import Synchronization

/// Whether the agent is ready: set by its loop, read by the health server's thread.
public final class Readiness: Sendable {
  /// The two answers of `/readyz`.
  public enum State: Hashable, Sendable {
    case ready
    /// `reason` says why, for the operator; nil when nothing is known yet.
    case notReady(reason: String?)
  }

  private let stored = Mutex(State.notReady(reason: nil))

  /// Not ready, and no reason known yet.
  public init() {}

  /// The current state.
  public var state: State {
    get { stored.withLock { $0 } }
    set { stored.withLock { $0 = newValue } }
  }
}
