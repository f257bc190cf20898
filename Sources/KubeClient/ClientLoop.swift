import NIOCore
import NIOPosix
import Synchronization

/// The client's thread. After its end, work for it is refused instead of lost.
final class ClientLoop: Sendable {
  let loop: any NIOCore.EventLoop
  private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
  private let isStopped = Mutex(false)

  init() { loop = group.next() }

  /// Runs something on the thread; false when it has ended.
  func execute(_ body: @escaping @Sendable () -> Void) -> Bool {
    isStopped.withLock {
      // Under the lock, so that the thread cannot end between the look and the call.
      if !$0 { loop.execute(body) }
      return !$0
    }
  }

  /// Ends the thread: connections are closed, requests fail. Blocks.
  func stop() {
    let isFirst = isStopped.withLock { isStopped in
      defer { isStopped = true }
      return !isStopped
    }
    if isFirst { try? group.syncShutdownGracefully() }
  }
}
