import Glibc
import Syscalls
import Testing

@Suite struct EventLoopTests {
  private enum Source: Hashable, Sendable { case pipe, first, second }

  @Test func reportsDescriptorsAndForgetsThem() throws {
    var loop = try EventLoop<Source>()
    let pipe = try Pipe()
    loop.watch(pipe.read.number, as: .pipe)
    loop.schedule(.first, after: 20_000_000)
    #expect(try loop.wait() == [.due(.first)], "nothing to read yet")
    try pipe.write.write([1])
    #expect(try loop.wait() == [.ready(.pipe)])
    #expect(try loop.wait() == [.ready(.pipe)], "level triggered")
    loop.unwatch(.pipe)
    loop.schedule(.first, after: 0)
    #expect(try loop.wait() == [.due(.first)])
  }

  @Test func deadlinesAreOneShotReplaceableAndInOrder() throws {
    var loop = try EventLoop<Source>()
    let now = Clock.monotonic()
    loop.schedule(.first, at: now + 3_600_000_000_000)
    loop.schedule(.second, at: now - 1)
    loop.schedule(.first, at: now - 2)
    #expect(try loop.wait() == [.due(.first), .due(.second)])
    #expect(loop.deadline(of: .first) == nil)
    loop.schedule(.first, after: 1_000_000)
    loop.schedule(.second, after: 5_000_000)
    loop.cancel(.first)
    #expect(try loop.wait() == [.due(.second)])
    loop.schedule(.first, after: .max)
    #expect(loop.deadline(of: .first) == .max)
  }

  @Test func neverReturnsBeforeTheDeadline() throws {
    var loop = try EventLoop<Source>()
    for _ in 0..<20 {
      let deadline = Clock.monotonic() + 1_500_000
      loop.schedule(.first, at: deadline)
      #expect(try loop.wait() == [.due(.first)])
      #expect(Clock.monotonic() >= deadline)
    }
  }

  @Test func anotherThreadWakesIt() throws {
    var loop = try EventLoop<Source>()
    let waker = loop.waker
    waker.wake()
    waker.wake()
    #expect(try loop.wait() == [.woken], "two calls, one event")
    loop.schedule(.first, after: 1_000_000)
    #expect(try loop.wait() == [.due(.first)], "the wake-up was consumed")
  }

  @Test func aClosedDescriptorIsAnErrorAndNoSpin() throws {
    var loop = try EventLoop<Source>()
    loop.watch(1_000_000, as: .pipe)
    let error = #expect(throws: SystemError.self) { try loop.wait() }
    #expect(error?.errno.rawValue == EBADF)
  }

  @Test func signalsArriveAsEvents() throws {
    // SIGURG to this very thread: ignored by default, so it harms no other test.
    var loop = try EventLoop<Source>(signals: [SIGURG])
    #expect(pthread_kill(pthread_self(), SIGURG) == 0)
    #expect(try loop.wait() == [.signal(SIGURG)])
    loop.restoreSignals()
    var mask = sigset_t()
    pthread_sigmask(SIG_BLOCK, nil, &mask)
    #expect(sigismember(&mask, SIGURG) == 0)
  }
}
