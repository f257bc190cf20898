import Glibc
import JSON
import NetTypes
import Subnets
import Syscalls

/// Nodes and pods of a cluster in network namespaces on one machine. All state is in a directory and in the kernel, so
/// that every command may run in a process of its own, and any of them may be killed at any time.
public struct Lab: Sendable {
  /// Where the state is.
  public let directory: LabDirectory
  /// The path of this program, which is run again for everything that happens on a node.
  public let program: String
  /// Directories of CNI plugins, in the order they are searched.
  public let pluginPath: [String]
  /// Is told what is being done, a line per step.
  public let report: @Sendable (String) -> Void

  /// Nothing is made or looked at yet.
  public init(
    directory: LabDirectory, program: String, pluginPath: [String],
    report: @escaping @Sendable (String) -> Void = { _ in }
  ) {
    self.directory = directory
    self.program = program
    self.pluginPath = pluginPath
    self.report = report
  }

  /// Names of the lab.
  public var names: LabNames { directory.names }

  /// Directories searched for plugins: the given one, else `$WEFT_CNI_PATH`, else `cni` beside the program; then
  /// Debian's, for lists with plugins that are not ours.
  public static func pluginPath(given: String?, program: String) -> [String] {
    let first = given ?? Environment.get("WEFT_CNI_PATH") ?? "\(Files.split(program).directory)/cni"
    return first.split(separator: ":").map(String.init) + ["/usr/lib/cni"]
  }

  /// The words that run the rest of a command line on a node.
  func enterWords(_ node: String) -> [String] {
    ["lab", "enter", "--name", names.lab, "--state-dir", directory.root, "--node", node]
  }

  /// - Throws: unless we are root.
  public static func requireRoot() throws(LabError) {
    guard geteuid() == 0 else {
      throw LabError("a lab needs root: it makes network namespaces and devices", advice: "run it with sudo")
    }
  }

  /// Runs a command that changes the lab; only one does at a time.
  func exclusively<R>(_ body: () throws -> R) throws -> R {
    try Self.requireRoot()
    let lock = try LabLock.take(directory, seconds: 10)
    defer { lock.release(directory) }
    return try body()
  }

  // MARK: up

  /// How a lab is made.
  public struct UpOptions: Sendable {
    /// A CNI configuration list to use in place of flannel's; its text.
    public var conflist: String?
    /// Whether agents are started and pods made; without them it is the nodes and their underlay only.
    public var withAgents: Bool
    /// The process the lab belongs to; nil = it stays until it is removed.
    public var owner: ProcessIdentity?

    /// Flannel's list, agents, and no owner unless said otherwise.
    public init(conflist: String? = nil, withAgents: Bool = true, owner: ProcessIdentity? = nil) {
      self.conflist = conflist
      self.withAgents = withAgents
      self.owner = owner
    }
  }

  /// Makes a lab. When a step fails everything is removed again.
  public func up(_ plan: LabPlan, _ options: UpOptions = UpOptions()) throws {
    try exclusively {
      guard !Files.exists(directory.path), directory.namespaces().isEmpty else {
        throw LabError(
          "there is a lab \"\(names.lab)\" already", advice: "`weft lab down --name \(names.lab)` removes it")
      }
      let conflist = options.conflist ?? PodNetwork.flannelConflist
      try PodNetwork.check(conflist, plugins: options.withAgents && plan.pods > 0 ? pluginPath : nil)
      do {
        try build(plan, conflist, options)
      } catch {
        guard Files.exists(directory.path) || !directory.namespaces().isEmpty else { throw error }
        report("removing what was made")
        Interruption.forget()
        try? removeEverything(deletePods: false)
        throw error
      }
    }
  }

