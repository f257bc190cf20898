import Syscalls

/// A request the kernel refused, or a socket that failed.
public struct NetlinkError: Error, Hashable, Sendable, CustomStringConvertible {
  /// What was tried, e.g. `create link`.
  public var operation: String
  /// What it was tried on, e.g. `flannel.1`; may be empty.
  public var object: String
  /// The kernel's answer.
  public var errno: Errno
  /// The kernel's own explanation, when it gave one.
  public var message: String?

  /// Every field as given.
  public init(operation: String, object: String, errno: Errno, message: String? = nil) {
    self.operation = operation
    self.object = object
    self.errno = errno
    self.message = message
  }

  /// The same failure, told as one of netlink.
  public init(_ error: SystemError) {
    self.init(operation: error.operation, object: error.object, errno: error.errno)
  }

  /// `create link flannel.1: file exists (kernel: …)`
  public var description: String {
    let what = object.isEmpty ? operation : "\(operation) \(object)"
    guard let message else { return "\(what): \(errno)" }
    return "\(what): \(errno) (kernel: \(message))"
  }
}
