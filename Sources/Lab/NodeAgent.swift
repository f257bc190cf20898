import Glibc
import NetTypes
import Netlink
import Subnets
import Syscalls

/// The agent of one node: a process of its own, in the node's namespaces and in a session of its own.
struct NodeAgent {
  /// What became of the agent.
  enum State: Hashable, Sendable {
    case running(pid: Int32)
    /// It was stopped, or never started.
    case stopped
    /// It was started and is gone.
    case dead

    /// One word for tables and JSON.
    var word: String {
      switch self {
      case .running: "running"
      case .stopped: "stopped"
      case .dead: "dead"
      }
    }
    var isRunning: Bool { if case .running = self { true } else { false } }
  }

  /// The health server's port on each node.
  static let healthPort: UInt16 = 8081

  let lab: Lab
  let node: NodeDirectory

  /// What the recorded process is doing.
  var state: State {
    guard let process = ProcessIdentity(file: node.pidFile) else { return .stopped }
    return process.isRunning ? .running(pid: process.pid) : .dead
  }

  /// The words of the agent's command line.
  var arguments: [String] {
    [
      "agent", "--registry-dir", lab.directory.registry, "--iface", Underlay.nodeInterface, "--ip-masq",
      "--healthz-port", String(Self.healthPort), "--subnet-file", "/run/flannel/subnet.env",
    ]
  }

  /// Starts the process. It records itself before it becomes the agent, so that nothing is lost when we are killed.
  func start() throws {
    let log = try FileDescriptor.open(node.log, O_WRONLY | O_CREAT | O_APPEND, mode: 0o644)
    let words = lab.enterWords(node.name) + ["--pid-file", node.pidFile, "--", lab.program] + arguments
    let path = Environment.get("PATH") ?? "/usr/sbin:/usr/bin:/sbin:/bin"
    _ = try ChildProcess.start(
      lab.program, words, environment: ["PATH=\(path)", "NODE_NAME=\(node.name)"], stdout: log.number,
      stderr: log.number, newSession: true)
  }

  /// Waits until the agent says that it is ready, which it does after it wrote subnet.env.
  /// - Throws: with the end of the log when it ends or takes too long.
  func waitUntilReady(seconds: Double) throws {
    let begin = Clock.monotonic()
    let ready = try waitUntil(seconds: seconds) {
      switch state {
      case .running: return isReady()
      case .dead: throw failure("the agent of \(node.name) ended while starting")
      case .stopped:
        // Its own first act is to record itself.
        if Clock.monotonic() - begin > 5_000_000_000 { throw failure("the agent of \(node.name) did not start") }
        return false
      }
    }
    if !ready { throw failure("the agent of \(node.name) was not ready after \(Int(seconds)) s") }
  }

  /// Ends the process. True when it was running.
  func end(grace: Double) throws -> Bool {
    guard let process = ProcessIdentity(file: node.pidFile) else { return false }
    let ran = process.isRunning
    guard process.end(grace: grace) else {
      throw LabError("the agent of \(node.name) (pid \(process.pid)) does not end")
    }
    return ran
  }

  /// Asks the health server.
  func isReady() -> Bool {
    guard Files.exists(node.subnetFile),
      let namespace = try? NetworkNamespace(path: LabNames.path(lab.names.namespace(node: node.name)))
    else { return false }
    return (try? namespace.run { HealthProbe.isReady(port: Self.healthPort) }) ?? false
  }

  private func failure(_ what: String) -> LabError {
    let (reason, lines) = Self.explanation(log: node.logTail(200))
    let advice = lines.isEmpty ? "it has printed nothing" : "the end of its log:"
    return LabError(reason.map { "\(what): \($0)" } ?? what, advice: advice, details: lines)
  }

  /// Why an agent failed, by its log: the text of its last error, and at most five lines that end with it.
  static func explanation(log: [String]) -> (reason: String?, lines: [String]) {
    // Every start logs its flags, in one long line. What is above it belongs to an earlier start.
    let start = log.lastIndex { $0.contains("CLI flags config") }
    let own = start.map { log[($0 + 1)...] } ?? log[...]
    guard let error = own.lastIndex(where: { $0.hasPrefix("E") && $0.contains("] ") }),
      let mark = own[error].firstRange(of: "] ")
    else { return (nil, Array(own.suffix(5))) }
    return (String(own[error][mark.upperBound...]), Array(own[...error].suffix(5)))
  }
}

/// The question "are you ready?" to a health server on the calling thread's loopback address.
enum HealthProbe {
  static func isReady(port: UInt16) -> Bool {
    let fd = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard fd >= 0 else { return false }
    let connection = FileDescriptor(adopting: fd)
    var limit = timeval(tv_sec: 1, tv_usec: 0)
    for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
      _ = unsafe setsockopt(fd, SOL_SOCKET, option, &limit, socklen_t(MemoryLayout<timeval>.size))
    }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    let rc = unsafe withUnsafePointer(to: &address) {
      unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        unsafe connect(fd, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    guard rc == 0 else { return false }
    let request = "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    let bytes = Array(request.utf8)
    let sent = unsafe bytes.withUnsafeBytes { unsafe send(fd, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
    guard sent == bytes.count else { return false }
    var buffer = [UInt8](repeating: 0, count: 64)
    guard let n = try? connection.read(into: &buffer) else { return false }
    return String(decoding: buffer.prefix(n), as: UTF8.self).hasPrefix("HTTP/1.1 200")
  }
}