  private func build(_ plan: LabPlan, _ conflist: String, _ options: UpOptions) throws {
    let nodes = (1...plan.nodes).map { directory.node(LabNames.node($0)) }
    try LabError.step("cannot make the lab's directory") { try makeDirectories(plan, nodes, conflist, options.owner) }
    report("making \(count(plan.nodes, "node")), the underlay \(LabPlan.underlay) and an internet")
    try LabError.step("cannot make the nodes") { try Underlay.create(names, plan) }
    guard options.withAgents else { return }
    report("starting \(count(plan.nodes, "agent"))")
    let agents = nodes.map { NodeAgent(lab: self, node: $0) }
    for agent in agents { try agent.start() }
    let patience = 15 + Double(plan.nodes)
    for agent in agents { try agent.waitUntilReady(seconds: patience) }
    report("waiting until every node has a route to every other")
    try waitForRoutes(plan, seconds: patience)
    if plan.pods > 0 { report("adding \(count(plan.pods * plan.nodes, "pod"))") }
    for p in 0..<plan.pods {
      for node in nodes { try addPod(PodName(node: node.name, name: "p\(p + 1)")) }
    }
    if plan.pods > 0 { try settle(plan) }
  }

  private func makeDirectories(
    _ plan: LabPlan, _ nodes: [NodeDirectory], _ conflist: String, _ owner: ProcessIdentity?
  ) throws {
    try Files.makeDirectory(directory.path)
    if let owner {
      try Files.writeAtomically(owner.record.utf8, to: directory.ownerFile, mode: 0o644, durable: false)
    }
    try directory.write(plan)
    try Files.makeDirectory(directory.registry)
    let netConf = Array(plan.netConf.text(.pretty).utf8) + [0x0a]
    try Files.writeAtomically(netConf, to: "\(directory.registry)/config", mode: 0o644, durable: false)
    for node in nodes {
      try node.create()
      try Files.writeAtomically(conflist.utf8, to: node.conflist, mode: 0o644, durable: false)
    }
  }

  /// Waits until the kernel of every node has a route to the subnets of all others.
  private func waitForRoutes(_ plan: LabPlan, seconds: Double) throws {
    let nodes = directory.nodeNames()
    var subnets: [(node: String, prefix: IPPrefix)] = []
    for node in nodes {
      let file = directory.node(node).subnetFile
      let own = SubnetFile.previousSubnets(at: file) { _ in }
      for family in plan.families {
        guard let subnet = own[family] else { throw LabError("\(file) names no \(family) subnet") }
        if let other = subnets.first(where: { $0.prefix.overlaps(subnet) }) {
          throw LabError("nodes \(other.node) and \(node) both have the subnet \(subnet)")
        }
        subnets.append((node, subnet))
      }
    }
    var missing = ""
    let complete = try waitUntil(seconds: seconds) {
      for node in nodes {
        let view = try NamespaceView(namespace: names.namespace(node: node))
        let there = Set(view.routes.map(\.destination))
        if let gap = subnets.first(where: { $0.node != node && !there.contains($0.prefix) }) {
          missing = "node \(node) has no route to \(gap.prefix), the subnet of \(gap.node)"
          return false
        }
      }
      return true
    }
    if !complete { throw LabError("after \(Int(seconds)) s \(missing)") }
  }

  // MARK: down

  /// Removes a lab, or whatever is left of one. A lab that is not there is no error.
  /// - Returns: false when there was nothing.
  @discardableResult
  public func down() throws -> Bool {
    try exclusively {
      guard Files.exists(directory.path) || !directory.namespaces().isEmpty else { return false }
      try removeEverything(deletePods: true)
      return true
    }
  }

  /// - Parameter deletePods: also let the plugins remove the pods' attachments, as far as that is possible.
  func removeEverything(deletePods: Bool) throws {
    if deletePods { deleteAllPods(seconds: 10) }
    let processes = directory.nodeNames().compactMap { ProcessIdentity(file: directory.node($0).pidFile) }
    for process in processes { process.signal(SIGTERM) }
    var problems: [String] = []
    for process in processes where !process.end(grace: 2) { problems.append("process \(process.pid) does not end") }
    for process in LabProcesses(directory).end() { problems.append("process \(process.pid) does not end") }
    for name in directory.namespaces() {
      do { try removeNamespace(name) } catch { problems.append("namespace \(name): \(error)") }
    }
    do { try removeDirectory(seconds: 2) } catch { problems.append("\(error)") }
    guard problems.isEmpty else {
      throw LabError(
        "lab \"\(names.lab)\" could not be removed completely", advice: "run the command again", details: problems)
    }
  }

