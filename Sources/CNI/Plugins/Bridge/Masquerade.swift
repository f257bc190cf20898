import Firewall
import NetTypes
import Netlink

/// Masquerading for one attachment: what a container sends beyond its subnet leaves with the host's address (contract cni
/// §B2.2). Pure.
struct Masquerade: Hashable, Sendable {
  let network: String
  let attachment: CNIRequest.Attachment
  /// The container's addresses with the length of their subnets.
  let addresses: [IPPrefix]

  /// The attachment of a call.
  init(_ request: CNIRequest, _ addresses: [IPPrefix]) {
    self.init(request.name, request.attachment, addresses)
  }

  /// Every field as given.
  init(_ network: String, _ attachment: CNIRequest.Attachment, _ addresses: [IPPrefix] = []) {
    self.network = network
    self.attachment = attachment
    self.addresses = addresses
  }

  /// The chain of iptables.
  var chain: String { RuleNames.chain(network, attachment.containerID) }

  // MARK: nftables

  static let table = NftTable.ID(.inet, "cni_plugins_masquerade")
  static let checks = "masq_checks"
  static let postrouting = "postrouting"
  static let tableComment = "Masquerading for plugins from github.com/containernetworking/plugins"
  static let checksComment =
    "Masquerade traffic from certain IPs to any (non-multicast) IP outside their subnet"

  /// Rules whose comment begins so belong to the attachment.
  var commentPrefix: String { RuleNames.attachmentHash(network, attachment) }

  /// Hashes that identify, names for people; as long as `nft` allows.
  var comment: String {
    let text =
      "\(commentPrefix), net: \(network), if: \(attachment.ifname), id: \(attachment.containerID)"
    return String(decoding: text.utf8.filter { $0 != UInt8(ascii: "\"") }.prefix(NftRule.commentLimit), as: UTF8.self)
  }

  /// The rules in `masq_checks`, one for each address.
  var nftables: [NftRule] {
    addresses.flatMap { a in
      Rule(
        [.source(IPPrefix(host: a.address)), .destination(a.network, inverted: true)],
        .masquerade(fullyRandom: false), comment: comment
      ).nftables(Self.table, Self.checks)
    }
  }

  /// The rules of the base chain: multicast is not for the world.
  static let baseRules =
    AddressFamily.allCases.map { Rule([.destination($0.multicast)], .return) } + [Rule([], .goto(checks))]
}
