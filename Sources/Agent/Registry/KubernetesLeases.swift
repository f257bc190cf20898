import KubeClient
import KubeTypes
import Logging
import NetTypes
import Subnets
import Syscalls

/// The nodes of Kubernetes as registry (contract flanneld §6): a node's pod CIDR is its lease, its annotations are the
/// attributes.
///
/// What is known is written to a file beside subnet.env: an agent that starts while the API server is away goes on with
/// the nodes of the run before.
final class KubernetesLeases: LeaseRegistry {
  private let options: AgentOptions
  private let log: Logger
  private let readiness: Readiness
  private let waker: AgentLoop.Waker
  private let network: NetworkConfiguration
  private let names: AnnotationNames
  private let client: KubeClient
  private let archivePath: String

  private var nodeName = ""
  private var watcher: NodeWatcher?
  private var nodes: NodeLeases
  private var ownNode: KubeNode?
  private var subnets = PerFamily<IPPrefix>()
  private var publisher: NodePublisher?
  private var attributes: LeaseAttributes?
  /// What is known comes from the file of an earlier run.
  private var isArchived = false
  private var needsArchive = false
  private var loggedProblem: KubeError?
  private var loggedWarnings: Set<String> = []
  private var reported: Set<String> = []

  /// How long to wait for the first list of the nodes, ns (contract flanneld §3, step 2).
  private static let longestWait: Int64 = 600_000_000_000
  /// How long the API server may be silent before the nodes of an earlier run are used, ns.
  private static let patience: Int64 = 5_000_000_000
  /// How long registering may take, ns (contract flanneld §6.3).
  private static let longestRegistration: Int64 = 30_000_000_000

  /// Reads the configuration and looks for credentials; nothing is sent yet.
  init(
    _ options: AgentOptions, readiness: Readiness, waker: AgentLoop.Waker, _ log: Logger
  ) throws(AgentFailure) {
    self.options = options
    self.log = log
    self.readiness = readiness
    self.waker = waker
    do {
      network = try Self.readConfiguration(options.networkConfigPath)
      names = try AnnotationNames(prefix: options.kubeAnnotationPrefix)
      var settings = KubeClient.Settings()
      settings.userAgent = "\(Version.name)/\(Version.number)"
      client = KubeClient(
        try ClusterAccess.find(apiURL: options.kubeAPIURL, kubeconfig: options.kubeconfigFile), settings: settings)
    } catch {
      throw AgentFailure("cannot create the Kubernetes subnet manager: \(error)")
    }
    archivePath = Files.split(options.subnetFile).directory + "/weft-nodes.json"
    nodes = NodeLeases(reader: NodeLeaseReader(names: names, families: network.enabledFamilies), own: "")
  }

  deinit {
    watcher?.stop()
    client.stop()
  }

  private static func readConfiguration(_ path: String) throws(RegistryError) -> NetworkConfiguration {
    let bytes: [UInt8]
    do { bytes = try Files.read(path, limit: 1 << 20) } catch {
      throw error.errno == .noEntry ? .configurationMissing(path: path) : .system(error)
    }
    do {
      let out = try NetworkConfiguration(parsing: bytes)
      try out.validate(pools: false)
      return out
    } catch { throw .configuration(path: path, error) }
  }

  func configuration() throws(RegistryError) -> NetworkConfiguration { network }

  var snapshot: LeaseSnapshot { nodes.snapshot }

  // MARK: start

  func prepare(_ configuration: NetworkConfiguration, _ loop: inout AgentLoop) throws(AgentFailure) -> PerFamily<
    String
  >? {
    guard let name = try findNodeName(&loop) else { return nil }
    nodeName = name
    log.info("Created subnet manager: Kubernetes Subnet Manager - \(name)")
    nodes = NodeLeases(reader: NodeLeaseReader(names: names, families: network.enabledFamilies), own: name)
    let waker = waker
    let began = Clock.monotonic()
    let watcher: NodeWatcher = client.watch(annotations: .prefix(names.prefix)) { waker.wake() }
    self.watcher = watcher
    let isThere = try wait(&loop) { () throws(AgentFailure) in
      _ = take()
      if ownNode == nil { try adoptArchive(waited: Clock.monotonic() - began) }
      return try hasSubnets(waited: Clock.monotonic() - began)
    }
    guard isThere, let ownNode else { return nil }
    return PerFamily { ownNode.nodePublicIP($0, names: names) }
  }

