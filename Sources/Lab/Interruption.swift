import Glibc
import Syscalls
import Synchronization

/// SIGINT and SIGTERM, noticed between two steps so that everything can be removed.
public enum Interruption {
  private static let received = Atomic<Int32>(0)

  /// The signal that came; nil = none.
  public static var signal: Int32? {
    let s = received.load(ordering: .relaxed)
    return s == 0 ? nil : s
  }

  /// Starts to notice the signals. A second signal ends the program at once.
  public static func watch() {
    received.store(0, ordering: .relaxed)
    for number in [SIGINT, SIGTERM] {
      _ = Glibc.signal(number) { s in
        Interruption.received.store(s, ordering: .relaxed)
        _ = Glibc.signal(s, SIG_DFL)
      }
    }
  }

  /// Forgets a signal, so that removing things is not interrupted by it.
  static func forget() { received.store(0, ordering: .relaxed) }

  /// - Throws: when a signal came.
  public static func check() throws(LabError) {
    guard let signal else { return }
    throw LabError("interrupted by signal \(signal)")
  }
}

/// Waits until `condition` holds, looking every 10 ms; false when `seconds` pass first.
func waitUntil(seconds: Double, _ condition: () throws -> Bool) throws -> Bool {
  let deadline = Clock.monotonic() + Int64(seconds * 1e9)
  while true {
    if try condition() { return true }
    guard Clock.monotonic() < deadline else { return false }
    try Interruption.check()
    Clock.sleep(nanoseconds: 10_000_000)
  }
}
