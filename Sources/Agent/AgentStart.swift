import Glibc
import Logging
import NetTypes
import Netlink
import Subnets
import Syscalls

/// The agent from its options to its end, in the order of contract flanneld §3.
struct AgentStart {
  let options: AgentOptions
  let log: Logger
  let readiness = Readiness()

  /// Returns when a signal ended the agent.
  func run(_ loop: inout AgentLoop) throws(AgentFailure) {
    try checkEventQueueDepth()
    let registry = try openRegistry(loop.waker)
    let health = try startHealthServer()
    defer { health?.stop() }
    if let configuration = try awaitConfiguration(registry, &loop) {
      log.info("Found network config - Backend type: \(configuration.backendType)")
      try checkBridgeFilter(configuration)
      try runOverlay(registry, configuration, &loop)
    }
    // From here on a second signal kills the process (contract flanneld §3.1).
    loop.restoreSignals()
    log.info("Waiting for all goroutines to exit")
    log.info("Exiting cleanly...")
  }

  /// Returns when a signal came.
  private func runOverlay(
    _ registry: any LeaseRegistry, _ configuration: NetworkConfiguration, _ loop: inout AgentLoop
  ) throws(AgentFailure) {
    guard let overrides = try registry.prepare(configuration, &loop) else { return }
    var options = options
    if let ip = overrides[.ipv4] { options.publicIP = ip }
    if let ip = overrides[.ipv6] { options.publicIPv6 = ip }
    let node = AgentNode(
      options: options, configuration: configuration, interface: try chooseInterface(configuration, options),
      registry: registry, readiness: readiness, log: log)
    guard var running = try OverlayAgent.start(node, &loop) else { return }
    try running.run(&loop)
  }

  /// The variable sizes a queue that this agent does not have, but a bad value stays an error (contract flanneld §1.2).
  private func checkEventQueueDepth() throws(AgentFailure) {
    guard let text = Environment.get("EVENT_QUEUE_DEPTH"), !text.isEmpty else { return }
    guard let problem = AgentOptions.decimalProblem(text, as: Int.self) else { return }
    throw AgentFailure(
      "env EVENT_QUEUE_DEPTH=\(text) format error: strconv.Atoi: parsing \(goQuoted(text)): \(problem)")
  }

  private func openRegistry(_ waker: AgentLoop.Waker) throws(AgentFailure) -> any LeaseRegistry {
    if options.kubeSubnetManager {
      return try KubernetesLeases(options, readiness: readiness, waker: waker, log)
    }
    guard !options.registryDirectory.isEmpty else {
      throw AgentFailure(
        "etcd, the registry when no other one is named, is not supported by this version yet; use --kube-subnet-mgr on "
          + "a Kubernetes node, or --registry-dir DIR for nodes that share a machine")
    }
    return DirectoryLeases(options, log)
  }

  private func startHealthServer() throws(AgentFailure) -> HealthServer? {
    guard options.healthPort > 0 else { return nil }
    do {
      return try HealthServer(address: options.healthAddress, port: options.healthPort, readiness: readiness)
    } catch {
      throw AgentFailure("\(error)")
    }
  }

  /// Asks once a second until the configuration is usable; nil when a signal arrived first.
  private func awaitConfiguration(
    _ registry: any LeaseRegistry, _ loop: inout AgentLoop
  ) throws(AgentFailure) -> NetworkConfiguration? {
    while true {
      do {
        return try registry.configuration()
      } catch .configuration(_, .noFamily) {
        // Not retried: it is a decision, not a mistake (contract flanneld §2.1).
        throw AgentFailure("\(ConfigurationError.noFamily): enable EnableIPv4 or EnableIPv6")
      } catch {
        log.error("Couldn't fetch network config: \(error)")
        readiness.state = .notReady(reason: "waiting for the network config: \(error)")
      }
      loop.schedule(.configuration, after: 1_000_000_000)
      for event in try wait(&loop) {
        if case .signal = event { return nil }
      }
    }
  }

  private func wait(_ loop: inout AgentLoop) throws(AgentFailure) -> [AgentLoop.Event] {
    do { return try loop.wait() } catch { throw AgentFailure("\(error)") }
  }

  /// Without br_netfilter, packets between pods of one node bypass the packet filter and Services fail.
  private func checkBridgeFilter(_ configuration: NetworkConfiguration) throws(AgentFailure) {
    if configuration.enableNFTables { return }
    for family in configuration.enabledFamilies {
      let path = "/proc/sys/net/bridge/bridge-nf-call-ip\(family == .ipv6 ? "6" : "")tables"
      if Files.exists(path) { continue }
      throw AgentFailure("Failed to check br_netfilter: \(path) does not exist; load it with: modprobe br_netfilter")
    }
  }

  private func chooseInterface(
    _ configuration: NetworkConfiguration, _ options: AgentOptions
  ) throws(AgentFailure) -> ExternalInterface {
    let log = log
    do {
      var socket = try RouteSocket()
      let found = try ExternalInterface.observe(
        InterfaceOptions(options), families: configuration.enabledFamilies, socket: &socket
      ) { note in
        switch note {
        case .info(let text): log.info("\(text)")
        case .warning(let text): log.warning("\(text)")
        }
      }
      report(found)
      return found
    } catch let error as NetlinkError {
      throw AgentFailure("cannot open a netlink socket: \(error)")
    } catch {
      throw AgentFailure("\(error)")
    }
  }

  private func report(_ found: ExternalInterface) {
    for family in AddressFamily.allCases {
      guard let own = found.address[family], let published = found.publicAddress[family] else { continue }
      log.info("Using interface with name \(found.name) and address \(own)")
      if own == published {
        log.info("Defaulting external IPv\(family.rawValue) address to interface address (\(own))")
      } else {
        log.info("Using \(published) as external IPv\(family.rawValue) address")
      }
    }
  }
}
