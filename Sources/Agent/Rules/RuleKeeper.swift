import Firewall
import Logging
import Netlink
import Reconciler
import Syscalls

/// Keeps the packet filter rules as planned: a loop of its own on a thread of its own, because iptables may have to wait
/// for other programs and the data path must not. Woken by the kernel where it tells of changes (nf_tables, and so
/// iptables-nft too) and by a timer; nothing is started to look.
struct RuleKeeper: ~Copyable {
  private let plan: PodNetworkPlan
  private let log: Logger
  private let status: RuleStatus
  private let resync: Int64
  private var filter: PacketFilter
  /// nil where the kernel has no nf_tables: then the timer alone wakes the loop.
  private var monitor: NftMonitor?
  private var schedule: Schedule
  private var lastFailure: String?
  private var hasConverged = false
  /// Who changed the rule set last, as far as the kernel tells.
  private var lastChange: String?

  /// What the loop watches and schedules.
  private enum Event: Hashable, Sendable {
    case kernel
    case pass
  }

  /// Starts the thread. `wake` is called whenever `status` has changed.
  static func start(
    _ plan: PodNetworkPlan, usesNftables: Bool, resync: Int64, status: RuleStatus, log: Logger,
    wake: @escaping @Sendable () -> Void
  ) throws(SystemError) {
    try DetachedThread.start {
      do {
        var keeper = try RuleKeeper(plan, usesNftables: usesNftables, resync: resync, status: status, log: log)
        try keeper.run(wake)
      } catch {
        status.state = .failed("\(error)")
        wake()
      }
    }
  }

  private init(
    _ plan: PodNetworkPlan, usesNftables: Bool, resync: Int64, status: RuleStatus, log: Logger
  ) throws {
    self.plan = plan
    self.status = status
    self.log = log
    self.resync = resync
    schedule = Schedule(resync: max(resync, 1) * 1_000_000_000)
    // Listening begins before the first look, so that no change is missed.
    let listening = try? NftMonitor()
    filter = try PacketFilter(plan, usesNftables: usesNftables, log: log)
    listening?.ignore(port: filter.portID)
    monitor = listening
  }

  /// Runs until the process ends.
  private mutating func run(_ wake: () -> Void) throws {
    var loop = try EventLoop<Event>()
    if let descriptor = monitor?.descriptor { loop.watch(descriptor, as: .kernel) }
    while true {
      if schedule.isDue(now: Clock.monotonic()) {
        let before = status.state
        pass()
        if status.state != before { wake() }
      }
      loop.schedule(.pass, at: schedule.deadline(now: Clock.monotonic()))
      for event in try loop.wait() where event == .ready(.kernel) { readNotifications() }
    }
  }

  private mutating func pass() {
    let began = Clock.monotonic()
    var succeeded = true
    do {
      let changes = try filter.converge()
      if !changes.isEmpty {
        let cause = hasConverged ? lastChange.map { ", after a change by \($0)" } ?? "" : ""
        log.info("\(hasConverged ? "Repaired" : "Applied"): \(changes.joined(separator: "; "))\(cause)")
      }
      hasConverged = true
      lastFailure = nil
      status.state = .inPlace
    } catch {
      let text = "\(error)"
      if text != lastFailure { log.error("cannot set the packet filter rules, trying again: \(text)") }
      lastFailure = text
      status.state = .failed(text)
      succeeded = false
    }
    lastChange = nil
    schedule.finished(began: began, ended: Clock.monotonic(), succeeded: succeeded)
  }

  /// The rules of other programs change all the time; only what touches ours calls for a look.
  private mutating func readNotifications() {
    var concerned = false
    var cause: String?
    do throws(NetlinkError) {
      try monitor?.read { event in
        if case .generation(_, let pid, let program) = event {
          if concerned, cause == nil { cause = "\(program) (pid \(pid))" }
        } else if !concerned, event == .overflow || filter.concerns(event) {
          concerned = true
        }
      }
    } catch {
      log.warning("\(error); looking at all rules again")
      concerned = true
    }
    if concerned {
      schedule.changed()
      lastChange = cause
    }
  }
}
