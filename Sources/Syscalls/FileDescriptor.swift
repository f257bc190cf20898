import CLinux
import Glibc

/// An open file descriptor, closed when it goes out of scope.
public struct FileDescriptor: ~Copyable, Sendable {
  /// The number; valid as long as this value lives.
  public let number: Int32
  /// Takes over an open descriptor.
  public init(adopting number: Int32) { self.number = number }
  deinit { close(number) }

  /// Opens a file; `O_CLOEXEC` is always added.
  public static func open(_ path: String, _ flags: Int32, mode: mode_t = 0) throws(SystemError) -> FileDescriptor {
    try openat(AT_FDCWD, path, flags, mode: mode)
  }

  /// Opens a file relative to a directory.
  public static func openat(
    _ directory: Int32, _ path: String, _ flags: Int32, mode: mode_t = 0
  ) throws(SystemError) -> FileDescriptor {
    try refuseNUL("open", path)
    while true {
      let fd = unsafe Glibc.openat(directory, path, flags | O_CLOEXEC, mode)
      if fd >= 0 { return FileDescriptor(adopting: fd) }
      if Errno.current != .interrupted { throw SystemError("open", path) }
    }
  }

  /// Gives up ownership: the caller closes the number.
  public consuming func release() -> Int32 {
    let n = number
    discard self
    return n
  }

  /// Reads at most `buffer.count` bytes; 0 at end of file.
  public func read(into buffer: inout [UInt8], object: String = "") throws(SystemError) -> Int {
    let fd = number
    return Int(
      try retrying("read", object) {
        unsafe buffer.withUnsafeMutableBytes { unsafe Glibc.read(fd, $0.baseAddress, $0.count) }
      })
  }

  /// Reads to the end of the file. More than `limit` bytes is `EFBIG`.
  public func readAll(limit: Int, object: String = "") throws(SystemError) -> [UInt8] {
    var out: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 4096)
    while true {
      let n = try read(into: &chunk, object: object)
      if n == 0 { return out }
      guard out.count + n <= limit else { throw SystemError("read", object, .tooLarge) }
      out.append(contentsOf: chunk[..<n])
      if n == chunk.count, chunk.count < 1 << 18 { chunk = [UInt8](repeating: 0, count: chunk.count * 4) }
    }
  }

  /// Writes all bytes.
  public func write(_ bytes: some Collection<UInt8>, object: String = "") throws(SystemError) {
    let all = Array(bytes)
    var done = 0
    let fd = number
    while done < all.count {
      let rest = all[done...]
      done += Int(
        try retrying("write", object) {
          unsafe rest.withUnsafeBytes { unsafe Glibc.write(fd, $0.baseAddress, $0.count) }
        })
    }
  }

  /// Flushes file data to the disk.
  public func sync(object: String = "") throws(SystemError) { try retrying("fsync", object) { fsync(number) } }

  /// Takes (and waits for) an exclusive `flock`, released when the descriptor is closed.
  public func lock(object: String = "") throws(SystemError) { try retrying("flock", object) { flock(number, LOCK_EX) } }

  /// Takes an exclusive `flock` if nobody holds one; false when somebody does.
  public func tryLock(object: String = "") throws(SystemError) -> Bool {
    do {
      try retrying("flock", object) { flock(number, LOCK_EX | LOCK_NB) }
      return true
    } catch  where error.errno == .wouldBlock {
      return false
    }
  }

  /// Metadata of the open file.
  public func status(object: String = "") throws(SystemError) -> FileStatus {
    var s = stat()
    try retrying("stat", object) { unsafe fstat(number, &s) }
    return FileStatus(s)
  }

}

/// A pipe, both ends close-on-exec.
public struct Pipe: ~Copyable, Sendable {
  /// The end that data comes out of; at end of file when every `write` end is closed.
  public let read: FileDescriptor
  /// The end that data is put into.
  public let write: FileDescriptor

  /// Opens both ends, blocking. Fails when the process or the system has too many descriptors.
  public init() throws(SystemError) {
    var fds: [Int32] = [-1, -1]
    try retrying("pipe") { unsafe clinux_pipe2(&fds, O_CLOEXEC) }
    read = FileDescriptor(adopting: fds[0])
    write = FileDescriptor(adopting: fds[1])
  }
}

/// The part of `stat` that we use.
public struct FileStatus: Hashable, Sendable {
  /// File type and permission bits.
  public var mode: mode_t
  /// Number of the file system (`st_dev`); with `inode` it identifies the file.
  public var device: UInt64
  /// Number of the file in its file system.
  public var inode: UInt64
  /// Bytes.
  public var size: Int64
  /// Modification time, nanoseconds since the epoch.
  public var modified: Int64
  /// User id.
  public var owner: uid_t

  init(_ s: stat) {
    mode = s.st_mode
    device = UInt64(s.st_dev)
    inode = UInt64(s.st_ino)
    size = Int64(s.st_size)
    // A time set by hand may lie beyond the year 2262.
    let (nanoseconds, overflow) = Int64(s.st_mtim.tv_sec).multipliedReportingOverflow(by: 1_000_000_000)
    modified = overflow ? (s.st_mtim.tv_sec < 0 ? .min : .max - 999_999_999) : nanoseconds &+ Int64(s.st_mtim.tv_nsec)
    owner = s.st_uid
  }

  /// False for a link to a directory, if the link itself was asked for.
  public var isDirectory: Bool { mode & S_IFMT == S_IFDIR }
  /// False for devices, sockets and pipes too.
  public var isRegular: Bool { mode & S_IFMT == S_IFREG }
  /// Permission bits, 0…0o7777.
  public var permissions: mode_t { mode & 0o7777 }
}
