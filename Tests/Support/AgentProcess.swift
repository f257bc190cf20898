import Glibc
import Syscalls
import Testing

/// An agent running in a test's namespace; killed when it goes out of scope.
public final class AgentProcess {
  /// What it wrote to standard error.
  public let logPath: String
  /// Its subnet.env.
  public let subnetFile: String
  private let arguments: [String]
  private let environment: [String]?
  private var child: ChildProcess?

  /// Starts `weft agent` with `--iface eth0` in a namespace. Files go to `directory`, named after `name`.
  /// - Parameters:
  ///   - rules: leave the packet filter rules on; without it the agent programs none unless `flags` ask for them.
  ///   - path: `PATH` of the agent; nil = the test's environment.
  ///   - registry: the directory registry; nil = `flags` name another one.
  ///   - variables: added to the environment, as `NAME=VALUE`.
  public init(
    in namespace: TestNamespace, registry: String?, directory: String, name: String, flags: [String] = [],
    rules: Bool = false, path: String? = nil, variables: [String] = []
  ) throws {
    environment = path.map { ["PATH=\($0)"] + variables } ?? (variables.isEmpty ? nil : Environment.all + variables)
    logPath = "\(directory)/\(name).log"
    subnetFile = "\(directory)/\(name)/subnet.env"
    arguments =
      [
        "--net=\(namespace.path)", try builtProduct("weft"), "agent", "--iface", "eth0", "--subnet-file", subnetFile,
      ] + (registry.map { ["--registry-dir", $0] } ?? []) + (rules ? [] : ["--iptables-forward-rules=false"]) + flags
    try start()
  }

  deinit { child?.signal(SIGKILL); _ = try? child?.wait() }

  /// Starts it again after `stop`.
  public func start() throws {
    let log = try FileDescriptor.open(logPath, O_WRONLY | O_CREAT | O_APPEND, mode: 0o644)
    child = try ChildProcess.start("/usr/bin/nsenter", arguments, environment: environment, stderr: log.number)
  }

  /// Sends a signal and waits for the end.
  @discardableResult
  public func stop(_ signal: Int32 = SIGTERM) throws -> ChildProcess.Exit {
    guard let running = child else { return .status(0) }
    running.signal(signal)
    child = nil
    return try running.wait()
  }

  /// Waits for the end without a signal; killed when it does not come.
  public func wait(seconds: Double = 60) throws -> ChildProcess.Exit {
    guard let running = child else { return .status(0) }
    child = nil
    let end = Clock.monotonic() + Int64(seconds * 1e9)
    while Clock.monotonic() < end {
      if let exit = try running.poll() { return exit }
      Clock.sleep(nanoseconds: 2_000_000)
    }
    running.signal(SIGKILL)
    return try running.wait()
  }

  /// Process id while it runs.
  public var pid: pid_t? { child?.pid }
  /// The log so far.
  public var log: String { (try? Files.text(logPath)) ?? "" }
}

/// Waits until a condition holds; fails the test when it does not within the time.
public func eventually(
  _ what: @autoclosure () throws -> String, within seconds: Double = 10,
  sourceLocation: SourceLocation = #_sourceLocation, _ condition: () throws -> Bool
) throws {
  let end = Clock.monotonic() + Int64(seconds * 1e9)
  while !(try condition()) {
    guard Clock.monotonic() < end else {
      Issue.record("\(try what()): not within \(seconds) s", sourceLocation: sourceLocation)
      return
    }
    Clock.sleep(nanoseconds: 2_000_000)
  }
}
