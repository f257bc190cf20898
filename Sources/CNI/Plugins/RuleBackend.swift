import Firewall

/// What carries the rules of the plugins.
enum RuleBackend: String, Hashable, Sendable {
  case iptables
  case nftables

  var other: RuleBackend { self == .iptables ? .nftables : .iptables }

  /// The one to use when the configuration names none: iptables wherever it is installed for any family, as the reference
  /// plugins do (contract cni §B2, §B5).
  static func automatic(_ environment: PluginEnvironment) -> RuleBackend {
    ["iptables", "ip6tables"].contains { environment.program($0) != nil } ? .iptables : .nftables
  }
}

extension PluginEnvironment {
  /// The file of a program, where `PATH` has it; without one, where distributions put it.
  func program(_ name: String) -> String? { IptablesTool.find(name, entries) }
}
