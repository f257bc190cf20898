import Backends
import Firewall
import HostNetwork
import Logging
import NetTypes
import Netlink
import Subnets
import Syscalls

/// The agent once the interface is chosen: steps 10 to 18 of contract flanneld §3, then the loop. Owned by the main
/// thread.
struct OverlayAgent: ~Copyable {
  private let node: AgentNode
  private let log: Logger
  private let watcher: DirectoryWatcher
  private let subnetFile: SubnetFile
  private var path: VXLANDataPath
  private var lease: Lease
  private var hasWrittenSubnetFile = false
  private var subnetFileRetry: Int64 = 100_000_000
  private var isReady = false
  private let rules = RuleStatus()

  /// Time between looks at the whole registry, ns: a safety net behind the notifications.
  private static let rescan: Int64 = 300_000_000_000

  /// Creates or adopts the devices, then takes the lease that publishes them (contract flanneld §12.1). Nothing is
  /// taken from the registry when the devices cannot be had.
  init(_ node: AgentNode) throws(AgentFailure) {
    self.node = node
    log = node.log
    let families = node.configuration.enabledFamilies
    do {
      _ = try BackendType(named: node.configuration.backendType)
      let planner = VXLANPlanner(
        configuration: try VXLANConfiguration(node.configuration.backendOptions),
        networks: PerFamily { node.configuration.network($0) })
      try Self.check(planner, node)
      // The watcher listens before the first look, so that no lease is missed.
      let log = node.log
      let watcher = try DirectoryWatcher(path: node.registry.path) { log.warning("\($0)") }
      var path = try VXLANDataPath(
        planner: planner, interface: node.interface,
        storedMACs: Self.publishedMACs(watcher.snapshot, node), hasBlackholes: node.options.blackholeRoute,
        log: node.log)
      let macs = try path.register()
      let attributes = LeaseAttributes(
        publicIPs: node.interface.publicAddress, backendType: BackendType.vxlan.rawValue,
        backendData: PerFamily { family in
          macs[family].map { BackendData(VXLANData(vni: planner.configuration.vni, mac: $0).json) }
        })
      let previous = SubnetFile.previousSubnets(at: node.options.subnetFile) { log.warning("\($0)") }
      let lease: Lease
      do {
        lease = try node.registry.acquire(
          attributes, configuration: node.configuration, previous: previous, watcher: watcher)
      } catch {
        path.undoRegistration()
        throw error
      }
      log.info("Acquired the lease \(lease.key)")
      path.configure(own: lease.subnets)
      subnetFile = SubnetFile(
        networks: planner.networks, subnets: PerFamily { families.contains($0) ? lease.subnets[$0] : nil },
        mtu: families.map { planner.configuration.deviceMTU($0, underlayMTU: node.interface.mtu) }.min() ?? 0,
        masquerade: node.options.ipMasquerade)
      self.watcher = watcher
      self.path = path
      self.lease = lease
    } catch let error as AgentFailure {
      throw error
    } catch {
      throw AgentFailure("cannot register the network: \(error)")
    }
  }

  /// What would only show up as packets that do not arrive.
  private static func check(_ planner: VXLANPlanner, _ node: AgentNode) throws(AgentFailure) {
    let log = node.log
    for family in planner.networks.families {
      guard let network = planner.networks[family] else { continue }
      let name = family == .ipv4 ? "Network" : "IPv6Network"
      guard network.base.isGlobalUnicast, !family.multicast.overlaps(network) else {
        throw AgentFailure("\(name) \(network) is not a range of unicast addresses: choose a private one")
      }
      for ip in [node.interface.address[family], node.interface.publicAddress[family]].compactMap({ $0 })
      where network.contains(ip) {
        throw AgentFailure(
          "\(name) \(network) contains \(ip), the address of this node on \(node.interface.name): the pod network and the "
            + "network between the nodes must not overlap")
      }
      let mtu = planner.configuration.deviceMTU(family, underlayMTU: node.interface.mtu)
      let least: UInt32 = family == .ipv4 ? 576 : 1280
      if mtu < least {
        let outer = least + VXLANConfiguration.overhead(family)
        let cause = planner.configuration.mtu.map { "\"MTU\": \($0) in the Backend options" }
        throw AgentFailure(
          "\(cause ?? "the MTU \(node.interface.mtu) of \(node.interface.name)") leaves \(mtu) bytes inside the tunnel, "
            + "\(family == .ipv4 ? "IPv4" : "IPv6") needs \(least): set it to \(outer) or more")
      }
    }
    if let wanted = planner.configuration.mtu, wanted > node.interface.mtu {
      log.warning("\"MTU\": \(wanted) is more than \(node.interface.name) carries: using \(node.interface.mtu)")
    }
  }

