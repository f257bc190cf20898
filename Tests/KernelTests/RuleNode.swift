import Glibc
import NetTypes
import Syscalls
import TestSupport
import Testing

/// How a node's rules are kept.
enum RuleMode: String, CaseIterable, Sendable, CustomTestStringConvertible {
  case nftables
  case iptablesNFT = "iptables-nft"
  case iptablesLegacy = "iptables-legacy"

  var testDescription: String { rawValue }
  /// The suffix of the programs of the variant.
  var variant: String { self == .iptablesLegacy ? "legacy" : "nft" }
}

/// A node with an agent that keeps rules of both families.
final class RuleNode {
  let cluster: TestCluster
  let directory: TemporaryDirectory
  private(set) var mode: RuleMode
  private(set) var agent: AgentProcess
  var node: TestNamespace { cluster.nodes[0] }

  static func configuration(_ mode: RuleMode) -> String {
    #"{"Network":"10.244.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:10:244::/56","EnableNFTables":"#
      + "\(mode == .nftables)" + #","Backend":{"Type":"vxlan"}}"#
  }

  static let flags = ["--ip-masq", "--iptables-resync=1"]

  init(_ mode: RuleMode, flags: [String] = RuleNode.flags) throws {
    self.mode = mode
    directory = try TemporaryDirectory("rules")
    cluster = try TestCluster(nodes: 1, configuration: Self.configuration(mode))
    for variant in ["nft", "legacy"] {
      try Files.makeDirectory(directory.file(variant))
      for tool in ["iptables", "ip6tables"] {
        for suffix in ["", "-restore", "-save"] {
          symlink("/usr/sbin/\(tool)-\(variant)\(suffix)", directory.file("\(variant)/\(tool)\(suffix)"))
        }
      }
    }
    agent = try cluster.agent(0, flags: flags, rules: true, path: directory.file(mode.variant) + ":/usr/sbin")
    try ready()
  }

  /// The variant's programs under the usual names, and all others behind them.
  private var path: String { directory.file(mode.variant) + ":/usr/sbin" }

  /// Ends the agent and starts it again in another mode.
  func restart(_ mode: RuleMode) throws {
    try agent.stop()
    let start = agent.log.count
    self.mode = mode
    try cluster.directory.write(Self.configuration(mode), to: "registry/config")
    agent = try cluster.agent(0, flags: Self.flags, rules: true, path: path)
    try ready(since: start)
  }

  /// The log goes on over restarts: only what was said since counts.
  private func ready(since start: Int = 0) throws {
    try eventually("ready\n\(agent.log)") { agent.log.dropFirst(start).contains("flannel is ready") }
  }

  func remove() {
    _ = try? agent.stop(SIGKILL)
    cluster.remove()
  }

  /// The subnet of a family as subnet.env has it.
  func pods(_ family: AddressFamily) throws -> String {
    let key = family == .ipv4 ? "FLANNEL_SUBNET=" : "FLANNEL_IPV6_SUBNET="
    let line = try Files.text(agent.subnetFile).split(separator: "\n").first { $0.hasPrefix(key) }
    let prefix = try #require(line.flatMap { IPPrefix($0.dropFirst(key.count)) })
    return "\(prefix.network)"
  }

  // MARK: the oracle

  @discardableResult
  func sh(_ program: String, _ arguments: String...) throws -> String {
    let out = try node.run("/usr/sbin/\(program)", arguments)
    guard out.exit.isSuccess else { throw TestFailure("\(program) \(arguments): \(out.errorText)") }
    return out.text
  }

  /// `iptables -t TABLE -S` lines of the variant.
  func iptables(_ table: String, _ family: AddressFamily = .ipv4) throws -> [String] {
    try sh("\(family == .ipv4 ? "iptables" : "ip6tables")-\(mode.variant)", "-t", table, "-S").split(separator: "\n")
      .map(String.init)
  }

  /// Everything that flannel's rules are made of, as the tools print it.
  func rules() throws -> [String] {
    if mode == .nftables {
      return try ["ip flannel-ipv4", "ip6 flannel-ipv6"].flatMap { name in
        let words = name.split(separator: " ").map(String.init)
        return try node.run("/usr/sbin/nft", ["list", "table"] + words).text.split(separator: "\n").map(String.init)
      }
    }
    return try AddressFamily.allCases.flatMap { try iptables("nat", $0) + iptables("filter", $0) }
      .filter { $0.contains("FLANNEL") }
  }
}
