/// Names of chains and comments that the reference plugins give, so that either finds what the other made (contract cni
/// §B2.2, §B5).
enum RuleNames {
  /// `CNI-`, a prefix, and as much of the hash of network and container as 28 characters hold: the most that iptables
  /// takes. `prefix` is a word of ours such as `DN-`.
  static func chain(_ network: String, _ containerID: String, prefix: String = "") -> String {
    let start = "CNI-\(prefix)"
    return start + SHA512.hex(network + containerID).prefix(max(0, 28 - start.utf8.count))
  }

  /// The comment of the iptables rules of the bridge plugin.
  static func comment(_ network: String, _ containerID: String) -> String {
    "name: \"\(network)\" id: \"\(containerID)\""
  }

  /// Sixteen digits that stand for a network in comments of nftables rules.
  static func networkHash(_ network: String) -> String { String(SHA512.hex(network).prefix(16)) }

  /// Network and attachment in a comment: `6fd94d501e58f0aa-287fc69eff0574a2`.
  static func attachmentHash(_ network: String, _ a: CNIRequest.Attachment) -> String {
    "\(networkHash(network))-\(SHA512.hex("\(a.ifname):\(a.containerID)").prefix(16))"
  }
}

extension CNIRequest {
  /// The attachment that is meant.
  var attachment: Attachment { Attachment(containerID: containerID, ifname: ifname) }
}
