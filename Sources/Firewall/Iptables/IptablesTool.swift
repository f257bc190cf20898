public import NetTypes
import Netlink
import Syscalls

/// The two kernel interfaces that go by the name of iptables.
public enum IptablesVariant: String, Hashable, Sendable, CaseIterable {
  /// `iptables-nft`: rules in nf_tables.
  case nft
  /// `iptables-legacy`: tables of its own.
  case legacy
}

/// Why iptables did not do what was asked. The rules are as they were.
public struct IptablesError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The program, what it said, and the line of input that it refused.
  public var description: String
  /// Another program holds the lock: later it may work.
  public var isBusy: Bool
  /// The program is not installed.
  public var isMissing: Bool

  /// - Parameter description: what failed and what can be done.
  public init(_ description: String, isBusy: Bool = false, isMissing: Bool = false) {
    self.description = description
    self.isBusy = isBusy
    self.isMissing = isMissing
  }
}

/// iptables for one family: the program that changes rules, and what it works on.
public struct IptablesTool: Hashable, Sendable {
  /// The family of the rules.
  public let family: AddressFamily
  /// What it works on.
  public let variant: IptablesVariant
  /// `…/iptables-restore`
  public let path: String
  private let environment: [String]

  private init(_ family: AddressFamily, _ variant: IptablesVariant, _ path: String, _ environment: [String]) {
    self.family = family
    self.variant = variant
    self.path = path
    self.environment = environment
  }

  /// The one that the host uses: `iptables-restore` of PATH.
  /// - Parameter environment: `NAME=value` entries for the program; `PATH` in it is searched.
  public init(_ family: AddressFamily, environment: [String]) throws(IptablesError) {
    let name = "\(Self.name(family))-restore"
    guard let path = Self.find(name, environment) else {
      throw IptablesError("the program \(name) is not in PATH: install iptables", isMissing: true)
    }
    self.init(family, try Self.variant(of: path, environment), path, environment)
  }

  /// One of a variant, whichever the host uses; nil when it is not installed.
  public init?(_ family: AddressFamily, _ variant: IptablesVariant, environment: [String]) {
    if let path = Self.find("\(Self.name(family))-\(variant.rawValue)-restore", environment) {
      self.init(family, variant, path, environment)
    } else {
      guard let usual = try? IptablesTool(family, environment: environment), usual.variant == variant else {
        return nil
      }
      self = usual
    }
  }

  /// The variant that kubelet uses, told by the chains it makes as a hint for programs in containers; where there is none,
  /// the one that the host uses.
  public static func preferred(_ family: AddressFamily, environment: [String]) throws(IptablesError) -> IptablesTool {
    for variant in IptablesVariant.allCases {
      guard var state = try? IptablesState(family, variant) else { continue }
      for hint in ["KUBE-IPTABLES-HINT", "KUBE-KUBELET-CANARY"] {
        let found = (try? state.chain(hint, in: "mangle")) ?? nil
        if found != nil, let tool = IptablesTool(family, variant, environment: environment) { return tool }
      }
    }
    return try IptablesTool(family, environment: environment)
  }

  private static func name(_ family: AddressFamily) -> String { family == .ipv4 ? "iptables" : "ip6tables" }

  /// The file of a program, where `PATH` has it; without one, where distributions put it.
  public static func find(_ name: String, _ environment: [String]) -> String? {
    let entry = environment.first { $0.utf8.starts(with: "PATH=".utf8) }
    let path = entry.map { String(decoding: $0.utf8.dropFirst(5), as: UTF8.self) } ?? ""
    let directories = path.isEmpty ? "/usr/sbin:/usr/bin:/sbin:/bin" : path
    return directories.split(separator: ":").map { "\($0)/\(name)" }.first(where: Files.isExecutable)
  }

  /// Told by the file that the name leads to: `xtables-nft-multi`, `xtables-legacy-multi`. A script is asked.
  private static func variant(
    of path: String, _ environment: [String]
  ) throws(IptablesError) -> IptablesVariant {
    let file = Files.split(Files.resolved(path) ?? path).name
    if file.utf8.starts(with: "xtables-nft".utf8) { return .nft }
    if file.utf8.starts(with: "xtables".utf8) { return .legacy }
    let out = try run(path, ["--version"], environment)
    return out.text.utf8.reversed().starts(with: "(nf_tables)\n".utf8.reversed()) ? .nft : .legacy
  }

