import Netlink

/// Masquerading in whichever program carries it.
enum MasqueradeRules {
  /// Makes the rules of an attachment.
  /// - Parameter backend: nil = iptables if it is installed, else nf_tables.
  static func add(
    _ wanted: Masquerade, _ backend: RuleBackend?, _ environment: PluginEnvironment
  ) throws(CNIError) {
    let lock = try RuleLock()
    switch backend ?? .automatic(environment) {
    case .nftables:
      var rules = try MasqueradeNftables()
      try rules.add(wanted)
    case .iptables: try MasqueradeIptables(environment: environment).add(wanted)
    }
    _ = consume lock
  }

  /// Removes what either program holds of the attachment, whoever made it; it may be gone already.
  static func remove(_ unwanted: Masquerade, _ environment: PluginEnvironment) throws(CNIError) {
    var rules = try MasqueradeNftables()
    try rules.remove(unwanted.commentPrefix)
    try MasqueradeIptables(environment: environment).remove(unwanted)
  }

  /// Fails when a rule is missing.
  static func check(
    _ wanted: Masquerade, _ backend: RuleBackend?, _ environment: PluginEnvironment
  ) throws(CNIError) {
    switch backend ?? .automatic(environment) {
    case .nftables:
      var rules = try MasqueradeNftables()
      try rules.check(wanted)
    case .iptables: try MasqueradeIptables(environment: environment).check(wanted)
    }
  }

  /// Removes the rules of the network's attachments that are not valid.
  static func removeInvalid(_ request: CNIRequest, _ valid: Set<CNIRequest.Attachment>) throws(CNIError) {
    try MasqueradeIptables(environment: request.environment).removeInvalid(
      request.name, Set(valid.map(\.containerID)))
    var rules = try MasqueradeNftables()
    try rules.remove(
      RuleNames.networkHash(request.name) + "-",
      except: Set(valid.map { RuleNames.attachmentHash(request.name, $0) }))
  }
}
