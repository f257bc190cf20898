import Glibc
import Syscalls

/// Keeps our own processes from changing rules of containers at the same time. Programs of others do not know it: what
/// they may do in between is handled where it shows.
struct RuleLock: ~Copyable {
  static let directory = "/run/cni"
  private let file: FileDescriptor

  /// Waits until it is free. It ends with the value, or with the process.
  init() throws(CNIError) {
    let path = "\(Self.directory)/weft-rules.lock"
    do throws(SystemError) {
      try Files.makeDirectory(Self.directory)
      let file = try FileDescriptor.open(path, O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, mode: 0o600)
      try file.lock(object: path)
      self.file = file
    } catch {
      throw .plain("cannot lock the rules of containers: \(error)", .ioFailure)
    }
  }
}
