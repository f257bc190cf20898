import CNI
import Glibc
import Syscalls

/// Puts our plugins into the runtime's plugin directory (contract install §3, §8.6).
///
/// A plugin appears as a whole under its name, whatever happens in between, and a running one keeps the file that it
/// was started from: the new file is written beside it, synced and renamed. Nothing is touched that is right already.
///
/// `flannel` is a file of its own; the others are hard links to one. A call from one of our plugins to another stays in
/// the process if both are the same file, and the disk holds two copies at most. `flannel` stays apart because Flannel's
/// own installer (`cp -f /flannel /opt/cni/bin/flannel`, contract install §1.2) writes into the file that it finds: were
/// it linked to the others, going back to Flannel would put Flannel's program in the place of all of them.
public struct PluginInstallation {
  /// The plugin directory; made if it is missing.
  public var directory: String
  /// The program with the plugins.
  public var source: String
  /// What to install.
  public var choice: PluginChoice
  /// Also in the place of somebody else's plugin. `flannel` always takes its place, being a drop-in for it.
  public var replacesForeign: Bool

  /// Every field as given.
  public init(directory: String, source: String, choice: PluginChoice = .standard, replacesForeign: Bool = false) {
    self.directory = directory
    self.source = source
    self.choice = choice
    self.replacesForeign = replacesForeign
  }

  /// The plugin that is no hard link to the others.
  private static let apart = "flannel"

  /// Installs; a line for every plugin.
  /// - Throws: when a plugin that was named is somebody else's (before anything is touched), and on the first that cannot
  ///   be written.
  public func run(_ report: Report) throws(InstallError) {
    let program = try readSource()
    do {
      try Files.makeDirectory(directory)
      try DirectoryLock.holding(directory) {
        try Leftovers(directory, of: choice.names).remove()
        try install(program, report)
      }
    } catch let error as SystemError {
      throw failure(directory, error)
    } catch let error as InstallError {
      throw error
    } catch {
      throw InstallError("\(error)")
    }
  }

  private func install(_ program: [UInt8], _ report: Report) throws {
    let found = choice.names.map { (name: $0, file: PluginFile(path($0), program: program)) }
    var wanted: [(name: String, file: PluginFile)] = []
    for (name, file) in found {
      if case .foreign(let why) = file, name != Self.apart, !replacesForeign {
        try refuse(name, why, report)
      } else {
        wanted.append((name, file))
      }
    }
    var shared = wanted.first { $0.name != Self.apart && $0.file == .ours(isCurrent: true) }.map { path($0.name) }
    for (name, file) in wanted {
      try install(name, file, program, shared: name == Self.apart ? nil : shared, report)
      if name != Self.apart, shared == nil { shared = path(name) }
    }
  }

  private func path(_ name: String) -> String { "\(directory)/\(name)" }

  private func readSource() throws(InstallError) -> [UInt8] {
    let advice = "give the file weft-cni with --source"
    let program: [UInt8]
    do throws(SystemError) {
      program = try Files.read(source, limit: PluginFile.limit)
    } catch {
      throw InstallError("cannot read the plugins: \(error)", advice: advice)
    }
    guard PluginFile.isMarked(program) else {
      throw InstallError("\(source) is not a program with the plugins of Weft", advice: advice)
    }
    return program
  }

  /// Somebody else's plugin stays: an error when it was named, else a warning.
  private func refuse(_ name: String, _ why: String, _ report: Report) throws(InstallError) {
    let text = "\(path(name)) is somebody else's (\(why))"
    guard choice.isNamed else { return report.warn("\(text) and is left alone; --replace-foreign replaces it") }
    throw InstallError("\(text); nothing was installed", advice: "give --replace-foreign to replace it")
  }

  private func install(
    _ name: String, _ file: PluginFile, _ program: [UInt8], shared: String?, _ report: Report
  ) throws(InstallError) {
    let target = path(name)
    let verb: String
    switch file {
    case .ours(isCurrent: true): return report.say("unchanged \(target)")
    case .ours: verb = "updated"
    case .absent: verb = "installed"
    case .foreign: verb = "replaced"
    }
    do throws(SystemError) {
      if try !link(shared, target) { try Files.writeAtomically(program, to: target, mode: 0o755) }
    } catch {
      throw failure(target, error)
    }
    guard PluginFile(target, program: program) == .ours(isCurrent: true) else {
      throw InstallError(
        "\(target) is not what was written", advice: "look for another program that installs into \(directory)")
    }
    report.say("\(verb) \(target)")
  }

  /// Makes the name a hard link; false where there is nothing to link to or the file system has no links.
  private func link(_ shared: String?, _ target: String) throws(SystemError) -> Bool {
    guard let shared else { return false }
    do {
      try Files.linkAtomically(shared, at: target)
      return true
    } catch  where [EPERM, EOPNOTSUPP, EMLINK, EXDEV, ENOSYS].contains(error.errno.rawValue) {
      return false
    }
  }

  private func failure(_ object: String, _ error: SystemError) -> InstallError {
    InstallError(
      "cannot install \(object): \(error)",
      advice: error.errno == .accessDenied || error.errno == .notPermitted
        ? "the directory must be writable for us" : "")
  }
}
