import CLinux
import Glibc
import Syscalls

/// An open network namespace.
public struct NetworkNamespace: ~Copyable, Sendable {
  private let file: FileDescriptor

  /// The open file; valid as long as this value lives.
  public var descriptor: Int32 { file.number }

  /// Opens the namespace mounted at `path`.
  /// - Throws: `EINVAL` when the file is no network namespace.
  public init(path: String) throws(SystemError) {
    // Opening a named pipe must not wait for a writer.
    let opened = try FileDescriptor.open(path, O_RDONLY | O_NONBLOCK)
    guard try Self.isNetworkNamespace(opened.number) else {
      throw SystemError("open network namespace", path, .invalid)
    }
    file = opened
  }

  /// The calling thread's namespace.
  public static func current() throws(SystemError) -> NetworkNamespace {
    try NetworkNamespace(path: "/proc/thread-self/ns/net")
  }

  /// True when both are the same namespace, however they were opened.
  public func isSame(as other: borrowing NetworkNamespace) throws(SystemError) -> Bool {
    let a = try file.status()
    let b = try other.file.status()
    return a.device == b.device && a.inode == b.inode
  }

  /// Moves the calling thread into the namespace. Only for single-threaded programs: other threads stay where they
  /// are, and threads of a pool would take unrelated work with them.
  public func enter() throws(SystemError) {
    let fd = descriptor
    try retrying("enter network namespace") { clinux_setns(fd, Int32(CLINUX_CLONE_NEWNET)) }
  }

  /// Runs `body` inside the namespace, on a thread that ends with it. Sockets opened there stay in the namespace, so
  /// `body` is best used to open one and return its number.
  public func run<R: Sendable>(
    _ body: @escaping @Sendable () throws(SystemError) -> R
  ) throws(SystemError) -> R {
    let fd = descriptor
    return try onThrowAwayThread { () throws(SystemError) -> R in
      try retrying("enter network namespace") { clinux_setns(fd, Int32(CLINUX_CLONE_NEWNET)) }
      return try body()
    }
  }

  /// True for a file of nsfs whose kind is "network".
  static func isNetworkNamespace(_ fd: Int32) throws(SystemError) -> Bool {
    guard try Mounts.fileSystemType(of: fd) == Int64(CLINUX_NSFS_MAGIC) else { return false }
    return ioctl(fd, UInt(CLINUX_NS_GET_NSTYPE)) == Int32(CLINUX_CLONE_NEWNET)
  }
}