  /// Removes the lab's directory; tries again when something was written into it meanwhile.
  private func removeDirectory(seconds: Int64) throws {
    let deadline = Clock.monotonic() + seconds * 1_000_000_000
    while true {
      do {
        return try Files.removeTree(directory.path)
      } catch {
        guard Clock.monotonic() < deadline else { throw error }
        Clock.sleep(nanoseconds: 20_000_000)
      }
    }
  }

  // MARK: nodes

  /// Starts, stops (SIGTERM) or kills (SIGKILL) the agent of a node.
  public enum NodeAction: String, Sendable, CaseIterable { case start, stop, kill }

  /// - Returns: what was done, in a sentence.
  public func node(_ name: String, _ action: NodeAction) throws -> String {
    try exclusively {
      _ = try directory.readPlan()
      let agent = NodeAgent(lab: self, node: try node(named: name))
      switch action {
      case .start:
        if case .running(let pid) = agent.state { return "the agent of \(name) runs already (pid \(pid))" }
        _ = try Files.remove(agent.node.pidFile)
        try agent.start()
        try agent.waitUntilReady(seconds: 15)
        return "the agent of \(name) is ready"
      case .stop, .kill:
        let ran = try agent.end(grace: action == .stop ? 10 : 0)
        if action == .stop { try Files.remove(agent.node.pidFile) }
        guard ran else { return "the agent of \(name) did not run" }
        return "the agent of \(name) was \(action == .stop ? "stopped" : "killed")"
      }
    }
  }

  /// The directory of a node.
  /// - Throws: with the names of all nodes when there is none of that name.
  public func node(named name: String) throws -> NodeDirectory {
    let known = directory.nodeNames()
    guard known.contains(name) else {
      throw LabError("there is no node \"\(name)\" in lab \"\(names.lab)\"", advice: "its nodes are \(list(known))")
    }
    return directory.node(name)
  }

  // MARK: exec

  /// Where a command can run.
  public enum Place: Hashable, Sendable {
    case node(String)
    case pod(PodName)
    case internet
  }

  /// The node or pod of a name, or the internet; a pod may be named without its node when that is clear.
  public func place(_ name: String) throws -> Place {
    _ = try directory.readPlan()
    let nodes = directory.nodeNames()
    if nodes.contains(name) { return .node(name) }
    if name == Internet.name { return .internet }
    let pods = podNames()
    let matches = pods.filter { $0.description == name || $0.name == name }
    if let exact = matches.first(where: { $0.description == name }) { return .pod(exact) }
    if matches.count == 1, let only = matches.first { return .pod(only) }
    if matches.count > 1 {
      throw LabError("\"\(name)\" may be any of \(list(matches.map(\.description)))", advice: "name the node, too")
    }
    throw LabError(
      "there is no node or pod \"\(name)\" in lab \"\(names.lab)\"",
      advice: "its nodes are \(list(nodes)); its pods are \(list(pods.map(\.description)))")
  }

  /// Becomes a command on a node, recording its own process first when asked to.
  public func runOnNode(_ name: String, pidFile: String?, _ command: [String]) throws -> Never {
    if let pidFile, let own = ProcessIdentity(running: getpid()) {
      try Files.writeAtomically(own.record.utf8, to: pidFile, mode: 0o644, durable: false)
    }
    try Enter.node(try node(named: name), names: names)
    try Enter.run(command)
  }

  /// Makes the calling program run there; see `Enter`.
  public func enter(_ place: Place) throws {
    switch place {
    case .node(let name): try Enter.node(directory.node(name), names: names)
    case .pod(let pod): try Enter.network(names.namespace(pod: pod))
    case .internet: try Enter.network(names.internet)
    }
  }
}

/// `3 nodes`, `1 node`
func count(_ n: Int, _ noun: String) -> String { "\(n) \(noun)\(n == 1 ? "" : "s")" }

/// `n1, n2, n3`, at most 12 of them; `none`
func list(_ names: [String]) -> String {
  if names.isEmpty { return "none" }
  let shown = names.prefix(12).joined(separator: ", ")
  return names.count > 12 ? "\(shown) and \(names.count - 12) more" : shown
}
