import CLinux
import Glibc
import Netlink
import Syscalls

/// Turns the calling program into one that runs on a node or in a pod: its network namespace, and a mount namespace of
/// its own. Only for a program that has one thread.
///
/// A node's directories lie over `/run/flannel`, `/etc/cni/net.d`, `/var/lib/cni` and `/etc/kube-flannel`. Where the
/// machine lacks such a directory nothing is made on it: the nearest existing parent is covered by a tmpfs that shows
/// everything the parent shows, and the missing directory is made there. `/run` is always covered, so that a node has
/// an iptables lock of its own. The mount namespace is made anew for each program and goes with it.
public enum Enter {
  /// Enters a node.
  public static func node(_ node: NodeDirectory, names: LabNames) throws {
    guard Files.isDirectory(node.path) else { throw LabError("\(node.path) is gone: the lab was removed") }
    try network(names.namespace(node: node.name))
    var view = MountView()
    try view.cover("/run")
    try view.link("/run/xtables.lock", to: node.xtablesLock)
    for (directory, target) in NodeDirectory.mounts {
      try view.makeDirectory(target)
      try MountView.bind("\(node.path)/\(directory)", target)
    }
  }

  /// Replaces the program by a command, looked for in `PATH` when it has no slash; returns only by throwing.
  public static func run(_ command: [String]) throws -> Never {
    guard let name = command.first else { throw LabError("no command given", advice: "put it after --") }
    guard let path = find(name) else { throw LabError("\(name): command not found") }
    throw ChildProcess.exec(path, Array(command.dropFirst()))
  }

  /// The path of a command.
  static func find(_ name: String) -> String? {
    if name.contains("/") { return name }
    let path = Environment.get("PATH") ?? "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return path.split(separator: ":").lazy.map { "\($0)/\(name)" }.first(where: Files.isExecutable)
  }

  /// Enters a pod or the internet: network namespace, mount namespace, and a `/sys` that shows the network namespace's
  /// devices.
  static func network(_ name: String) throws {
    do {
      try NetworkNamespace(path: LabNames.path(name)).enter()
    } catch {
      throw LabError("network namespace \(name): \(error)", advice: "`weft lab status` shows what is there")
    }
    try retrying("unshare mount namespace") { clinux_unshare(Int32(CLINUX_CLONE_NEWNS)) }
    // What is mounted here stays here; what the machine mounts or unmounts later is seen.
    try MountView.mount("none", "/", nil, UInt(MS_REC | MS_SLAVE))
    // The old /sys shows the machine's devices. Something may keep it busy; a lazy unmount does not mind.
    _ = unsafe umount2("/sys", Int32(MNT_DETACH))
    try MountView.mount("sysfs", "/sys", "sysfs", 0)
  }
}

/// Directories covered by a tmpfs that shows what was there, so that something can be added without a trace.
struct MountView {
  /// `O_PATH`, which the importer does not see: a handle for a path, not for reading.
  private static let openPathOnly: Int32 = 0o10000000
  private var covered = Set<String>()

  /// Makes a directory visible; what is missing is made in a covered parent.
  mutating func makeDirectory(_ path: String) throws {
    if Files.isDirectory(path) { return }
    var parent = Files.split(path).directory
    while !Files.isDirectory(parent) { parent = Files.split(parent).directory }
    if !covered.contains(parent) { try cover(parent) }
    try Files.makeDirectory(path)
  }

  /// Shows a symbolic link in a covered directory, in place of what was there.
  func link(_ path: String, to target: String) throws {
    try Files.remove(path)
    try retrying("symlink", path) { unsafe symlink(target, path) }
  }

  /// Covers a directory. Its subdirectories are mounted again, its files are reached through `.host`.
  mutating func cover(_ path: String) throws {
    let original = try FileDescriptor.open(path, Self.openPathOnly | O_DIRECTORY)
    let source = "/proc/self/fd/\(original.number)"
    let entries = try Files.list(source)
    try Self.mount("tmpfs", path, "tmpfs", 0, "mode=0755,size=1m")
    covered.insert(path)
    try Files.makeDirectory("\(path)/.host")
    try Self.mount(source, "\(path)/.host", nil, UInt(MS_BIND))
    for name in entries where name != ".host" {
      guard let status = try? Files.linkStatus("\(source)/\(name)") else { continue }  // gone since
      if status.isDirectory {
        try Files.makeDirectory("\(path)/\(name)")
        try Self.bind("\(source)/\(name)", "\(path)/\(name)")
      } else if status.mode & S_IFMT == S_IFLNK {
        let target = try Files.linkTarget("\(source)/\(name)")
        try retrying("symlink", name) { unsafe symlink(target, "\(path)/\(name)") }
      } else {
        try retrying("symlink", name) { unsafe symlink(".host/\(name)", "\(path)/\(name)") }
      }
    }
  }

  static func bind(_ source: String, _ target: String) throws(SystemError) {
    try mount(source, target, nil, UInt(MS_BIND | MS_REC))
  }

  static func mount(
    _ source: String, _ target: String, _ type: String?, _ flags: UInt, _ data: String? = nil
  ) throws(SystemError) {
    try retrying("mount", target) {
      guard let data else { return unsafe Glibc.mount(source, target, type, flags, nil) }
      return unsafe data.withCString { unsafe Glibc.mount(source, target, type, flags, $0) }
    }
  }
}

extension Files {
  /// Where a symbolic link points.
  static func linkTarget(_ path: String) throws(SystemError) -> String {
    var buffer = [CChar](repeating: 0, count: 4096)
    let n = try retrying("readlink", path) { unsafe readlink(path, &buffer, buffer.count) }
    return String(decoding: buffer.prefix(n).map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}
