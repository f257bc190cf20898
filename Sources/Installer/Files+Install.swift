import Glibc
import Syscalls

extension Files {
  /// Makes `path` a hard link to `file`, in the place of whatever file is there.
  static func linkAtomically(_ file: String, at path: String) throws(SystemError) {
    let (directory, name) = split(path)
    let temporary = "\(directory)/.\(name).tmp\(getpid())-\(String(UInt32.random(in: 0 ... .max), radix: 16))"
    try retrying("link", temporary) { unsafe link(file, temporary) }
    // Renaming does nothing when both are the same file already, so the temporary name has to go in any case.
    defer { _ = unsafe unlink(temporary) }
    try retrying("rename", path) { unsafe rename(temporary, path) }
    try syncDirectory(directory)
  }
}

/// Keeps installations into one directory apart.
enum DirectoryLock {
  /// Runs `body` while no other installation is at work in the directory; waits for one that is.
  static func holding(_ directory: String, _ body: () throws -> Void) throws {
    let file = try FileDescriptor.open(directory, O_RDONLY | O_DIRECTORY)
    try file.lock(object: directory)
    try body()
    // The lock is that of the open file, which must not be closed before.
    _ = file.number
  }
}

/// Temporary files of installations that were killed. Whoever holds the lock of the directory may remove them.
struct Leftovers {
  /// Their paths.
  let paths: [String]

  /// Looks for those of some files; none in a directory that is not there.
  init(_ directory: String, of names: [String]) {
    let all = (try? Files.list(directory)) ?? []
    paths = all.filter { file in names.contains { file.utf8.starts(with: ".\($0).tmp".utf8) } }.sorted().map {
      "\(directory)/\($0)"
    }
  }

  func remove() throws(SystemError) { for path in paths { try Files.remove(path) } }
}
