import CLinux
import Glibc

/// A started program. It is not waited for automatically.
public struct ChildProcess: Sendable {
  /// Process id.
  public let pid: pid_t

  /// How a program ended.
  public enum Exit: Hashable, Sendable, CustomStringConvertible {
    case status(Int32)
    case signal(Int32)

    /// True for status 0; a signal is never a success.
    public var isSuccess: Bool { self == .status(0) }
    /// `exit status 1` or `signal 9`, as Go prints it.
    public var description: String {
      switch self {
      case .status(let s): "exit status \(s)"
      case .signal(let s): "signal \(s)"
      }
    }
  }

  /// What a finished program left.
  public struct Output: Sendable {
    /// How the program ended.
    public var exit: Exit
    /// Everything written to standard output.
    public var stdout: [UInt8]
    /// Everything written to standard error.
    public var stderr: [UInt8]

    /// Also for stand-ins that run no program.
    public init(exit: Exit, stdout: [UInt8], stderr: [UInt8]) {
      self.exit = exit
      self.stdout = stdout
      self.stderr = stderr
    }

    /// Standard output as text.
    public var text: String { String(decoding: stdout, as: UTF8.self) }
    /// Standard error as text.
    public var errorText: String { String(decoding: stderr, as: UTF8.self) }
  }

  /// Starts a program by path, without a shell. `nil` descriptors become `/dev/null`.
  public static func start(
    _ path: String, _ arguments: [String], environment: [String]? = nil, stdin: Int32? = nil, stdout: Int32? = nil,
    stderr: Int32? = nil, newSession: Bool = false
  ) throws(SystemError) -> ChildProcess {
    let null = try FileDescriptor.open("/dev/null", O_RDWR)
    var pid: pid_t = 0
    let rc = unsafe withCStrings([path] + arguments) { argv in
      unsafe withCStrings(environment ?? Environment.all) { envp in
        unsafe clinux_spawn_in_group(
          &pid, path, argv, envp, stdin ?? null.number, stdout ?? null.number, stderr ?? null.number,
          newSession ? 1 : 0)
      }
    }
    guard rc == 0 else { throw SystemError("exec", path, Errno(rawValue: rc)) }
    return ChildProcess(pid: pid)
  }

  /// Runs a program to its end, feeding `input` and collecting both outputs (each at most `limit` bytes).
  public static func run(
    _ path: String, _ arguments: [String] = [], environment: [String]? = nil, input: [UInt8] = [],
    limit: Int = 64 << 20
  ) throws(SystemError) -> Output {
    let inPipe = try Pipe()
    let outPipe = try Pipe()
    let errPipe = try Pipe()
    let child = try start(
      path, arguments, environment: environment, stdin: inPipe.read.number, stdout: outPipe.write.number,
      stderr: errPipe.write.number)
    var out: [UInt8] = []
    var err: [UInt8] = []
    var pending = input[...]
    var inFD = inPipe.write.release()
    var outFD = outPipe.read.release()
    var errFD = errPipe.read.release()
    closeNow(inPipe.read)
    closeNow(outPipe.write)
    closeNow(errPipe.write)
    func shut(_ fd: inout Int32) {
      if fd >= 0 { close(fd) }
      fd = -1
    }
    defer {
      shut(&inFD)
      shut(&outFD)
      shut(&errFD)
    }
    if pending.isEmpty { shut(&inFD) }
    _ = fcntl(inFD, F_SETFL, O_NONBLOCK)
    var buffer = [UInt8](repeating: 0, count: 65536)
    func drain(_ fd: inout Int32, _ into: inout [UInt8], _ p: pollfd) throws(SystemError) {
      guard fd >= 0, p.revents != 0 else { return }
      let f = fd
      let n = unsafe buffer.withUnsafeMutableBytes { unsafe Glibc.read(f, $0.baseAddress, $0.count) }
      if n < 0, Errno.current == .interrupted { return }
      guard n > 0 else { return shut(&fd) }
      guard into.count + n <= limit else {
        child.signal(SIGKILL)
        _ = try child.wait()
        throw SystemError("read output of", path, .tooLarge)
      }
      into.append(contentsOf: buffer[..<n])
    }
    while inFD >= 0 || outFD >= 0 || errFD >= 0 {
      var set = [
        pollfd(fd: inFD, events: Int16(POLLOUT), revents: 0), pollfd(fd: outFD, events: Int16(POLLIN), revents: 0),
        pollfd(fd: errFD, events: Int16(POLLIN), revents: 0),
      ]
      try retrying("poll") { unsafe Glibc.poll(&set, 3, -1) }
      if inFD >= 0, set[0].revents != 0 {
        let f = inFD
        let n = SignalMask.ignoringPipe {
          unsafe pending.withUnsafeBytes { unsafe Glibc.write(f, $0.baseAddress, $0.count) }
        }
        if n > 0 { pending = pending.dropFirst(n) }
        if pending.isEmpty || (n < 0 && Errno.current != .wouldBlock && Errno.current != .interrupted) { shut(&inFD) }
      }
      try drain(&outFD, &out, set[1])
      try drain(&errFD, &err, set[2])
    }
    return Output(exit: try child.wait(), stdout: out, stderr: err)
  }

  /// Sends a signal; a process that is gone is no error.
  public func signal(_ number: Int32) { _ = kill(pid, number) }

  /// Waits for the end.
  public func wait() throws(SystemError) -> Exit {
    var status: Int32 = 0
    try retrying("wait") { unsafe waitpid(pid, &status, 0) }
    return Self.decode(status)
  }

  /// The exit if it has ended, nil while it runs.
  public func poll() throws(SystemError) -> Exit? {
    var status: Int32 = 0
    let r = try retrying("wait") { unsafe waitpid(pid, &status, WNOHANG) }
    return r == 0 ? nil : Self.decode(status)
  }

  private static func decode(_ status: Int32) -> Exit {
    status & 0x7f == 0 ? .status(status >> 8 & 0xff) : .signal(status & 0x7f)
  }

  /// Replaces this process by a program; returns only on failure.
  public static func exec(_ path: String, _ arguments: [String], environment: [String]? = nil) -> SystemError {
    unsafe withCStrings([path] + arguments) { argv in
      unsafe withCStrings(environment ?? Environment.all) { envp in
        _ = unsafe execve(path, argv, envp)
      }
    }
    return SystemError("exec", path)
  }
}

/// Closes a descriptor at once.
private func closeNow(_ fd: consuming FileDescriptor) {}

/// Calls `body` with a null-terminated array of C strings.
func withCStrings<R>(_ strings: [String], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> R) -> R {
  let array = UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>.allocate(capacity: strings.count + 1)
  for (i, s) in strings.enumerated() { unsafe (array + i).initialize(to: strdup(s)) }
  unsafe (array + strings.count).initialize(to: nil)
  defer {
    for i in strings.indices { unsafe free(array[i]) }
    unsafe array.deallocate()
  }
  return unsafe body(array)
}

/// Signal dispositions of the process.
public enum SignalMask {
  /// Runs `body` with SIGPIPE ignored, so that writing to a closed pipe is `EPIPE`.
  static func ignoringPipe<R>(_ body: () -> R) -> R {
    let old = signal(SIGPIPE, SIG_IGN)
    let r = body()
    let e = Glibc.errno
    _ = signal(SIGPIPE, old)
    Glibc.errno = e
    return r
  }
}