  /// The MACs this node published before, so that they stay the same when the devices are made again.
  private static func publishedMACs(_ snapshot: LeaseSnapshot, _ node: AgentNode) -> PerFamily<MACAddress> {
    let own = snapshot.leases.first { lease in
      node.configuration.enabledFamilies.contains {
        let ip = node.interface.publicAddress[$0]
        return ip != nil && lease.attributes.publicIPs[$0] == ip
      }
    }
    return PerFamily { family in
      own?.attributes.backendData[family].flatMap { try? VXLANData(text: $0.text).mac }
    }
  }

  // MARK: the loop

  /// Runs until a signal, or until the lease is taken away.
  mutating func run(_ loop: inout AgentLoop) throws(AgentFailure) {
    guard try startRules(&loop) else { return }
    writeSubnetFile(&loop)
    readRegistry()
    loop.watch(path.descriptor, as: .kernel)
    loop.watch(watcher.descriptor, as: .registry)
    loop.schedule(.resync, after: Self.rescan)
    scheduleRenewal(&loop)
    log.info("Running backend.")
    reconcile(&loop)
    while true {
      let events: [AgentLoop.Event]
      do { events = try loop.wait() } catch { throw AgentFailure("\(error)") }
      for event in events {
        switch event {
        case .signal: return
        case .woken: updateReadiness()
        case .ready(.kernel): path.readNotifications()
        case .ready(.registry): readRegistry()
        case .due(.resync):
          loop.schedule(.resync, after: Self.rescan)
          readRegistry(everything: true)
        case .due(.renewal): renew()
        case .due(.subnetFile): writeSubnetFile(&loop)
        case .due(.quiet): Memory.release()
        case .due(.expiry): if watcher.expire() { path.leasesChanged() }
        default: break
        }
      }
      guard ownsLease() else {
        log.info("Lease has been revoked. Shutting down daemon.")
        return
      }
      reconcile(&loop)
      if let reason = path.restartReason { throw AgentFailure(reason) }
      scheduleRenewal(&loop)
    }
  }

  private mutating func reconcile(_ loop: inout AgentLoop) {
    let watcher = watcher
    if path.reconcileIfDue({ watcher.snapshot }) {
      updateReadiness()
      // Looked at again with each pass, and every hour: leases are renewed meanwhile and the wall clock may jump.
      let wait = (watcher.nextExpiration ?? .max).subtractingReportingOverflow(Clock.realtime())
      if path.hasGarbage { loop.schedule(.quiet, after: 500_000_000) }
      path.hasGarbage = false
      loop.schedule(.expiry, after: min(wait.overflow ? .max : wait.partialValue, 3_600_000_000_000) + 1_000_000)
    }
    if let deadline = path.deadline(now: Clock.monotonic()) { loop.schedule(.pass, at: deadline) }
  }

  // MARK: rules

  /// Has the rules set and waits for the outcome (contract flanneld §3, steps 12 to 15): pods get addresses only when
  /// their packets can leave. False when a signal arrived first.
  private mutating func startRules(_ loop: inout AgentLoop) throws(AgentFailure) -> Bool {
    let options = node.options
    let plan = PodNetworkPlan(
      rules: PerFamily { family in
        guard let network = subnetFile.networks[family], let pods = subnetFile.subnets[family] else { return nil }
        return PodNetworkRules(
          network: network, pods: pods, fullyRandom: !options.ipMasqueradeFullyRandomDisable)
      }, masquerades: options.ipMasquerade, forwards: options.iptablesForwardRules)
    let waker = loop.waker
    do {
      try RuleKeeper.start(
        plan, usesNftables: node.configuration.enableNFTables, resync: Int64(options.iptablesResync), status: rules,
        log: log
      ) { waker.wake() }
      while rules.state == .pending {
        for event in try loop.wait() { if case .signal = event { return false } }
      }
    } catch {
      throw AgentFailure("\(error)")
    }
    // Forwarding may be allowed without our rules; without masquerading no pod reaches the world.
    if case .failed(let reason) = rules.state, plan.masquerades {
      throw AgentFailure("cannot set up masquerading: \(reason)")
    }
    return true
  }

