import CNI
import Netlink
import NetTypes
import Syscalls

extension Lab {
  /// The pods of all nodes, in order.
  public func podNames() -> [PodName] { directory.nodeNames().flatMap { directory.node($0).podNames() } }

  /// The pod of a name.
  func pod(named name: String) throws -> PodName {
    guard case .pod(let pod) = try place(name) else {
      throw LabError("\"\(name)\" is no pod", advice: "the pods are \(list(podNames().map(\.description)))")
    }
    return pod
  }

  /// Adds a pod to a node.
  /// - Parameters:
  ///   - name: its name on the node; nil = the first free one of p1, p2, …
  ///   - ports: ports of the node that lead to it.
  public func podAdd(node: String, name: String?, ports: [HostPort] = []) throws -> PodStatus {
    try exclusively {
      let plan = try directory.readPlan()
      let node = try self.node(named: node)
      let taken = Set(node.podNames().map(\.name))
      let free = name ?? (1...).lazy.map { "p\($0)" }.first { !taken.contains($0) } ?? "p"
      let pod = try PodName(node: node.name, name: free)
      guard !taken.contains(free) else {
        throw LabError(
          "node \(node.name) has a pod \"\(free)\" already", advice: "its pods are \(list(taken.sorted()))")
      }
      if !ports.isEmpty {
        try HostPort.check(ports, plan, node: node.name, others: hostPorts(of: node))
        try PodNetwork(lab: self, node: node).checkMakesPorts()
      }
      try addPod(pod, ports)
      try settle(plan)
      let view = try? NamespaceView(namespace: names.namespace(node: node.name))
      return PodStatus(pod, node: view, names, ports)
    }
  }

  /// Removes a pod.
  public func podRemove(_ name: String) throws -> PodName {
    try exclusively {
      let pod = try pod(named: name)
      try removePod(pod)
      return pod
    }
  }

  /// The host ports of a node's pods, by their records.
  func hostPorts(of node: NodeDirectory) -> [(pod: PodName, port: HostPort)] {
    node.podNames().flatMap { pod in (node.record(pod)?.ports ?? []).map { (pod, $0) } }
  }

  /// Makes the namespace and lets the plugins connect it; nothing is left when that fails.
  func addPod(_ pod: PodName, _ ports: [HostPort] = []) throws {
    try Interruption.check()
    let node = directory.node(pod.node)
    var record = PodRecord(pod: pod, containerID: PodRecord.newContainerID(), ports: ports)
    let network = PodNetwork(lab: self, node: node)
    try node.write(record)
    do {
      try NetworkNamespace.create(path: network.namespacePath(pod))
      record.addresses = try network.add(record).ips.map(\.address)
      try node.write(record)
    } catch {
      try? removePod(pod)
      throw LabError("cannot connect pod \(pod): \(error)")
    }
  }

  /// Waits until no IPv6 address is tentative any more: until then the kernel neither uses a pod's address nor answers
  /// for a gateway. A bridge gets its address with its first pod, and the check takes up to two seconds.
  func settle(_ plan: LabPlan) throws {
    guard plan.families.contains(.ipv6) else { return }
    report("waiting for IPv6 duplicate address detection")
    let places = directory.nodeNames().map(names.namespace(node:)) + podNames().map(names.namespace(pod:))
    var waiting = places[...]
    _ = try waitUntil(seconds: 5) {
      while let place = waiting.first {
        if let view = try? NamespaceView(namespace: place), view.hasTentativeAddress { return false }
        waiting.removeFirst()
      }
      return true
    }
  }

  private func removePod(_ pod: PodName) throws {
    let node = directory.node(pod.node)
    if let record = node.record(pod) {
      try LabError.step("cannot disconnect pod \(pod)") { try PodNetwork(lab: self, node: node).delete(record) }
    }
    try removeNamespace(names.namespace(pod: pod))
    try Files.remove(node.podFile(pod))
  }

  /// Removes a network namespace, and what would keep its devices alive: ends of veths.
  func removeNamespace(_ name: String) throws {
    try NetworkNamespace.remove(path: LabNames.path(name))
  }

  /// Lets the plugins disconnect all pods, as far as they can and time permits: their node may be gone, or half made.
  func deleteAllPods(seconds: Int64) {
    let deadline = Clock.monotonic() + seconds * 1_000_000_000
    for pod in podNames() where Clock.monotonic() < deadline {
      let node = directory.node(pod.node)
      guard let record = node.record(pod), Files.exists(LabNames.path(names.namespace(node: pod.node))) else {
        continue
      }
      do {
        try PodNetwork(lab: self, node: node).delete(record)
      } catch {
        report("pod \(pod) was not disconnected by its plugins: \(error)")
      }
    }
  }
}
