import JSON
import NetTypes
import Subnets
import Syscalls

/// A node as it is now, by the kernel, the agent's file and the registry.
public struct NodeStatus: Sendable {
  /// `n1`
  public var name: String
  /// `running`, `stopped` or `dead` (it was started and is gone).
  public var agent: String
  /// The agent's process id while it runs.
  public var pid: Int32?
  /// Whether the agent's health server says that it is ready.
  public var ready: Bool
  /// The node's pod subnets, from its subnet.env.
  public var subnets: [IPPrefix]
  /// MAC addresses of the VXLAN devices, by address family.
  public var vtepMACs: [AddressFamily: MACAddress]
  /// Where other nodes reach this one, by the registry.
  public var publicIPs: [IPAddress]
  /// MTU of the VXLAN device, or of the pods by subnet.env where there is none.
  public var mtu: UInt32?
  /// What could not be read.
  public var problem: String?

  /// The node's member of `nodes` in `status --json`.
  public var json: JSONValue {
    var macs = JSONObject()
    for family in AddressFamily.allCases {
      if let mac = vtepMACs[family] { macs[family == .ipv4 ? "ipv4" : "ipv6"] = .string(mac.description) }
    }
    return .object(
      JSONObject([
        ("name", .string(name)), ("agent", .string(agent)), ("pid", pid.map { .integer($0) } ?? .null),
        ("ready", .bool(ready)), ("subnets", .array(subnets.map { .string($0.description) })),
        ("vtepMACs", .object(macs)), ("publicIPs", .array(publicIPs.map { .string($0.description) })),
        ("mtu", mtu.map { .integer($0) } ?? .null), ("problem", problem.map { .string($0) } ?? .null),
      ]))
  }
}

/// A pod as it is now, by the kernel.
public struct PodStatus: Sendable {
  /// The pod.
  public var pod: PodName
  /// Addresses of its eth0.
  public var addresses: [IPPrefix] = []
  /// The other end of its veth, on the node.
  public var hostInterface: String?
  /// `up`, `down` or `missing` (no namespace or no eth0).
  public var state = "missing"
  /// Ports of the node that lead to it, by its record.
  public var ports: [HostPort] = []

  /// The pod's member of `pods` in `status --json`.
  public var json: JSONValue {
    .object(
      JSONObject([
        ("name", .string(pod.description)), ("node", .string(pod.node)),
        ("addresses", .array(addresses.map { .string($0.description) })),
        ("hostInterface", hostInterface.map { .string($0) } ?? .null), ("state", .string(state)),
        ("ports", .array(ports.map(\.json))),
      ]))
  }

  /// Reads the pod's namespace; its veth's other end is found in the node's.
  init(_ pod: PodName, node: NamespaceView?, _ names: LabNames, _ ports: [HostPort]) {
    self.init(pod, view: try? NamespaceView(namespace: names.namespace(pod: pod)), node: node)
    self.ports = ports
  }

  init(_ pod: PodName, view: NamespaceView?, node: NamespaceView?) {
    self.pod = pod
    guard let view, let link = view.link(Diagnosis.podInterface) else { return }
    addresses = view.addresses(of: link).map(\.prefix).sorted()
    hostInterface = node?.link(link.parent).flatMap { $0.kind == .veth ? $0.name : nil }
    state = link.isUp && link.operationalState != 2 ? "up" : "down"
  }
}

/// A lab as it is now.
///
/// As JSON: `name`, `network`, `ipv6Network` (or null), `nodes` and `pods`; the members of a node are `name`, `agent`
/// (`running`, `stopped`, `dead`), `pid` (or null), `ready`, `subnets`, `vtepMACs` (`ipv4`, `ipv6`), `publicIPs`, `mtu`,
/// `problem` (or null); those of a pod `name`, `node`, `addresses`, `hostInterface` (or null), `state` (`up`, `down`,
/// `missing`), `ports` (`hostPort`, `containerPort`, `protocol`).
public struct LabStatus: Sendable {
  /// The lab's name.
  public var name: String
  /// What it was made as.
  public var plan: LabPlan
  /// Nodes in order.
  public var nodes: [NodeStatus]
  /// Pods in order.
  public var pods: [PodStatus]

