import NetTypes
import Syscalls

/// The two kernel interfaces that go by the name of iptables.
enum IptablesVariant: Hashable, Sendable, CaseIterable {
  /// `iptables-nft`: rules in nf_tables.
  case nft
  /// `iptables-legacy`: tables of its own.
  case legacy
}

/// iptables for one family: the programs that change rules and print them.
struct IptablesProgram: Hashable, Sendable {
  let family: AddressFamily
  let variant: IptablesVariant
  /// `…/iptables-restore`
  private let path: String
  private let environment: PluginEnvironment

  /// The one that the host uses: `iptables-restore` of PATH.
  init(_ family: AddressFamily, _ environment: PluginEnvironment) throws(CNIError) {
    let name = "\(Self.name(family))-restore"
    guard let path = environment.program(name) else {
      throw .plain("the program \(name) is not in PATH: install iptables, or choose the nftables back end", .ioFailure)
    }
    self.family = family
    self.environment = environment
    self.path = path
    variant = try Self.variant(of: path, environment)
  }

  /// One of a variant, whichever the host uses; nil when it is not installed.
  init?(_ family: AddressFamily, _ variant: IptablesVariant, _ environment: PluginEnvironment) {
    let infix = variant == .nft ? "nft" : "legacy"
    if let path = environment.program("\(Self.name(family))-\(infix)-restore") {
      self.family = family
      self.variant = variant
      self.environment = environment
      self.path = path
    } else {
      guard let usual = try? IptablesProgram(family, environment), usual.variant == variant else { return nil }
      self = usual
    }
  }

  private static func name(_ family: AddressFamily) -> String { family == .ipv4 ? "iptables" : "ip6tables" }

  /// Told by the file that the name leads to: `xtables-nft-multi`, `xtables-legacy-multi`. A script is asked.
  private static func variant(of path: String, _ environment: PluginEnvironment) throws(CNIError) -> IptablesVariant {
    let file = Files.split(Files.resolved(path) ?? path).name
    if file.utf8.starts(with: "xtables-nft".utf8) { return .nft }
    if file.utf8.starts(with: "xtables".utf8) { return .legacy }
    let out = try run(path, ["--version"], environment)
    return out.text.utf8.reversed().starts(with: "(nf_tables)\n".utf8.reversed()) ? .nft : .legacy
  }

  /// Changes the table `nat`: all commands or none. A lock that another program holds is waited for, at most 30 s.
  /// - Throws: what the program said; code 11 when the lock was not free.
  func change(_ commands: [String]) throws(CNIError) {
    let text = "*nat\n" + commands.joined(separator: "\n") + "\nCOMMIT\n"
    let out = try Self.run(path, ["--noflush", "--wait=30"], environment, Array(text.utf8))
    guard !out.exit.isSuccess else { return }
    let isBusy = out.exit == .status(4) && variant == .legacy
    throw .plain("\(path): \(out.exit): \(out.errorText)", isBusy ? .tryAgainLater : .other)
  }

  /// The rules of a chain of the table `nat` as the program prints them: what comes after `-A CHAIN`.
  func rules(of chain: String) throws(CNIError) -> [String] {
    let save = String(decoding: path.utf8.dropLast("restore".utf8.count), as: UTF8.self) + "save"
    let out = try Self.run(save, ["-t", "nat"], environment)
    guard out.exit.isSuccess else { throw .plain("\(save): \(out.exit): \(out.errorText)") }
    let start = "-A \(chain) "
    return out.text.split(separator: "\n").filter { $0.utf8.starts(with: start.utf8) }.map {
      String(decoding: $0.utf8.dropFirst(start.utf8.count), as: UTF8.self)
    }
  }

  private static func run(
    _ path: String, _ arguments: [String], _ environment: PluginEnvironment, _ input: [UInt8] = []
  ) throws(CNIError) -> ChildProcess.Output {
    do throws(SystemError) {
      return try ChildProcess.run(path, arguments, environment: environment.entries, input: input)
    } catch {
      throw .plain("cannot run \(path): \(error)", .ioFailure)
    }
  }

  /// A rule as one line of input: words with anything but plain characters are quoted.
  static func line(_ words: [String]) -> String {
    words.map { word in
      let isPlain = !word.isEmpty && word.utf8.allSatisfy { $0 > 0x20 && $0 != 0x22 && $0 != 0x27 && $0 != 0x5c }
      if isPlain { return word }
      var out = "\""
      for c in word.unicodeScalars {
        if c == "\"" || c == "\\" { out.unicodeScalars.append("\\") }
        out.unicodeScalars.append(c)
      }
      return out + "\""
    }.joined(separator: " ")
  }
}
