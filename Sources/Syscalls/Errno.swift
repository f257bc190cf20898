import CLinux
import Glibc

/// A system error number.
public struct Errno: RawRepresentable, Error, Hashable, Sendable {
  /// The positive `errno` value.
  public let rawValue: Int32
  /// Takes any `errno` value, also one that has no name here.
  public init(rawValue: Int32) { self.rawValue = rawValue }

  /// The calling thread's `errno`.
  public static var current: Errno { Errno(rawValue: Glibc.errno) }

  /// `ENOENT`: no such file, or no such kernel object.
  public static let noEntry = Errno(rawValue: ENOENT)
  /// `EEXIST`: it is there already.
  public static let exists = Errno(rawValue: EEXIST)
  /// `EINTR`: a signal came in between.
  public static let interrupted = Errno(rawValue: EINTR)
  /// `EAGAIN`: nothing to be read yet, or somebody else holds the lock.
  public static let wouldBlock = Errno(rawValue: EAGAIN)
  /// `EINVAL`: the kernel does not accept an argument.
  public static let invalid = Errno(rawValue: EINVAL)
  /// `ENODEV`: no such interface.
  public static let noDevice = Errno(rawValue: ENODEV)
  /// `ESRCH`: no such process; for netlink, no such route.
  public static let noProcess = Errno(rawValue: ESRCH)
  /// `ENOBUFS`: a netlink socket has overrun and messages are lost.
  public static let noBuffers = Errno(rawValue: ENOBUFS)
  /// `EOPNOTSUPP`: the kernel or the file system cannot do this.
  public static let notSupported = Errno(rawValue: EOPNOTSUPP)
  /// `EADDRNOTAVAIL`: the interface or the host does not have the address.
  public static let noAddress = Errno(rawValue: EADDRNOTAVAIL)
  /// `EACCES`: the permissions of a file or directory forbid it.
  public static let accessDenied = Errno(rawValue: EACCES)
  /// `EPERM`: a privilege is missing, or the file is somebody else's.
  public static let notPermitted = Errno(rawValue: EPERM)
  /// `EBUSY`: in use.
  public static let busy = Errno(rawValue: EBUSY)
  /// `ENOSPC`: the disk is full or a kernel limit is reached.
  public static let noSpace = Errno(rawValue: ENOSPC)
  /// `ENOTDIR`: a part of the path is no directory.
  public static let notDirectory = Errno(rawValue: ENOTDIR)
  /// `ETXTBSY`: the program's file is being written.
  public static let textBusy = Errno(rawValue: ETXTBSY)
  /// `EISDIR`: a directory where a file is wanted.
  public static let isDirectory = Errno(rawValue: EISDIR)
  /// `EFBIG`: larger than the reader's limit.
  public static let tooLarge = Errno(rawValue: EFBIG)
}

extension Errno: CustomStringConvertible {
  /// The C library's text with a lower-case first letter ("no such file or directory"), as the Go programs print it.
  public var description: String {
    guard let p = unsafe strerror(rawValue) else { return "error \(rawValue)" }
    let text = unsafe String(cString: p)
    return text.prefix(1).lowercased() + text.dropFirst()
  }
}

/// A failed system call: what was tried, on what, and the kernel's answer.
public struct SystemError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The call or step, e.g. `open`.
  public var operation: String
  /// The path, interface or other thing it was tried on; may be empty.
  public var object: String
  /// The kernel's answer.
  public var errno: Errno

  /// Right after a failed call, `errno` may be left out: it is then the calling thread's.
  public init(_ operation: String, _ object: String = "", _ errno: Errno = .current) {
    self.operation = operation
    self.object = object
    self.errno = errno
  }

  /// `open /run/x: no such file or directory`
  public var description: String { object.isEmpty ? "\(operation): \(errno)" : "\(operation) \(object): \(errno)" }
}

/// Refuses a path with a NUL byte, at which the kernel would end it: another file would be meant.
/// - Throws: `EINVAL`.
func refuseNUL(_ operation: String, _ path: String) throws(SystemError) {
  if path.utf8.contains(0) { throw SystemError(operation, path, .invalid) }
}

/// Runs a system call again while it is interrupted; -1 becomes a `SystemError`.
@discardableResult
public func retrying<R: SignedInteger & FixedWidthInteger>(
  _ operation: @autoclosure () -> String, _ object: @autoclosure () -> String = "", _ call: () -> R
) throws(SystemError) -> R {
  while true {
    let r = call()
    if r != -1 { return r }
    let e = Errno.current
    if e != .interrupted { throw SystemError(operation(), object(), e) }
  }
}