  /// The document of `status --json`.
  public var json: JSONValue {
    .object(
      JSONObject([
        ("name", .string(name)), ("network", .string(plan.network.description)),
        ("ipv6Network", plan.ipv6Network.map { .string($0.description) } ?? .null),
        ("nodes", .array(nodes.map(\.json))), ("pods", .array(pods.map(\.json))),
      ]))
  }

  /// The table of nodes.
  public var nodeTable: Table {
    var table = Table(["NODE", "AGENT", "PID", "READY", "SUBNET", "VTEP MAC", "PUBLIC IP", "MTU"])
    for n in nodes {
      let rows = max(1, n.subnets.count, n.publicIPs.count, n.vtepMACs.count)
      let macs = AddressFamily.allCases.compactMap { n.vtepMACs[$0]?.description }
      for i in 0..<rows {
        func at(_ cells: [String]) -> String { i < cells.count ? cells[i] : i == 0 ? "-" : "" }
        let ips = n.publicIPs.map(\.description)
        let rest = [at(n.subnets.map(\.description)), at(macs), at(ips)]
        let head = [n.name, n.agent, n.pid.map { String($0) } ?? "-", n.ready ? "yes" : "no"]
        table.rows.append(
          (i == 0 ? head : ["", "", "", ""]) + rest + (i == 0 ? [n.mtu.map { String($0) } ?? "-"] : []))
      }
    }
    return table
  }

  /// The table of pods.
  public var podTable: Table {
    Table(
      ["POD", "NODE", "ADDRESS", "HOST VETH", "STATE", "HOST PORTS"],
      rows: pods.map {
        let addresses = $0.addresses.map(\.address.description).joined(separator: " ")
        return [
          $0.pod.description, $0.pod.node, addresses.isEmpty ? "-" : addresses, $0.hostInterface ?? "-", $0.state,
          $0.ports.map(\.description).joined(separator: " "),
        ]
      })
  }
}

extension Lab {
  /// Looks at everything.
  public func status() throws -> LabStatus {
    try Self.requireRoot()
    let plan = try directory.readPlan()
    let leases = registeredLeases()
    var nodes: [NodeStatus] = []
    var pods: [PodStatus] = []
    for name in directory.nodeNames() {
      var problem: String?
      var view: NamespaceView?
      do { view = try NamespaceView(namespace: names.namespace(node: name)) } catch { problem = "\(error)" }
      nodes.append(nodeStatus(name, view, leases, problem))
      let node = directory.node(name)
      for pod in node.podNames() { pods.append(PodStatus(pod, node: view, names, node.record(pod)?.ports ?? [])) }
    }
    return LabStatus(name: names.lab, plan: plan, nodes: nodes, pods: pods)
  }

  private func nodeStatus(
    _ name: String, _ view: NamespaceView?, _ leases: [Lease], _ problem: String?
  ) -> NodeStatus {
    let agent = NodeAgent(lab: self, node: directory.node(name))
    let state = agent.state
    let own = SubnetFile.previousSubnets(at: agent.node.subnetFile) { _ in }
    let subnets = own.families.compactMap { own[$0] }
    let lease = leases.first { $0.subnets == own }
    let publicIPs = AddressFamily.allCases.compactMap { lease?.attributes.publicIPs[$0] }
    var status = NodeStatus(
      name: name, agent: state.word, ready: state.isRunning && agent.isReady(), subnets: subnets, vtepMACs: [:],
      publicIPs: publicIPs, problem: problem)
    if case .running(let pid) = state { status.pid = pid }
    for link in view?.links ?? [] {
      guard case .vxlan = link.kind else { continue }
      let family: AddressFamily = link.name.hasPrefix("flannel-v6.") ? .ipv6 : .ipv4
      status.vtepMACs[family] = link.mac
      if status.mtu == nil || family == .ipv4 { status.mtu = link.mtu }
    }
    return status
  }

  /// The leases in the registry's files. What is not a lease is left out.
  private func registeredLeases() -> [Lease] {
    (try? DirectoryRegistry(path: directory.registry) { _ in }.snapshot().leases) ?? []
  }
}
