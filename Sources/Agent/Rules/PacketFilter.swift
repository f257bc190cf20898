import Firewall
import Logging
import NetTypes
import Netlink
import Syscalls

/// The tool that holds the rules: nf_tables or iptables, as `EnableNFTables` says. The rules of the one that is not
/// chosen are removed, after those of the chosen one are in place, so that a change of the mode leaves no gap.
struct PacketFilter: ~Copyable {
  private var plan: PodNetworkPlan {
    didSet { tables = plan.nftables }
  }
  private var tables: [NftTablePlan]
  private let usesNftables: Bool
  private var socket: NftSocket
  /// The chosen variant of iptables for each family; none in nf_tables mode, and before the first pass.
  private var ipv4: IptablesKeeper?
  private var ipv6: IptablesKeeper?
  private let log: Logger
  private var isAlone = false

  init(_ plan: PodNetworkPlan, usesNftables: Bool, log: Logger) throws {
    self.plan = plan
    tables = plan.nftables
    self.usesNftables = usesNftables
    self.log = log
    socket = try NftSocket()
  }

  /// Port of our requests, as notifications about their effects carry it.
  var portID: UInt32 { socket.portID }

  /// True when a pass should look at the kernel again.
  func concerns(_ event: NftEvent) -> Bool {
    if usesNftables { return tables.contains { $0.concerns(event) } }
    return ipv4?.concerns(event) ?? false || ipv6?.concerns(event) ?? false
  }

  /// Makes the rules as planned. Returns what had to be changed, in words.
  mutating func converge() throws -> [String] {
    var changes: [String] = []
    do {
      changes = try set()
    } catch {
      let simpler = plan.withoutFullyRandom
      guard plan != simpler, Self.mayBeFullyRandom(error) else { throw error }
      // Old kernels and old versions of iptables have no fully random ports; everything else of the rules is older.
      let before = plan
      plan = simpler
      ipv4 = nil
      ipv6 = nil
      do {
        changes = try set()
      } catch {
        plan = before
        throw error
      }
      log.warning("source ports cannot be chosen at random here (random-fully): \(error)")
    }
    if !isAlone {
      changes += removeOthers()
      isAlone = true
    }
    return changes
  }

  private mutating func set() throws -> [String] {
    if usesNftables { return try socket.converge(tables) }
    var changes: [String] = []
    for family in AddressFamily.allCases {
      let isUsed = plan.rules[family] != nil && (plan.masquerades || plan.forwards)
      guard isUsed else { continue }
      if (family == .ipv4 ? ipv4 == nil : ipv6 == nil) {
        let keeper = try IptablesKeeper(
          plan.iptables(family), family, try Self.variant(family), environment: Environment.all)
        if family == .ipv4 { ipv4 = consume keeper } else { ipv6 = consume keeper }
      }
      let some = family == .ipv4 ? try ipv4?.converge() : try ipv6?.converge()
      changes += some ?? []
    }
    return changes
  }

  /// The variant to use, or what can be done without one.
  private static func variant(_ family: AddressFamily) throws(IptablesError) -> IptablesVariant {
    do throws(IptablesError) {
      return try IptablesTool.preferred(family, environment: Environment.all).variant
    } catch {
      guard error.isMissing else { throw error }
      throw IptablesError("\(error), or set \"EnableNFTables\": true in the network configuration", isMissing: true)
    }
  }

  /// The kernel or iptables may have refused a rule because it does not know the option.
  private static func mayBeFullyRandom(_ error: any Error) -> Bool {
    if let e = error as? NetlinkError { return e.errno == .notSupported || e.errno == .invalid || e.errno == .noEntry }
    return (error as? IptablesError)?.isRefusal == true
  }

  /// Removes what this plan does not use: the other tool's rules, the other variant's, those of a family that is switched
  /// off (contract flanneld §10.4, §11.3, §19.24). What is not there costs nothing; a failure is told and no obstacle.
  private mutating func removeOthers() -> [String] {
    var changes: [String] = []
    do {
      if !usesNftables {
        changes += try socket.remove(AddressFamily.allCases.map(PodNetworkPlan.table)).map { "table \($0) removed" }
      }
      for family in AddressFamily.allCases {
        let chosen = family == .ipv4 ? ipv4?.variant : ipv6?.variant
        for variant in IptablesVariant.allCases where variant != chosen {
          var keeper = try IptablesKeeper(
            PodNetworkPlan.nothing.iptables(family), family, variant, environment: Environment.all)
          changes += try keeper.converge()
        }
      }
    } catch {
      log.warning("cannot remove rules of an earlier configuration: \(error)")
    }
    return changes
  }
}
