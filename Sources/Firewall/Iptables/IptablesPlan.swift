public import NetTypes
public import Netlink

/// A chain of ours in iptables and the jump that leads to it.
public struct IptablesChainPlan: Hashable, Sendable {
  /// `nat`, `filter`
  public var table: String
  /// The built-in chain that jumps to ours; the jump is appended where it is missing and otherwise stays where it is.
  public var parent: String
  /// Our chain.
  public var chain: String
  /// On every rule and on the jump.
  public var comment: String
  /// All rules of the chain; nil = neither chain nor jump may be there.
  public var rules: [Rule]?

  /// The words of the jump behind `-A PARENT`.
  var jump: String { IptablesTool.line(Rule([], .jump(chain), comment: comment).iptables) }

  /// True when a change in nf_tables may contradict the plan.
  public func concerns(_ event: NftEvent, _ family: AddressFamily) -> Bool {
    guard event.table == NftTable.ID(family == .ipv4 ? .ipv4 : .ipv6, table) else { return false }
    return switch event {
    case .table(_, let removed): removed
    case .chain(_, let name, _), .rule(_, let name, _): name == chain || name == parent
    default: false
    }
  }
}

extension PodNetworkPlan {
  /// What iptables is to hold for a family (contract flanneld §10).
  public func iptables(_ family: AddressFamily) -> [IptablesChainPlan] {
    let rules = rules[family]
    return [
      IptablesChainPlan(
        table: "nat", parent: "POSTROUTING", chain: "FLANNEL-POSTRTG", comment: "flanneld masq",
        rules: masquerades ? rules?.masquerade : nil),
      IptablesChainPlan(
        table: "filter", parent: "FORWARD", chain: "FLANNEL-FWD", comment: "flanneld forward",
        rules: forwards ? rules?.forward : nil),
    ]
  }

  /// No chain of ours anywhere.
  public static let nothing = PodNetworkPlan(rules: PerFamily(), masquerades: false, forwards: false)
}

/// Keeps the chains of one family in one variant of iptables as planned.
///
/// What is there is read from the kernel and compared with what was there after our last change, so that nothing is
/// started while all is well. Every change is one `iptables-restore`: a chain is filled anew in one transaction (contract
/// flanneld §19.20), and nothing of others is touched.
public struct IptablesKeeper: ~Copyable {
  /// The family of its rules.
  public let family: AddressFamily
  /// What it works on.
  public let variant: IptablesVariant
  private let environment: [String]
  private let plans: [IptablesChainPlan]
  private var state: IptablesState
  /// The rules of our chains as they were after our last change.
  private var written: [String: [IptablesRule]] = [:]

  /// - Parameter environment: `NAME=value` entries for the programs.
  public init(
    _ plans: [IptablesChainPlan], _ family: AddressFamily, _ variant: IptablesVariant, environment: [String]
  ) throws(NetlinkError) {
    self.plans = plans
    self.family = family
    self.variant = variant
    self.environment = environment
    state = try IptablesState(family, variant)
  }

  /// Seconds to wait for the lock: afterwards it is tried again later, by the caller's schedule.
  private static let patience = 5

  /// Looks, and changes what is not as planned.
  /// - Returns: what had to be changed, in words.
  public mutating func converge() throws -> [String] {
    state.reload()
    var lines: [String] = []
    var changes: [String] = []
    for plan in plans {
      guard let (commands, what) = try difference(plan) else { continue }
      lines += ["*\(plan.table)"] + commands + ["COMMIT"]
      changes.append(
        "chain \(plan.chain) of table \(plan.table) (\(family == .ipv4 ? "iptables" : "ip6tables"))\(what)")
    }
    guard !lines.isEmpty else { return [] }
    guard let tool = IptablesTool(family, variant, environment: environment) else {
      throw IptablesError(
        "no \(variant.rawValue) variant of \(family == .ipv4 ? "iptables" : "ip6tables")-restore in PATH",
        isMissing: true)
    }
    try tool.restore(lines, wait: Self.patience)
    state.reload()
    for plan in plans { written[plan.chain] = try readBack(plan) }
    return changes
  }

  /// The rules of a chain that was just filled; nil when they cannot be ours, because somebody was quicker: then the next
  /// pass fills it again.
  private mutating func readBack(_ plan: IptablesChainPlan) throws(NetlinkError) -> [IptablesRule]? {
    guard let wanted = plan.rules, let there = try state.chain(plan.chain, in: plan.table) else { return nil }
    let isOurs = there.map(\.jump) == wanted.map(\.action.iptablesTarget)
    return isOurs ? there.map(\.withoutNumber) : nil
  }

  /// The commands that make the table as planned, and why; nil when it is.
  private mutating func difference(_ plan: IptablesChainPlan) throws -> (commands: [String], what: String)? {
    let there = try state.chain(plan.chain, in: plan.table)
    let parents = try state.chain(plan.parent, in: plan.table) ?? []
    let jumps = parents.count { $0.isPlainJump(to: plan.chain, comment: plan.comment) }
    guard let rules = plan.rules else {
      guard there != nil else { return nil }
      let removals = [String](repeating: "-D \(plan.parent) \(plan.jump)", count: jumps)
      return (removals + ["-F \(plan.chain)", "-X \(plan.chain)"], " removed")
    }
    let isRight = there != nil && there?.map(\.withoutNumber) == written[plan.chain]
    if isRight, jumps == 1 { return nil }
    var commands: [String] = []
    if !isRight {
      commands.append(":\(plan.chain) - [0:0]")
      for rule in rules {
        var rule = rule
        rule.comment = plan.comment
        commands.append("-A \(plan.chain) " + IptablesTool.line(rule.iptables))
      }
    }
    if jumps == 0 { commands.append("-A \(plan.parent) \(plan.jump)") }
    for _ in 1..<max(jumps, 1) { commands.append("-D \(plan.parent) \(plan.jump)") }
    let what =
      isRight
      ? " (jumps from \(plan.parent): \(jumps))" : there == nil || written.isEmpty ? "" : " (its rules were different)"
    return (commands, what)
  }

  /// True when a pass should look again.
  public func concerns(_ event: NftEvent) -> Bool { variant == .nft && plans.contains { $0.concerns(event, family) } }
}

extension IptablesRule {
  /// As it is compared: the number changes with every filling.
  fileprivate var withoutNumber: IptablesRule {
    var r = self
    r.handle = 0
    return r
  }

  /// A jump of ours without conditions; one that somebody gave conditions is somebody else's.
  fileprivate func isPlainJump(to chain: String, comment text: String) -> Bool {
    isPlain && jump == chain && comment == text
  }
}
