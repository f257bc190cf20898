import Glibc
import Syscalls
import TestSupport

/// The built program running in a namespace of its own, with everything it prints in a file.
final class AgentProcess {
  struct TimedOut: Error, CustomStringConvertible { let description: String }

  private let child: ChildProcess
  private let logPath: String
  private var exit: ChildProcess.Exit?

  /// Starts `weft` (or another name for it) inside the namespace.
  init(
    _ arguments: [String], in namespace: TestNamespace, directory: TemporaryDirectory, program: String? = nil,
    environment: [String] = []
  ) throws {
    logPath = directory.file("log-\(UInt32.random(in: 0 ... .max))")
    let log = try FileDescriptor.open(logPath, O_WRONLY | O_CREAT | O_APPEND, mode: 0o600)
    let path = try program ?? builtProduct("weft")
    child = try ChildProcess.start(
      "/usr/bin/nsenter", ["--net=\(namespace.path)", path] + arguments,
      environment: Environment.all.filter { !$0.hasPrefix("FLANNELD_") } + environment, stdout: log.number,
      stderr: log.number)
  }

  deinit {
    guard exit == nil else { return }
    child.signal(SIGKILL)
    _ = try? child.wait()
  }

  var log: String { (try? Files.text(logPath)) ?? "" }

  func signal(_ number: Int32) { child.signal(number) }

  /// Waits until the log contains a text.
  func waitFor(_ text: String, seconds: Int64 = 30) throws {
    try wait(seconds, "for \"\(text)\"") { self.log.contains(text) }
  }

  /// Waits for the end of the process.
  func waitForExit(seconds: Int64 = 30) throws -> ChildProcess.Exit {
    try wait(seconds, "for the end") {
      if self.exit == nil { self.exit = try self.child.poll() }
      return self.exit != nil
    }
    return exit ?? .status(-1)
  }

  private func wait(_ seconds: Int64, _ what: String, _ condition: () throws -> Bool) throws {
    let end = Clock.monotonic() + seconds * 1_000_000_000
    while try !condition() {
      guard Clock.monotonic() < end else { throw TimedOut(description: "waited \(seconds) s \(what); log:\n\(log)") }
      Clock.sleep(nanoseconds: 5_000_000)
    }
  }
}