  /// From the environment, or from the pod this is (contract flanneld §1.2).
  private func findNodeName(_ loop: inout AgentLoop) throws(AgentFailure) -> String? {
    if let name = Environment.get("NODE_NAME"), !name.isEmpty { return name }
    guard let pod = Environment.get("POD_NAME"), let space = Environment.get("POD_NAMESPACE"), !pod.isEmpty,
      !space.isEmpty
    else {
      throw AgentFailure(
        "env variables POD_NAME and POD_NAMESPACE must be set, or NODE_NAME to the name of the Kubernetes node")
    }
    var request = PodRequest(client: client, name: pod, namespace: space, waker: waker)
    var found: String?
    let isThere = try wait(&loop) { () throws(AgentFailure) in
      switch request.advance(now: Clock.monotonic()) {
      case nil: return false
      case .success(let object)?:
        guard !object.nodeName.isEmpty else {
          throw AgentFailure("node name not present in pod spec '\(space)/\(pod)'")
        }
        found = object.nodeName
      case .failure(let error)?:
        tell(error)
        readiness.state = .notReady(reason: "\(error)")
        // The server being away is no reason to forget which node this is.
        if error.isOutage, let archive = readArchive() { found = archive.own.name }
      }
      return found != nil
    }
    return isThere ? found : nil
  }

  private func readArchive() -> (own: KubeNode, others: [KubeNode])? {
    do { return try NodeArchive.read(archivePath) } catch {
      log.warning("cannot read the nodes of an earlier run: \(error)")
      return nil
    }
  }

  /// While the API server does not answer, goes on with the nodes of an earlier run.
  private func adoptArchive(waited: Int64) throws(AgentFailure) {
    guard let watcher, !watcher.isSynced, watcher.problem != nil || waited > Self.patience,
      let archive = readArchive(), archive.own.name == nodeName
    else { return }
    log.warning(
      "the nodes cannot be listed: going on with the \(archive.others.count + 1) nodes of an earlier run in \(archivePath)"
    )
    ownNode = archive.own
    _ = nodes.put(archive.others)
    isArchived = true
  }

  /// Whether this node can take part, and if not says why.
  private func hasSubnets(waited: Int64) throws(AgentFailure) -> Bool {
    guard let node = ownNode else {
      let reason =
        watcher?.problem?.description
        ?? (watcher?.isSynced == true
          ? "there is no node \"\(nodeName)\": has kubelet registered it, and is NODE_NAME right?"
          : "waiting for the list of the nodes")
      readiness.state = .notReady(reason: reason)
      if waited > Self.longestWait, Environment.get("CONT_WHEN_CACHE_NOT_READY") != "true" {
        throw AgentFailure("timed out waiting for the nodes: \(reason)")
      }
      return false
    }
    do throws(OwnSubnetError) {
      subnets = try node.ownSubnets(in: network)
      return true
    } catch {
      report(error.isTemporary ? "PodCIDRNotAssigned" : "PodCIDRNotUsable", "\(error)")
      guard error.isTemporary else { throw AgentFailure("\(error)") }
      readiness.state = .notReady(reason: "\(error)")
      return false
    }
  }

  func publishedMACs(_ node: AgentNode) -> PerFamily<MACAddress> {
    guard let ownNode else { return PerFamily() }
    let reader = NodeLeaseReader(names: names, families: network.enabledFamilies)
    let own = try? reader.attributes(of: ownNode)
    return PerFamily { own?.vxlanMAC($0) }
  }

  func acquire(
    _ attributes: LeaseAttributes, _ node: AgentNode, _ loop: inout AgentLoop
  ) throws(AgentFailure) -> Lease? {
    self.attributes = attributes
    let publisher = NodePublisher(client: client, nodeName: nodeName, names: names, log: log, waker: waker)
    publisher.attributes = attributes
    self.publisher = publisher
    let end = Clock.monotonic() + Self.longestRegistration
    let isPublished = try wait(&loop) { () throws(AgentFailure) in
      _ = take()
      publish()
      if isArchived || publisher.isPublished { return true }
      if let problem = publisher.problem { readiness.state = .notReady(reason: "\(problem)") }
      guard Clock.monotonic() < end else {
        throw AgentFailure(
          "timeout contacting kube-api, failed to patch node \"\(nodeName)\". Error: "
            + (publisher.problem?.description ?? "no answer"))
      }
      return false
    }
    guard isPublished else { return nil }
    var lease = Lease(subnets: subnets, attributes: attributes)
    lease.node = nodeName
    return lease
  }

