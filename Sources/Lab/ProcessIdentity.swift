import Glibc
import Syscalls

/// A process that cannot be mistaken for a later one of the same id: its id and start time (`/proc/PID/stat` field 22).
public struct ProcessIdentity: Hashable, Sendable {
  /// Process id.
  public let pid: pid_t
  /// Clock ticks since boot.
  public let startTime: UInt64

  /// The running process of that id; nil when there is none, or it has ended and is not yet waited for.
  public init?(running pid: pid_t) {
    guard pid > 0, let text = try? Files.text("/proc/\(pid)/stat", limit: 1 << 16),
      let (state, start) = Self.parse(stat: text), state != "Z", state != "X"
    else { return nil }
    self.pid = pid
    startTime = start
  }

  /// Reads a recorded identity, `PID START`; nil when the text is anything else.
  public init?(record: String) {
    let words = record.split(whereSeparator: { $0 == " " || $0 == "\n" })
    guard words.count == 2, let pid = pid_t(words[0]), pid > 0, let start = UInt64(words[1]) else { return nil }
    self.pid = pid
    startTime = start
  }

  /// The identity recorded in a file; nil when there is none.
  public init?(file: String) {
    guard let text = try? Files.text(file, limit: 256) else { return nil }
    self.init(record: text)
  }

  /// The text for a file.
  public var record: String { "\(pid) \(startTime)\n" }

  /// True while this very process runs.
  public var isRunning: Bool { ProcessIdentity(running: pid) == self }

  /// Sends a signal if it is this very process.
  public func signal(_ number: Int32) {
    if isRunning { _ = kill(pid, number) }
  }

  /// Ends the process: SIGTERM, and SIGKILL if it is still there after `grace` seconds. True when it is gone.
  func end(grace: Double) -> Bool {
    for (number, seconds) in [(SIGTERM, grace), (SIGKILL, 5.0)] where isRunning && seconds > 0 {
      signal(number)
      let deadline = Clock.monotonic() + Int64(seconds * 1e9)
      while isRunning, Clock.monotonic() < deadline {
        reap()
        Clock.sleep(nanoseconds: 2_000_000)
      }
    }
    reap()
    return !isRunning
  }

  /// Collects the process if it is a child of ours.
  private func reap() {
    var status: Int32 = 0
    _ = unsafe waitpid(pid, &status, WNOHANG)
  }

  /// State and start time from a line of `/proc/PID/stat`. The program's name may hold blanks and parentheses.
  static func parse(stat text: String) -> (state: Substring, start: UInt64)? {
    guard let close = text.lastIndex(of: ")") else { return nil }
    let fields = text[text.index(after: close)...].split(separator: " ")
    guard fields.count > 19, let start = UInt64(fields[19]) else { return nil }
    return (fields[0], start)
  }
}
