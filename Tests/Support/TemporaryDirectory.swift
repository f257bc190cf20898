import Glibc
import Syscalls

/// A directory under /tmp that is removed with the value.
public final class TemporaryDirectory: Sendable {
  /// Its absolute path.
  public let path: String

  /// Makes an empty directory.
  public init(_ tag: String = "x") throws {
    path = "/tmp/weft-t-\(tag)-\(getpid())-\(String(UInt32.random(in: 0 ... .max), radix: 36))"
    try Files.makeDirectory(path, mode: 0o755)
  }

  deinit { try? Files.removeTree(path) }

  /// The path of a file inside.
  public func file(_ name: String) -> String { "\(path)/\(name)" }

  /// Writes a file inside (parents are made) and returns its path.
  @discardableResult
  public func write(_ text: String, to name: String, mode: mode_t = 0o644) throws -> String {
    let target = file(name)
    try Files.makeDirectory(Files.split(target).directory)
    try Files.writeAtomically(Array(text.utf8), to: target, mode: mode, durable: false)
    return target
  }
}