  /// Waits in the loop until something is so, which is asked after each event and now and then.
  /// - Returns: false when a signal came first.
  private func wait(
    _ loop: inout AgentLoop, until isSo: () throws(AgentFailure) -> Bool
  ) throws(AgentFailure) -> Bool {
    while try !isSo() {
      loop.schedule(.registry, after: 200_000_000)
      do {
        for event in try loop.wait() { if case .signal = event { return false } }
      } catch {
        throw AgentFailure("\(error)")
      }
    }
    loop.cancel(.registry)
    return true
  }

  // MARK: the loop

  func attach(to loop: inout AgentLoop) {
    needsArchive = true
    schedulePublication(&loop)
  }

  func handle(_ event: AgentLoop.Event, _ loop: inout AgentLoop) -> Bool {
    switch event {
    case .woken: return take()
    case .due(.archive):
      writeArchive()
      // In a large cluster that took megabytes.
      loop.schedule(.quiet, after: 500_000_000)
      return false
    default: return false
    }
  }

  func tend(_ loop: inout AgentLoop) throws(AgentFailure) -> Bool {
    if let ownNode, let now = try? ownNode.ownSubnets(in: network), now != subnets {
      throw AgentFailure(
        "the pod cidr of node \"\(nodeName)\" is \(now.values.map(\.description).joined(separator: ", ")) now, it was "
          + "\(subnets.values.map(\.description).joined(separator: ", ")): ending, so that the next start takes it")
    }
    publish()
    schedulePublication(&loop)
    return true
  }

  func applied(_ loop: inout AgentLoop) {
    guard needsArchive, !isArchived, loop.deadline(of: .archive) == nil else { return }
    // Not at once: at the start the nodes are busy with better things, and later changes come in crowds.
    loop.schedule(.archive, after: 2_000_000_000)
  }

  func networkIsUp(_ loop: inout AgentLoop) {
    publisher?.saysNetworkIsUp = options.setNodeNetworkUnavailable
    publish()
    schedulePublication(&loop)
  }

  private func publish() {
    if let changed = publisher?.advance(ownNode, now: Clock.monotonic()) { ownNode = changed }
  }

  private func schedulePublication(_ loop: inout AgentLoop) {
    if let retry = publisher?.retryAt { loop.schedule(.registry, at: retry) }
  }

  /// Takes in what the watcher has seen.
  private func take() -> Bool {
    guard let watcher else { return false }
    tell(watcher.problem)
    guard let changes = watcher.takeChanges() else { return false }
    var isChanged = false
    if isArchived {
      isArchived = false
      isChanged = nodes.keep { watcher[$0] != nil }
      log.info("the nodes are listed again")
    }
    if let own = changes.changed.last(where: { $0.name == nodeName }) {
      ownNode = own
      needsArchive = true
    } else if changes.removed.contains(nodeName) {
      log.warning("node \"\(nodeName)\" was removed from Kubernetes; its network stays as it is")
    }
    if nodes.put(changes.changed) { isChanged = true }
    if nodes.remove(changes.removed) { isChanged = true }
    let warnings = nodes.warnings
    for text in warnings where !loggedWarnings.contains(text) { log.warning("\(text)") }
    loggedWarnings = Set(warnings)
    if isChanged { needsArchive = true }
    return isChanged
  }

  private func tell(_ problem: KubeError?) {
    guard problem != loggedProblem else { return }
    if let problem {
      log.error("\(problem); going on with what is known")
    } else {
      log.info("the API server answers again")
    }
    loggedProblem = problem
  }

  private func writeArchive() {
    guard let ownNode, let watcher, watcher.isSynced else { return }
    needsArchive = false
    do {
      try NodeArchive.write(own: ownNode, others: watcher.objects, prefix: names.prefix, to: archivePath)
    } catch {
      log.warning("cannot keep the nodes for the next start: \(error)")
    }
  }

  /// Tells those who look at the node in Kubernetes; each thing once.
  private func report(_ reason: String, _ message: String) {
    guard reported.insert(reason + message).inserted else { return }
    log.warning("\(message)")
    let log = log
    client.report(
      KubeEvent(
        about: KubeNode.resource, name: nodeName, uid: nodeName, isWarning: true, reason: reason, message: message,
        component: Version.name, host: nodeName, time: Clock.realtime() / 1_000_000_000), timeout: 10_000_000_000
    ) { error in
      if let error { log.warning("\(error)") }
    }
  }
}

extension KubeError {
  /// The server could not be asked, in contrast to one that says no.
  var isOutage: Bool {
    switch failure {
    case .connection, .silence: true
    case .refused(let status): status.code >= 500
    case .malformed, .credentials: false
    }
  }
}
