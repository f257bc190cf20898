import Synchronization
import Syscalls

/// Results of calls by the position of their item.
private final class Gathered<R: Sendable>: Sendable {
  let results = Mutex<[Int: Result<R, any Error>]>([:])
}

/// Runs calls that block, each on a thread of its own, and returns their results in order when all have ended.
func simultaneously<T: Sendable, R: Sendable>(
  _ items: some Sequence<T>, _ body: @escaping @Sendable (T) throws -> R
) throws -> [R] {
  let gathered = Gathered<R>()
  let items = Array(items)
  for (i, item) in items.enumerated() {
    try DetachedThread.start {
      let result = Result { try body(item) }
      gathered.results.withLock { $0[i] = result }
    }
  }
  while gathered.results.withLock({ $0.count }) < items.count { Clock.sleep(nanoseconds: 2_000_000) }
  let results = gathered.results.withLock { $0 }
  return try items.indices.compactMap { try results[$0]?.get() }
}
