/// When the next reconciliation pass runs. A pure state machine over monotonic nanoseconds: the loop tells it what
/// happened, it answers with a deadline. Retry, back-off, coalescing and resync live here and nowhere else.
///
/// * A change is answered at once, but a pass that took *t* is followed by a pause of at least *t* (at most
///   `longestPause`): a burst of events costs at most half a core and is answered by a few passes, not by one each.
/// * Failures are retried after `firstRetry`, doubling up to `lastRetry`.
/// * Without any event a pass runs every `resync`, in case a notification was lost.
public struct Schedule: Sendable {
  /// First retry after a failed pass, ns.
  public static let firstRetry: Int64 = 100_000_000
  /// Longest time between retries, ns.
  public static let lastRetry: Int64 = 5_000_000_000
  /// Longest pause after a long pass, ns.
  public static let longestPause: Int64 = 100_000_000

  /// Time between passes when nothing happens, ns.
  public let resync: Int64
  private var isDirty = true
  private var earliest: Int64 = 0
  private var retryDelay: Int64 = 0
  private var retryAt: Int64?
  private var resyncAt: Int64?

  /// A new schedule is due at once.
  public init(resync: Int64 = 60_000_000_000) { self.resync = resync }

  /// Something that matters changed.
  public mutating func changed() { isDirty = true }

  /// Monotonic time at which the next pass should start; never in the past of `now` by design of the caller's clock.
  public func deadline(now: Int64) -> Int64 {
    if isDirty { return max(now, earliest) }
    return max(earliest, min(retryAt ?? .max, resyncAt ?? now))
  }

  /// A pass should start now.
  public func isDue(now: Int64) -> Bool { deadline(now: now) <= now }

  /// A pass that began at `began` and ended at `ended` succeeded or failed.
  public mutating func finished(began: Int64, ended: Int64, succeeded: Bool) {
    isDirty = false
    earliest = ended &+ min(max(0, ended &- began), Self.longestPause)
    resyncAt = ended &+ resync
    if succeeded {
      retryDelay = 0
      retryAt = nil
    } else {
      retryDelay = retryDelay == 0 ? Self.firstRetry : min(retryDelay &* 2, Self.lastRetry)
      retryAt = ended &+ retryDelay
    }
  }
}
