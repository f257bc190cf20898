import CLinux
import Glibc

/// Mounts and file systems.
public enum Mounts {
  /// Makes the file or directory `source` appear at `target` (with the mounts below it).
  public static func bind(_ source: String, to target: String) throws(SystemError) {
    try retrying("mount", target) { unsafe mount(source, target, "none", UInt(MS_BIND | MS_REC), nil) }
  }

  /// Propagates mounts below a mount point to its copies in other mount namespaces. `EINVAL` = no mount point.
  public static func share(_ path: String) throws(SystemError) {
    try retrying("share mounts of", path) {
      unsafe mount("", path, "none", UInt(MS_SHARED | MS_REC), nil)
    }
  }

  /// Unmounts, as soon as nothing uses the mount. `EINVAL` = nothing is mounted there.
  public static func detach(_ path: String) throws(SystemError) {
    try retrying("unmount", path) { unsafe umount2(path, Int32(MNT_DETACH)) }
  }

  /// The magic number of the file system an open file is on (`statfs(2)`).
  public static func fileSystemType(of descriptor: Int32) throws(SystemError) -> Int64 {
    var s = statfs()
    try retrying("statfs") { unsafe fstatfs(descriptor, &s) }
    return Int64(s.f_type)
  }
}
