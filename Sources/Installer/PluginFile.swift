import CLinux
import CNI
import Glibc
import Syscalls

/// What is at the place of a plugin.
enum PluginFile: Hashable {
  case absent
  /// A program with our plugins: of this release, executable and no link, or of another one.
  case ours(isCurrent: Bool)
  /// Anything else, and why it is not ours.
  case foreign(String)

  /// The most that a program of ours may have, bytes; a larger file is somebody else's.
  static let limit = 256 << 20

  /// Looks at a file without starting it. It is ours if it is a program (ELF) and holds the words of
  /// `PluginRegistry.mark`, which every program with our plugins does.
  /// - Parameter program: the content of the program of this release; nil = any release is current.
  init(_ path: String, program: [UInt8]?) {
    guard let link = try? Files.linkStatus(path) else {
      self = .absent
      return
    }
    let bytes: [UInt8]
    do {
      bytes = try Files.read(path, limit: Self.limit)
    } catch {
      self = .foreign("\(error)")
      return
    }
    let isExecutable = link.isRegular && link.permissions == 0o755
    if let program, Self.equal(bytes, program) {
      self = .ours(isCurrent: isExecutable)
    } else if Self.isMarked(bytes) {
      self = .ours(isCurrent: program == nil)
    } else {
      self = .foreign("not a program of Weft")
    }
  }

  /// True for a program with our plugins.
  static func isMarked(_ program: [UInt8]) -> Bool {
    guard program.starts(with: [0x7f, 0x45, 0x4c, 0x46]) else { return false }
    let mark = Array(PluginRegistry.mark.utf8)
    return unsafe program.withUnsafeBytes { all in
      unsafe mark.withUnsafeBytes { unsafe clinux_memmem(all.baseAddress, all.count, $0.baseAddress, $0.count) != nil }
    }
  }

  static func equal(_ a: [UInt8], _ b: [UInt8]) -> Bool {
    guard a.count == b.count, !a.isEmpty else { return a.count == b.count }
    return unsafe a.withUnsafeBytes { x in
      unsafe b.withUnsafeBytes { y in
        guard let p = x.baseAddress, let q = y.baseAddress else { return false }
        return unsafe memcmp(p, q, x.count) == 0
      }
    }
  }
}
