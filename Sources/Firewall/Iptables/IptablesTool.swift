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

/// iptables for one family: the program that changes rules, and what it works on.
public struct IptablesTool: Hashable, Sendable {
  /// The family of the rules.
  public let family: AddressFamily
  /// What it works on.
  public let variant: IptablesVariant
  /// `…/iptables-restore`
  public let path: String
  let environment: [String]

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
}
