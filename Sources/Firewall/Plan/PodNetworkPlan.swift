public import NetTypes
public import Netlink

/// What the agent is to program for the pod network, whichever tool does it.
public struct PodNetworkPlan: Hashable, Sendable {
  /// The rules of each enabled family.
  public var rules: PerFamily<PodNetworkRules>
  /// Rules that masquerade (`--ip-masq`).
  public var masquerades: Bool
  /// Rules that accept forwarded packets (`--iptables-forward-rules`).
  public var forwards: Bool

  /// Every field as given.
  public init(rules: PerFamily<PodNetworkRules>, masquerades: Bool, forwards: Bool) {
    self.rules = rules
    self.masquerades = masquerades
    self.forwards = forwards
  }
}

// MARK: nf_tables

extension PodNetworkPlan {
  /// The table of a family (contract flanneld §11.1).
  public static func table(_ family: AddressFamily) -> NftTable.ID {
    family == .ipv4 ? NftTable.ID(.ipv4, "flannel-ipv4") : NftTable.ID(.ipv6, "flannel-ipv6")
  }

  /// What nf_tables is to hold. Both tables are always there, as with flannel; a family that is not used, or a kind of
  /// rules that is switched off, has no chain.
  public var nftables: [NftTablePlan] {
    AddressFamily.allCases.map { family in
      let id = Self.table(family)
      var plan = NftTablePlan(NftTable(id, comment: "rules for \(id.name)"))
      let masquerade = NftChain(
        id, "postrtg", base: NftChain.Base(type: "nat", hook: .postrouting, priority: 100),
        comment: "chain to manage traffic masquerading by flannel")
      let forward = NftChain(
        id, "forward", base: NftChain.Base(type: "filter", hook: .forward, priority: 0),
        comment: "chain to accept flannel traffic")
      let rules = rules[family]
      for (chain, list) in [
        (masquerade, masquerades ? rules?.masquerade : nil), (forward, forwards ? rules?.forward : nil),
      ] {
        if let list { plan.chains.append(NftTablePlan.Chain(chain, list)) } else { plan.absent.append(chain.name) }
      }
      return plan
    }
  }

  /// The same without random source ports, for kernels that do not know them.
  public var withoutFullyRandom: PodNetworkPlan {
    var plan = self
    for family in AddressFamily.allCases { plan.rules[family]?.fullyRandom = false }
    return plan
  }
}
