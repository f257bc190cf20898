import CNI
import Glibc
import Syscalls
import TestSupport

@testable import Installer

/// What an installation said.
final class Said {
  private(set) var lines: [String] = []
  private(set) var warnings: [String] = []

  var report: Report { Report(say: { self.lines.append($0) }, warn: { self.warnings.append($0) }) }

  /// The first words of the lines.
  var verbs: [String] { lines.compactMap { $0.split(separator: " ").first.map(String.init) } }
}

/// A plugin directory, and programs to put there.
final class PluginDirectory {
  let directory = try? TemporaryDirectory("plugins")
  var root: String { directory?.path ?? "/nonexistent" }
  var bin: String { "\(root)/bin" }

  /// A program that runs (it is `sleep`) and has our mark; another text makes another release.
  /// - Parameter padding: bytes to make it as long as the real one.
  func program(_ release: String = "1", padding: Int = 0) throws -> String {
    let mark = Array("\(PluginRegistry.mark)\0\(release)".utf8)
    return try write(sleep() + [UInt8](repeating: 0, count: padding) + mark, "weft-cni-\(release)")
  }

  /// A program of somebody else.
  func foreign() throws -> String { try write(sleep(), "foreign") }

  private func sleep() throws -> [UInt8] { try Files.read("/usr/bin/sleep") }

  private func write(_ bytes: [UInt8], _ name: String) throws -> String {
    try Files.writeAtomically(bytes, to: "\(root)/\(name)", mode: 0o755, durable: false)
    return "\(root)/\(name)"
  }

  /// Puts a copy of a file at the place of a plugin, as `cp -f` does: into the file that is there.
  func put(_ file: String, as plugin: String) throws {
    try Files.makeDirectory(bin)
    let out = try ChildProcess.run("/bin/cp", ["-f", file, "\(bin)/\(plugin)"])
    guard out.exit.isSuccess else { throw StepFailure(out.errorText) }
  }

  @discardableResult
  func install(_ source: String, _ plugins: String = "flannel", foreign: Bool = false) throws -> Said {
    let said = Said()
    try PluginInstallation(
      directory: bin, source: source, choice: PluginChoice(parsing: plugins), replacesForeign: foreign
    ).run(said.report)
    return said
  }

  func holds(_ plugin: String, _ file: String) throws -> Bool {
    try PluginFile.equal(Files.read("\(bin)/\(plugin)"), Files.read(file))
  }

  func names() throws -> [String] { try Files.list(bin).sorted() }
  func status(_ plugin: String) throws -> FileStatus { try Files.linkStatus("\(bin)/\(plugin)") }
}

/// A step of a test that failed.
struct StepFailure: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

/// The built `weft`, run to its end.
func weft(_ arguments: String..., through wrapper: [String] = []) throws -> ChildProcess.Output {
  let words = wrapper + [try builtProduct("weft")] + arguments
  return try ChildProcess.run(words[0], Array(words.dropFirst()))
}
