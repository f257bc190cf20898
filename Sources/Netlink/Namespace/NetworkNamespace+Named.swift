import CLinux
import Glibc
import Syscalls

extension NetworkNamespace {
  /// The directory `ip netns` looks into.
  private static let standardDirectories: Set<String> = ["/run/netns", "/var/run/netns"]

  /// Makes a namespace and mounts it at `path`, as `ip netns add` does; missing directories are made. The loopback
  /// interface is left down.
  /// - Throws: `EEXIST` when there is such a file.
  public static func create(path: String) throws(SystemError) {
    let directory = Files.split(path).directory
    try Files.makeDirectory(directory)
    if standardDirectories.contains(directory) { try shareMounts(below: directory) }
    // Closed at once: it is only the place to mount on.
    _ = try FileDescriptor.open(path, O_RDONLY | O_CREAT | O_EXCL, mode: 0)
    do {
      try onThrowAwayThread { () throws(SystemError) in
        try retrying("make network namespace", path) { clinux_unshare(Int32(CLINUX_CLONE_NEWNET)) }
        try Mounts.bind("/proc/thread-self/ns/net", to: path)
      }
    } catch {
      _ = try? Files.remove(path)
      throw error
    }
  }

  /// Unmounts and removes what `create` made. The namespace itself lives on while something uses it. A path that does
  /// not exist is no error.
  /// - Throws: `EINVAL` when there is something else at the path.
  public static func remove(path: String) throws(SystemError) {
    do throws(SystemError) {
      let file = try FileDescriptor.open(path, O_RDONLY)
      if try !isNetworkNamespace(file.number) {
        // An empty file is what is left when `create` was killed before the mount.
        let status = try file.status(object: path)
        guard status.isRegular, status.size == 0 else {
          throw SystemError("remove network namespace", path, .invalid)
        }
      }
    } catch  where error.errno == .noEntry {
      return
    }
    do {
      try Mounts.detach(path)
    } catch  where error.errno == .invalid || error.errno == .noEntry {
      // Not mounted, or gone in the meantime.
    }
    try Files.remove(path)
  }

  /// Makes mounts below the directory visible in other mount namespaces, and unmounts too: otherwise a namespace would
  /// stay busy in a container that once saw it.
  private static func shareMounts(below directory: String) throws(SystemError) {
    let handle = try FileDescriptor.open(directory, O_RDONLY | O_DIRECTORY)
    // Two programs must not both find that it is no mount point yet.
    try handle.lock(object: directory)
    do {
      try Mounts.share(directory)
    } catch  where error.errno == .invalid {
      try Mounts.bind(directory, to: directory)
      try Mounts.share(directory)
    }
  }
}