  private mutating func readRegistry(everything: Bool = false) {
    do {
      if try everything ? watcher.rescan() : watcher.read() { path.leasesChanged() }
    } catch {
      log.error("cannot read the registry, going on with what is known: \(error)")
    }
  }

  // MARK: lease

  /// The registry, without waiting for its lock: the loop has other things to do meanwhile.
  private var registry: DirectoryRegistry {
    var r = node.registry
    r.lockTimeout = 0
    return r
  }

  /// False when the lease was removed or given to another node. A lease that merely ended, on a machine that slept, is
  /// renewed.
  private mutating func ownsLease() -> Bool {
    if let seen = watcher.snapshot[lease.key], seen.attributes.publicIPs == lease.attributes.publicIPs { return true }
    do {
      lease = try registry.renew(lease)
      return true
    } catch .leaseLost(_, let reason) {
      log.warning("the lease \(lease.key) is gone: \(reason)")
      return false
    } catch .locked {
      renewalRetry = Clock.monotonic() &+ 1_000_000_000
      return true
    } catch {
      log.error("cannot check the lease: \(error)")
      return true
    }
  }

  private mutating func renew() {
    do {
      lease = try registry.renew(lease)
      log.info("Lease renewed: \(lease.key)")
    } catch .locked {
      renewalRetry = Clock.monotonic() &+ 1_000_000_000
    } catch {
      // Tried again a minute later; a lost lease is found by `ownsLease`.
      log.error("cannot renew the lease \(lease.key): \(error)")
      renewalRetry = Clock.monotonic() &+ 60_000_000_000
    }
  }

  private var renewalRetry: Int64?

  private mutating func scheduleRenewal(_ loop: inout AgentLoop) {
    if let retry = renewalRetry {
      renewalRetry = nil
      loop.schedule(.renewal, at: retry)
      return
    }
    guard loop.deadline(of: .renewal) == nil, let expiration = lease.expiration else { return }
    let margin = Int64(node.options.subnetLeaseRenewMargin) * 60_000_000_000
    // Looked at once an hour at least: the wall clock may jump.
    let wait = max(1_000_000_000, expiration - margin - Clock.realtime())
    if wait > 3_600_000_000_000 { return }
    loop.schedule(.renewal, after: wait)
  }

  // MARK: subnet.env and readiness

  /// Failure is not the end: it is tried again, and the node is not ready meanwhile (contract flanneld §19.4).
  private mutating func writeSubnetFile(_ loop: inout AgentLoop) {
    do throws(SystemError) {
      try subnetFile.write(to: node.options.subnetFile)
      hasWrittenSubnetFile = true
      log.info("Wrote subnet file to \(node.options.subnetFile)")
      updateReadiness()
    } catch {
      log.warning("cannot write the subnet file, trying again: \(error)")
      node.readiness.state = .notReady(reason: "cannot write the subnet file: \(error)")
      loop.schedule(.subnetFile, after: subnetFileRetry)
      subnetFileRetry = min(subnetFileRetry * 2, 10_000_000_000)
    }
  }

  private mutating func updateReadiness() {
    guard hasWrittenSubnetFile else { return }
    if case .failed(let reason) = rules.state {
      node.readiness.state = .notReady(reason: "packet filter rules: \(reason)")
    } else if path.isConverged {
      node.readiness.state = .ready
      if !isReady {
        log.info("flannel is ready")
        notifyServiceManager()
      }
      isReady = true
    } else {
      node.readiness.state = .notReady(reason: path.failureText)
    }
  }

  private func notifyServiceManager() {
    do { _ = try ServiceNotification.ready() } catch { log.warning("cannot notify the service manager: \(error)") }
  }
}