  /// Carries out commands in the form of iptables-save, without touching anything else: all of a table or nothing.
  /// - Parameters:
  ///   - lines: `*table`, commands, `COMMIT`.
  ///   - wait: seconds to wait for a lock that another program holds.
  public func restore(_ lines: [String], wait: Int) throws(IptablesError) {
    let text = lines.joined(separator: "\n") + "\n"
    let out = try Self.run(path, ["--noflush", "--wait=\(wait)"], environment, Array(text.utf8))
    guard !out.exit.isSuccess else { return }
    // Status 4 is a resource problem: with the legacy variant that of the lock.
    if out.exit == .status(4), variant == .legacy {
      let holder = XtablesLock.holder().map { ", held by \($0)" } ?? ""
      throw IptablesError("\(path): the lock /run/xtables.lock was not free for \(wait) s\(holder)", isBusy: true)
    }
    let said = out.errorText.split(separator: "\n").joined(separator: "; ")
    let refused = Self.lineNumber(in: out.errorText).flatMap { lines.indices.contains($0 - 1) ? lines[$0 - 1] : nil }
    throw IptablesError("\(path): \(out.exit): \(said)" + (refused.map { " (the line is: \($0))" } ?? ""))
  }

  /// The rules of a table as iptables-save prints them.
  public func save(_ table: String) throws(IptablesError) -> [Substring] {
    let save = String(decoding: path.utf8.dropLast("restore".utf8.count), as: UTF8.self) + "save"
    let out = try Self.run(save, ["-t", table], environment)
    guard out.exit.isSuccess else { throw IptablesError("\(save): \(out.exit): \(out.errorText)") }
    return out.text.split(separator: "\n")
  }

  private static func run(
    _ path: String, _ arguments: [String], _ environment: [String], _ input: [UInt8] = []
  ) throws(IptablesError) -> ChildProcess.Output {
    do throws(SystemError) {
      return try ChildProcess.run(path, arguments, environment: environment, input: input)
    } catch {
      throw IptablesError("cannot run \(path): \(error)")
    }
  }

  /// The number behind the word `line` in what iptables-restore said.
  static func lineNumber(in text: String) -> Int? {
    let words = text.split { $0 == " " || $0 == "\n" || $0 == ":" }
    guard let i = words.firstIndex(where: { $0 == "line" }), words.indices.contains(i + 1) else { return nil }
    return Int(words[i + 1])
  }

  /// A rule as one line of input: words with anything but plain characters are quoted. Line breaks and zeros cannot be
  /// written and become spaces.
  public static func line(_ words: [String]) -> String {
    words.map { word in
      let isPlain = !word.isEmpty && word.utf8.allSatisfy { $0 > 0x20 && $0 != 0x22 && $0 != 0x27 && $0 != 0x5c }
      if isPlain { return word }
      var out = "\""
      for c in word.unicodeScalars {
        if c == "\"" || c == "\\" { out.unicodeScalars.append("\\") }
        out.unicodeScalars.append(c.value == 0 || c == "\n" || c == "\r" ? " " : c)
      }
      return out + "\""
    }.joined(separator: " ")
  }
}

/// The lock that the legacy variant of iptables takes for every change.
enum XtablesLock {
  /// The process that holds it, as far as `/proc/locks` tells.
  static func holder() -> String? {
    guard let status = try? Files.status("/run/xtables.lock"), let locks = try? Files.text("/proc/locks") else {
      return nil
    }
    for line in locks.split(separator: "\n") {
      // 1: FLOCK  ADVISORY  WRITE 1234 00:19:567 0 EOF
      let words = line.split(separator: " ")
      guard words.count > 5, words[1] == "FLOCK", words[5].split(separator: ":").last == "\(status.inode)"[...] else {
        continue
      }
      let program = (try? Files.text("/proc/\(words[4])/comm"))?.split(separator: "\n").first
      return "pid \(words[4])" + (program.map { " (\($0))" } ?? "")
    }
    return nil
  }
}
