import Firewall
import NetTypes
import Netlink
import Syscalls

/// Removes flannel's rules from every tool that may hold them: nf_tables, and both variants of iptables.
struct RulePurge {
  func run(_ removal: inout Removal) {
    removal.look(at: "nf_tables") { try removeTables(&$0) }
    for family in AddressFamily.allCases {
      for variant in IptablesVariant.allCases {
        let name = "\(family == .ipv4 ? "iptables" : "ip6tables")-\(variant.rawValue)"
        removal.look(at: name) { try removeChains(&$0, family, variant, name) }
      }
    }
  }

  private func removeTables(_ removal: inout Removal) throws {
    for id in AddressFamily.allCases.map(PodNetworkPlan.table) where try Self.exists(id) {
      removal.remove("nf_tables table \(id)") {
        var socket = try NftSocket()
        _ = try socket.remove([id])
      }
    }
  }

  /// False too on a kernel without nf_tables.
  private static func exists(_ id: NftTable.ID) throws(NetlinkError) -> Bool {
    var socket = try NftSocket()
    do { return try socket.table(id) != nil } catch  where error.isUnavailable { return false }
  }

  /// Each chain goes with the jumps to it, in one transaction. Nothing is started where there is none.
  private func removeChains(
    _ removal: inout Removal, _ family: AddressFamily, _ variant: IptablesVariant, _ name: String
  ) throws {
    var state = try IptablesState(family, variant)
    for plan in PodNetworkPlan.nothing.iptables(family) where try state.chain(plan.chain, in: plan.table) != nil {
      removal.remove("chain \(plan.chain) of table \(plan.table) (\(name))") {
        var keeper = try IptablesKeeper([plan], family, variant, environment: Environment.all)
        _ = try keeper.converge()
      }
    }
  }
}
