import CLinux
import Glibc

/// Whole-file operations. Errors name the operation and the path.
public enum Files {
  /// The whole content; a file larger than `limit` bytes is an error. So is anything but a regular file, which includes
  /// those of `/proc`: a pipe would keep the reader waiting for ever.
  public static func read(_ path: String, limit: Int = 16 << 20) throws(SystemError) -> [UInt8] {
    let file = try FileDescriptor.open(path, O_RDONLY | O_NONBLOCK)
    let status = try file.status(object: path)
    if status.isDirectory { throw SystemError("read", path, .isDirectory) }
    guard status.isRegular else { throw SystemError("read (no regular file)", path, .invalid) }
    return try file.readAll(limit: limit, object: path)
  }

  /// The whole content as text (invalid UTF-8 is replaced).
  public static func text(_ path: String, limit: Int = 16 << 20) throws(SystemError) -> String {
    String(decoding: try read(path, limit: limit), as: UTF8.self)
  }

  /// Replaces `path` so that a reader sees the old or the new content and a crash leaves one of them: temporary file
  /// in the same directory, permissions, sync, rename, sync of the directory. The mode is exact, whatever the umask.
  /// - Parameters:
  ///   - exclusive: fail with `EEXIST` instead of replacing.
  ///   - durable: false leaves out both syncs, for directories that do not survive a reboot anyway.
  public static func writeAtomically(
    _ bytes: some Collection<UInt8>, to path: String, mode: mode_t, exclusive: Bool = false, durable: Bool = true
  ) throws(SystemError) {
    let (directory, name) = split(path)
    let temporary = "\(directory)/.\(name).tmp\(getpid())-\(String(UInt32.random(in: 0 ... .max), radix: 16))"
    let file = try FileDescriptor.open(temporary, O_WRONLY | O_CREAT | O_EXCL, mode: 0o600)
    do {
      try file.write(bytes, object: temporary)
      try retrying("chmod", temporary) { fchmod(file.number, mode) }
      if durable { try file.sync(object: temporary) }
      if exclusive {
        try retrying("create", path) { unsafe link(temporary, path) }
        try retrying("remove", temporary) { unsafe unlink(temporary) }
      } else {
        try retrying("rename", path) { unsafe rename(temporary, path) }
      }
    } catch {
      _ = unsafe unlink(temporary)
      throw error
    }
    if durable { try syncDirectory(directory) }
  }

  /// Makes a directory's entries durable.
  public static func syncDirectory(_ path: String) throws(SystemError) {
    try FileDescriptor.open(path, O_RDONLY | O_DIRECTORY).sync(object: path)
  }

  /// The path with all links followed; nil when it leads nowhere.
  public static func resolved(_ path: String) -> String? {
    guard let real = unsafe realpath(path, nil) else { return nil }
    defer { unsafe free(real) }
    return unsafe String(cString: real)
  }

  /// Creates a directory and its parents; present ones are left as they are.
  public static func makeDirectory(_ path: String, mode: mode_t = 0o755) throws(SystemError) {
    try refuseNUL("mkdir", path)
    if unsafe mkdir(path, mode) == 0 { return }
    let e = Errno.current
    if e == .exists, isDirectory(path) { return }
    let parent = split(path).directory
    guard e == .noEntry, parent != path, !path.isEmpty else { throw SystemError("mkdir", path, e) }
    try makeDirectory(parent, mode: mode)
    if unsafe mkdir(path, mode) != 0, Errno.current != .exists { throw SystemError("mkdir", path) }
  }

  /// Removes a file; false when it was not there.
  @discardableResult
  public static func remove(_ path: String) throws(SystemError) -> Bool {
    try refuseNUL("remove", path)
    if unsafe unlink(path) == 0 { return true }
    if Errno.current == .noEntry { return false }
    throw SystemError("remove", path)
  }

  /// Removes a file or a directory with everything in it, without following links or crossing mounts.
  public static func removeTree(_ path: String) throws(SystemError) {
    try refuseNUL("remove", path)
    guard let s = try? linkStatus(path) else { return }
    if s.isDirectory {
      for name in try list(path) { try removeTree("\(path)/\(name)") }
      if unsafe rmdir(path) != 0, Errno.current != .noEntry { throw SystemError("rmdir", path) }
    } else {
      try remove(path)
    }
  }

  /// Names in a directory, unsorted, without `.` and `..`.
  public static func list(_ path: String) throws(SystemError) -> [String] {
    try refuseNUL("open", path)
    guard let dir = unsafe opendir(path) else { throw SystemError("open", path) }
    defer { unsafe closedir(dir) }
    var out: [String] = []
    Glibc.errno = 0
    while let entry = unsafe readdir(dir) {
      let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) {
        unsafe $0.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
      }
      if name != ".", name != ".." { out.append(name) }
      Glibc.errno = 0
    }
    if Glibc.errno != 0 { throw SystemError("readdir", path) }
    return out
  }

  /// Metadata, following links.
  public static func status(_ path: String) throws(SystemError) -> FileStatus {
    try refuseNUL("stat", path)
    var s = stat()
    try retrying("stat", path) { unsafe stat(path, &s) }
    return FileStatus(s)
  }

  /// Metadata of the link itself.
  public static func linkStatus(_ path: String) throws(SystemError) -> FileStatus {
    try refuseNUL("stat", path)
    var s = stat()
    try retrying("stat", path) { unsafe lstat(path, &s) }
    return FileStatus(s)
  }

  /// True when there is something at the path, following links; false too when a directory on the way is closed to us.
  public static func exists(_ path: String) -> Bool {
    unsafe !path.utf8.contains(0) && access(path, F_OK) == 0
  }
  /// True for a regular file that this process may execute, following links.
  public static func isExecutable(_ path: String) -> Bool {
    unsafe !path.utf8.contains(0) && access(path, X_OK) == 0 && (try? status(path).isRegular) == true
  }
  /// True for a directory, following links; false too when the path cannot be looked at.
  public static func isDirectory(_ path: String) -> Bool { (try? status(path).isDirectory) == true }

  /// Directory and last component; the directory of a bare name is `.`.
  public static func split(_ path: String) -> (directory: String, name: String) {
    guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return (".", path) }
    let directory = slash == path.startIndex ? "/" : String(path[..<slash])
    return (directory, String(path[path.utf8.index(after: slash)...]))
  }
}
