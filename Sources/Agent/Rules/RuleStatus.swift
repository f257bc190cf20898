import Synchronization

/// How the packet filter rules are: set by the thread that keeps them, read by the agent's loop.
final class RuleStatus: Sendable {
  enum State: Hashable, Sendable {
    /// The first pass is not over.
    case pending
    case inPlace
    /// The last pass failed; it is tried again. The rules that were there before stay in force.
    case failed(String)
  }

  private let stored = Mutex(State.pending)

  /// The current state.
  var state: State {
    get { stored.withLock { $0 } }
    set { stored.withLock { $0 = newValue } }
  }
}
