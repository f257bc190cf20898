import Glibc
import NetTypes
import Syscalls

/// The lease files of an open directory. Files are opened relative to the directory and read through one buffer: a
/// watcher reads thousands of them.
struct LeaseFiles: ~Copyable {
  /// A lease lives this long after the file's modification time, in nanoseconds: 24 h (contract flanneld §7.1).
  static let timeToLive: Int64 = 24 * 3600 * 1_000_000_000
  /// A lease value is a few hundred bytes; a larger file is not one.
  private static let sizeLimit = 1 << 16

  private let path: String
  private let directory: FileDescriptor
  private var buffer = [UInt8](repeating: 0, count: sizeLimit)

  init(path: String) throws(SystemError) {
    self.path = path
    directory = try FileDescriptor.open(path, O_RDONLY | O_DIRECTORY)
  }

  /// A file whose name is a key.
  struct Entry {
    var name: String
    /// What the name says, host bits cleared: in use whatever the content.
    var key: LeaseKey
    /// nil = a reservation.
    var expiration: Int64?
    /// Permission bits.
    var mode: mode_t
    var attributes: Result<LeaseAttributes, LeaseValueError>

    var lease: Lease? {
      guard case .success(let attributes) = attributes else { return nil }
      return Lease(subnets: key.subnets, attributes: attributes, expiration: expiration)
    }
    func isExpired(at now: Int64) -> Bool { expiration.map { $0 < now } ?? false }
  }

  /// Names in the directory, unsorted.
  func names() throws(SystemError) -> [String] { try Files.list(path) }

  /// Reads one file; nil when it does not exist. A file that is there but cannot be read or understood is an entry
  /// without attributes; what may pass (too many open files, a failing disk) is thrown.
  /// - Parameter key: the parsed name.
  mutating func read(_ name: String, _ key: LeaseKey) throws(SystemError) -> Entry? {
    let canonical = key.canonical
    var entry = Entry(name: name, key: canonical, expiration: nil, mode: 0, attributes: .failure(.notRegular))
    do {
      // Never follow a link out of the registry, never wait for a FIFO's writer.
      let file = try open(name)
      let status = try file.status()
      guard status.isRegular else { return entry }
      entry.mode = status.permissions
      if status.permissions & 0o200 != 0 {
        let (end, overflow) = status.modified.addingReportingOverflow(Self.timeToLive)
        entry.expiration = overflow ? .max : end
      }
      entry.attributes = try content(of: file, size: status.size)
    } catch {
      switch error.errno {
      case .noEntry: return nil
      case Errno(rawValue: ELOOP), Errno(rawValue: ENXIO): return entry
      case .accessDenied, .notPermitted:
        entry.attributes = .failure(LeaseValueError(reason: error.errno.description))
        return entry
      default: throw SystemError(error.operation, "\(path)/\(name)", error.errno)
      }
    }
    if case .success = entry.attributes, !key.isSpelled(name) {
      entry.attributes = .failure(LeaseValueError(reason: "agents write this name as \(canonical); rename the file"))
    }
    return entry
  }

  private func open(_ name: String) throws(SystemError) -> FileDescriptor {
    let flags = O_RDONLY | O_NONBLOCK | O_NOFOLLOW
    do {
      // Reading thousands of files must not mean writing thousands of access times.
      return try FileDescriptor.openat(directory.number, name, flags | Self.noAccessTime)
    } catch  where error.errno == .notPermitted {
      return try FileDescriptor.openat(directory.number, name, flags)
    }
  }

  /// `O_NOATIME`, which only the owner of a file may use.
  private static let noAccessTime: Int32 = 0o1000000

  private mutating func content(
    of file: borrowing FileDescriptor, size: Int64
  ) throws(SystemError) -> Result<LeaseAttributes, LeaseValueError> {
    guard size < Self.sizeLimit else {
      return .failure(LeaseValueError(reason: "\(size) bytes are too many for a lease"))
    }
    // One read gets a whole small file: writers replace files, they do not change them.
    let count = min(try file.read(into: &buffer), buffer.count)
    do {
      return .success(try LeaseAttributes.parse(buffer.span.extracting(0..<count)))
    } catch {
      return .failure(error)
    }
  }
}

extension LeaseValueError {
  static var notRegular: LeaseValueError { LeaseValueError(reason: "it is not a regular file") }
}
