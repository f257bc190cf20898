import CLinux
import Glibc

/// Signals as something to poll for. Create it before the first thread is started: threads inherit the mask, and a
/// signal that any thread does not block is delivered there with its default action.
public struct SignalDescriptor: ~Copyable {
  private let file: FileDescriptor
  private let signals: [Int32]

  /// Blocks the signals in the calling thread (and in threads it starts later) and opens a descriptor for them.
  public init(_ signals: [Int32]) throws(SystemError) {
    self.signals = signals
    var set = Self.set(signals)
    let rc = unsafe pthread_sigmask(SIG_BLOCK, &set, nil)
    guard rc == 0 else { throw SystemError("block signals", "", Errno(rawValue: rc)) }
    file = FileDescriptor(adopting: try retrying("signalfd") { unsafe clinux_signalfd(&set) })
  }

  /// Readable when a signal is pending.
  public var descriptor: Int32 { file.number }

  /// The next pending signal; nil when there is none.
  public func next() -> Int32? {
    var info = signalfd_siginfo()
    let size = MemoryLayout<signalfd_siginfo>.size
    let n = unsafe withUnsafeMutableBytes(of: &info) { unsafe read(file.number, $0.baseAddress, size) }
    return n == size ? Int32(bitPattern: info.ssi_signo) : nil
  }

  /// Gives the signals back their default action in the calling thread: the next one kills the process.
  public func restoreDefaults() {
    for number in signals { _ = signal(number, SIG_DFL) }
    var set = Self.set(signals)
    _ = unsafe pthread_sigmask(SIG_UNBLOCK, &set, nil)
  }

  private static func set(_ signals: [Int32]) -> sigset_t {
    var set = sigset_t()
    _ = unsafe sigemptyset(&set)
    for number in signals { _ = unsafe sigaddset(&set, number) }
    return set
  }
}
