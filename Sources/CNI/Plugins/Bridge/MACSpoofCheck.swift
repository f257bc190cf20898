import Firewall
import NetTypes
import Netlink

/// The filter that lets a container send only with its own MAC address (contract cni §B2.3), in nf_tables of the bridge
/// family.
struct MACSpoofCheck: Hashable, Sendable {
  static let table = NftTable.ID(.bridge, "nat")
  static let prerouting = "PREROUTING"
  static let prefix = "cni-br-iface-"

  let attachment: CNIRequest.Attachment

  /// The chain of the container's port, and the one with its MAC address.
  var chain: String { "\(Self.prefix)\(attachment.containerID)-\(attachment.ifname)" }
  var macChain: String { "\(chain)-mac" }
  var comment: String { "macspoofchk-\(attachment.containerID)-\(attachment.ifname)" }
  /// As far as rules can carry it.
  private var shortComment: String { comment.ruleOwner }

  /// All rules. A frame comes in by the container's port; with another source than its own it ends here.
  func rules(port: String, mac: MACAddress) -> [NftRule] {
    let comment = shortComment
    let entry = Rule([.inputInterface(port)], .jump(chain), comment: comment)
    let toMAC = Rule([], .jump(macChain), comment: comment)
    let own = Rule([.sourceMAC(mac)], .return, comment: comment)
    let rest = Rule([], .drop, comment: comment)
    return entry.nftables(Self.table, Self.prerouting) + toMAC.nftables(Self.table, chain)
      + own.nftables(Self.table, macChain) + rest.nftables(Self.table, macChain)
  }

  /// True for the rule that leads to the attachment's chain.
  func isEntry(_ rule: NftRule) -> Bool { rule.chain == Self.prerouting && rule.comment == shortComment }
}
