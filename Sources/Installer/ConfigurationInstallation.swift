import CNI
import Glibc
import JSON
import Syscalls

/// Puts the CNI configuration list where the container runtime reads it (contract install §3, §4).
public struct ConfigurationInstallation {
  /// The list to install.
  public var source: String
  /// The runtime's directory; must be there.
  public var directory: String
  /// The file's name in it.
  public var name: String

  /// The name that flannel uses, early in the order in which runtimes look.
  public static let standardName = "10-flannel.conflist"

  /// Every field as given.
  public init(source: String, directory: String, name: String = Self.standardName) {
    self.source = source
    self.directory = directory
    self.name = name
  }

  /// Checks that the source is a configuration list, then installs it with the source's mode.
  public func run(_ report: Report) throws(InstallError) {
    guard name.utf8.allSatisfy({ $0 != UInt8(ascii: "/") && $0 != 0 }), name.hasSuffix(".conflist"),
      !name.hasPrefix(".")
    else {
      throw InstallError(
        "--name \(name) is no name of a configuration list: runtimes read files that end in .conflist",
        advice: "give a name such as \(Self.standardName)")
    }
    let target = "\(directory)/\(name)"
    do {
      let bytes = try Files.read(source, limit: PluginMain.inputLimit)
      try Self.check(bytes, source)
      let changed = try Self.put(bytes, mode: Files.status(source).permissions, target)
      report.say("\(changed ? "installed" : "unchanged") \(target)")
    } catch let error as InstallError {
      throw error
    } catch {
      throw InstallError("cannot install \(target): \(error)")
    }
  }

  /// The runtime would refuse anything else, and the node would have no network.
  private static func check(_ bytes: [UInt8], _ source: String) throws(InstallError) {
    do {
      _ = try NetworkConfigurationList(parsing: bytes)
      // A configuration of a single plugin is readable too, but not under the name of a list.
      guard try JSONValue(parsing: bytes).objectValue?.caseInsensitive("plugins") == nil else { return }
      throw CNIError.configuration("no 'plugins' key")
    } catch {
      throw InstallError(
        "\(source) is not a CNI configuration list: \(error)",
        advice: "it must be a JSON object with \"name\", \"cniVersion\" and \"plugins\", each with a \"type\"")
    }
  }

  /// Writes a file as a whole; what is right already is not touched.
  /// - Returns: false when it was.
  static func put(_ bytes: [UInt8], mode: mode_t, _ target: String) throws(SystemError) -> Bool {
    if let link = try? Files.linkStatus(target), link.isRegular, link.permissions == mode,
      (try? Files.read(target)).map({ PluginFile.equal($0, bytes) }) == true
    {
      return false
    }
    try Files.writeAtomically(bytes, to: target, mode: mode)
    return true
  }
}

/// `install-conf SRC DEST`, the program of Flannel's image that its chart calls (contract install §4).
public enum InstallConf {
  /// True when the program is called by that name.
  public static func isMeant(by program: String) -> Bool { Files.split(program).name == "install-conf" }

  /// Copies any file, as a whole and with its mode.
  /// - Parameters:
  ///   - words: the command line with the program's name.
  ///   - complain: takes a line for standard error.
  /// - Returns: the exit status.
  public static func main(_ words: [String], complain: (String) -> Void) -> Int32 {
    guard words.count == 3 else {
      complain("usage: \(words.first ?? "install-conf") <src> <dest>")
      return 1
    }
    do throws(SystemError) {
      let bytes = try Files.read(words[1])
      _ = try ConfigurationInstallation.put(bytes, mode: Files.status(words[1]).permissions, words[2])
      return 0
    } catch {
      complain("error installing \"\(words[1])\": \(error)")
      return 1
    }
  }
}
