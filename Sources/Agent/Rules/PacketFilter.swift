import Firewall
import Logging
import Netlink
import Syscalls

/// The tool that holds the rules: nf_tables or iptables, as `EnableNFTables` says. The rules of the one that is not
/// chosen are removed, after those of the chosen one are in place, so that a change of the mode leaves no gap.
struct PacketFilter: ~Copyable {
  private var plan: PodNetworkPlan
  private var tables: [NftTablePlan]
  private var socket: NftSocket
  private let log: Logger
  private var hasCleanedUp = false

  init(_ plan: PodNetworkPlan, usesNftables: Bool, log: Logger) throws {
    self.plan = plan
    self.log = log
    tables = plan.nftables
    socket = try NftSocket()
  }

  /// Port of our requests, as notifications about their effects carry it.
  var portID: UInt32? { socket.portID }

  /// True when a pass should look at the kernel again.
  func concerns(_ event: NftEvent) -> Bool { tables.contains { $0.concerns(event) } }

  /// Makes the rules as planned. Returns what had to be changed, in words.
  mutating func converge() throws -> [String] {
    do throws(NetlinkError) {
      return try socket.converge(tables)
    } catch {
      let simpler = plan.withoutFullyRandom
      guard plan != simpler, error.isRefusal else { throw error }
      // Old kernels have no fully random ports; everything else of the rules is as old as nf_tables.
      let changes = try socket.converge(simpler.nftables)
      log.warning("this kernel does not choose source ports at random (fully-random): \(error)")
      plan = simpler
      tables = simpler.nftables
      return changes
    }
  }
}

extension NetlinkError {
  /// The kernel does not know an expression or one of its options.
  fileprivate var isRefusal: Bool { errno == .notSupported || errno == .invalid || errno == .noEntry }
}
