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
  private let subnetFile: SubnetFile
  private var path: VXLANDataPath
  private var hasWrittenSubnetFile = false
  private var subnetFileRetry: Int64 = 100_000_000
  private var isReady = false
  private let rules = RuleStatus()

  private init(_ node: AgentNode, _ subnetFile: SubnetFile, _ path: consuming VXLANDataPath) {
    self.node = node
    self.subnetFile = subnetFile
    self.path = path
    log = node.log
  }

  /// Creates or adopts the devices, then takes the lease that publishes them (contract flanneld §12.1). Nothing is
  /// taken from the registry when the devices cannot be had.
  /// - Returns: nil when a signal arrived first.
  static func start(_ node: AgentNode, _ loop: inout AgentLoop) throws(AgentFailure) -> OverlayAgent? {
    let families = node.configuration.enabledFamilies
    let planner = try makePlanner(node)
    var path = try makePath(node, planner)
    let macs: PerFamily<MACAddress>
    do { macs = try path.register() } catch { throw AgentFailure("cannot register the network: \(error)") }
    let attributes = LeaseAttributes(
      publicIPs: node.interface.publicAddress, backendType: BackendType.vxlan.rawValue,
      backendData: PerFamily { family in
        macs[family].map { BackendData(VXLANData(vni: planner.configuration.vni, mac: $0).json) }
      })
    let acquired: Lease?
    do throws(AgentFailure) { acquired = try node.registry.acquire(attributes, node, &loop) } catch {
      path.undoRegistration()
      throw error
    }
    guard let lease = acquired else {
      path.undoRegistration()
      return nil
    }
    node.log.info("Acquired the lease \(lease.title)")
    path.configure(own: lease.subnets)
    let subnetFile = SubnetFile(
      networks: planner.networks, subnets: PerFamily { families.contains($0) ? lease.subnets[$0] : nil },
      mtu: families.map { planner.configuration.deviceMTU($0, underlayMTU: node.interface.mtu) }.min() ?? 0,
      masquerade: node.options.ipMasquerade)
    return OverlayAgent(node, subnetFile, path)
  }

  private static func makePlanner(_ node: AgentNode) throws(AgentFailure) -> VXLANPlanner {
    do {
      _ = try BackendType(named: node.configuration.backendType)
      let planner = VXLANPlanner(
        configuration: try VXLANConfiguration(node.configuration.backendOptions),
        networks: PerFamily { node.configuration.network($0) })
      try check(planner, node)
      return planner
    } catch let error as AgentFailure {
      throw error
    } catch {
      throw AgentFailure("cannot register the network: \(error)")
    }
  }

  private static func makePath(_ node: AgentNode, _ planner: VXLANPlanner) throws(AgentFailure) -> VXLANDataPath {
    do {
      return try VXLANDataPath(
        planner: planner, interface: node.interface, storedMACs: node.registry.publishedMACs(node),
        hasBlackholes: node.options.blackholeRoute, log: node.log)
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

  // MARK: the loop

  /// Runs until a signal, or until the lease is taken away.
  mutating func run(_ loop: inout AgentLoop) throws(AgentFailure) {
    guard try startRules(&loop) else { return }
    writeSubnetFile(&loop)
    loop.watch(path.descriptor, as: .kernel)
    node.registry.attach(to: &loop)
    log.info("Running backend.")
    reconcile(&loop)
    while true {
      let events: [AgentLoop.Event]
      do { events = try loop.wait() } catch { throw AgentFailure("\(error)") }
      for event in events {
        switch event {
        case .signal: return
        case .woken: updateReadiness(&loop)
        case .ready(.kernel): path.readNotifications()
        case .due(.subnetFile): writeSubnetFile(&loop)
        case .due(.quiet): Memory.release()
        default: break
        }
        if node.registry.handle(event, &loop) { path.leasesChanged() }
      }
      guard try node.registry.tend(&loop) else {
        log.info("Lease has been revoked. Shutting down daemon.")
        return
      }
      reconcile(&loop)
      if let reason = path.restartReason { throw AgentFailure(reason) }
    }
  }

  private mutating func reconcile(_ loop: inout AgentLoop) {
    let registry = node.registry
    if path.reconcileIfDue({ registry.snapshot }) {
      updateReadiness(&loop)
      if path.hasGarbage { loop.schedule(.quiet, after: 500_000_000) }
      path.hasGarbage = false
      registry.applied(&loop)
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

  // MARK: subnet.env and readiness

  /// Failure is not the end: it is tried again, and the node is not ready meanwhile (contract flanneld §19.4).
  private mutating func writeSubnetFile(_ loop: inout AgentLoop) {
    do throws(SystemError) {
      try subnetFile.write(to: node.options.subnetFile)
      hasWrittenSubnetFile = true
      log.info("Wrote subnet file to \(node.options.subnetFile)")
      updateReadiness(&loop)
    } catch {
      log.warning("cannot write the subnet file, trying again: \(error)")
      node.readiness.state = .notReady(reason: "cannot write the subnet file: \(error)")
      loop.schedule(.subnetFile, after: subnetFileRetry)
      subnetFileRetry = min(subnetFileRetry * 2, 10_000_000_000)
    }
  }

  private mutating func updateReadiness(_ loop: inout AgentLoop) {
    guard hasWrittenSubnetFile else { return }
    if case .failed(let reason) = rules.state {
      node.readiness.state = .notReady(reason: "packet filter rules: \(reason)")
    } else if path.isConverged {
      node.readiness.state = .ready
      if !isReady {
        log.info("flannel is ready")
        notifyServiceManager()
        isReady = true
        node.registry.networkIsUp(&loop)
      }
    } else {
      node.readiness.state = .notReady(reason: path.failureText)
    }
  }

  private func notifyServiceManager() {
    do { _ = try ServiceNotification.ready() } catch { log.warning("cannot notify the service manager: \(error)") }
  }
}
