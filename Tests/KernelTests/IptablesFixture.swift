import Firewall
import NetTypes
import Netlink
import Syscalls
import TestSupport
import Testing

/// One kind of iptables: the programs of a family that work on one interface of the kernel.
struct IptablesKind: Sendable, CustomTestStringConvertible {
  var family: AddressFamily
  var variant: IptablesVariant

  static let all = AddressFamily.allCases.flatMap { f in IptablesVariant.allCases.map { Self(family: f, variant: $0) } }

  /// `iptables-nft`
  var program: String { (family == .ipv4 ? "iptables-" : "ip6tables-") + variant.rawValue }
  var testDescription: String { program }
  /// Network, pods and multicast of the captures.
  var prefixes: (network: String, pods: String, multicast: String) {
    family == .ipv4
      ? ("10.244.0.0/16", "10.244.101.0/24", "224.0.0.0/4")
      : ("fd00:10:244::/56", "fd00:10:244:59::/64", "ff00::/8")
  }
}

/// A namespace with rules that a keeper holds. The programs that the keeper starts are counted; the system's own are the
/// oracle.
final class IptablesFixture: @unchecked Sendable {
  let namespace: TestNamespace
  let directory: TemporaryDirectory
  let kind: IptablesKind
  private var keeper: IptablesKeeper?

  init(_ kind: IptablesKind) throws {
    self.kind = kind
    namespace = try TestNamespace("ipt")
    directory = try TemporaryDirectory("ipt")
    try install()
    try keep(plan())
  }

  /// Puts the counted program in the path.
  /// - Parameter after: a command of the shell that runs after the program.
  func install(after: String = ":") throws {
    try directory.write(
      """
      #!/bin/sh
      echo "$*" >>\(directory.file("calls"))
      /usr/sbin/\(kind.program)-restore "$@" || exit
      \(after)

      """, to: "bin/\(kind.program)-restore", mode: 0o755)
  }

  /// Takes it away.
  func uninstall() throws { try Files.removeTree(directory.file("bin")) }

  /// `NAME=value` entries for the tool.
  var environment: [String] { ["PATH=\(directory.file("bin"))"] }

  /// How often a program was started.
  var calls: Int { (try? Files.text(directory.file("calls")).split(separator: "\n").count) ?? 0 }

  /// The rules of the captures.
  func plan(pods: String? = nil) throws -> PodNetworkPlan {
    let network = try #require(IPPrefix(kind.prefixes.network))
    let pods = try #require(IPPrefix(pods ?? kind.prefixes.pods))
    let rules = PodNetworkRules(network: network, pods: pods, fullyRandom: true)
    return PodNetworkPlan(
      rules: PerFamily { $0 == kind.family ? rules : nil }, masquerades: true, forwards: true)
  }

  /// From now on the plan is kept, as by an agent that has just started.
  func keep(_ plan: PodNetworkPlan) throws {
    try inside { [self] in
      keeper = try IptablesKeeper(plan.iptables(kind.family), kind.family, kind.variant, environment: environment)
    }
  }

  /// One pass.
  func converge() throws -> [String] { try inside { [self] in try keeper?.converge() ?? [] } }

  /// The rules of a chain as we read them.
  func read(_ chain: String, in table: String) throws -> [IptablesRule]? {
    try inside { [kind] in
      var state = try IptablesState(kind.family, kind.variant)
      return try state.chain(chain, in: table)
    }
  }

  /// Carries out commands as we do.
  func restore(_ lines: [String], wait: Int = 5) throws {
    try inside { [kind, environment] in
      let tool = try #require(IptablesTool(kind.family, kind.variant, environment: environment))
      try tool.restore(lines, wait: wait)
    }
  }

  func inside<R: Sendable>(_ body: @escaping @Sendable () throws -> R) throws -> R {
    try namespace.open().run { () throws(SystemError) in Result { try body() } }.get()
  }

  // MARK: the oracle

  /// Runs iptables.
  func iptables(_ arguments: String...) throws { try namespace.checked("/usr/sbin/\(kind.program)", arguments) }

  /// `iptables-restore --noflush`
  func load(_ text: String) throws { try namespace.checked("/usr/sbin/\(kind.program)-restore", ["--noflush"], text) }

  /// `iptables -t TABLE -S [CHAIN]`
  func listing(_ table: String, _ chain: String...) throws -> [String] {
    try namespace.checked("/usr/sbin/\(kind.program)", ["-t", table, "-S"] + chain).text.split(separator: "\n")
      .map(String.init)
  }

  /// Both tables of ours.
  func listings() throws -> [String] { try listing("nat") + listing("filter") }
}
