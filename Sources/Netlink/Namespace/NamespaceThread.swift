import Glibc
import Syscalls

/// Runs `body` on a new thread and waits for its end. Whatever the thread changes about itself (namespaces) ends with
/// it. Never a thread of a pool: those would carry the change on to other work.
func onThrowAwayThread<R: Sendable>(
  _ body: @escaping @Sendable () throws(SystemError) -> R
) throws(SystemError) -> R {
  let outcome = Outcome<R>()
  // A C function cannot capture a generic parameter, so the thread gets a box that hides it.
  let work = ThreadBody {
    do throws(SystemError) {
      outcome.result = .success(try body())
    } catch {
      outcome.result = .failure(error)
    }
  }
  var thread = pthread_t()
  let argument = unsafe Unmanaged.passRetained(work)
  let code = unsafe pthread_create(
    &thread, nil,
    { argument in
      if let argument = unsafe argument { unsafe Unmanaged<ThreadBody>.fromOpaque(argument).takeRetainedValue().run() }
      return nil
    }, argument.toOpaque())
  guard code == 0 else {
    unsafe argument.release()
    throw SystemError("start thread", "", Errno(rawValue: code))
  }
  pthread_join(thread, nil)
  guard let result = outcome.result else { throw SystemError("run thread", "", .invalid) }
  return try result.get()
}

/// Written by the thread, read after it was joined.
private final class Outcome<R>: @unchecked Sendable {
  var result: Result<R, SystemError>?
}

private final class ThreadBody: Sendable {
  let run: @Sendable () -> Void
  init(_ run: @escaping @Sendable () -> Void) { self.run = run }
}
