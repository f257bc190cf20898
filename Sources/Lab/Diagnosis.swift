import NetTypes

/// Everything a packet between two pods passes, as it was at one moment.
public struct Scene: Sendable {
  /// A node.
  public struct Node: Sendable {
    /// Its namespace; nil = there is none.
    public var view: NamespaceView?
    /// Whether its agent runs.
    public var agentRuns: Bool
    /// Its underlay addresses by plan.
    public var underlay: [AddressFamily: IPAddress]

    /// As observed.
    public init(view: NamespaceView?, agentRuns: Bool, underlay: [AddressFamily: IPAddress]) {
      self.view = view
      self.agentRuns = agentRuns
      self.underlay = underlay
    }
  }

  /// Nodes by name.
  public var nodes: [String: Node] = [:]
  /// The namespaces of the pods.
  public var pods: [PodName: NamespaceView] = [:]
  /// The namespace of the underlay bridge.
  public var lan: NamespaceView?
  /// The internet's namespace.
  public var internet: NamespaceView?

  /// Nothing.
  public init() {}
}

/// Looks for the first broken link on the way between two pods, in the order a packet passes them: pod, veth, bridge,
/// route of the node, VTEP neighbour and FDB entry, underlay, remote VXLAN device, remote bridge and veth, remote pod, and
/// the way back. Pure: it looks at a scene, not at the kernel.
public struct Diagnosis: Sendable {
  /// The name of a pod's interface.
  static let podInterface = "eth0"

  let scene: Scene
  let family: AddressFamily

  /// Packets of `family` in `scene`.
  public init(_ scene: Scene, _ family: AddressFamily) {
    self.scene = scene
    self.family = family
  }

  /// What is broken, in words; nil when everything that was looked at is in place.
  /// - Parameter destination: the address `to` is known by.
  public func firstBrokenLink(from: PodName, to: PodName, destination: IPAddress) -> String? {
    if let p = pod(from, sendsTo: destination) ?? attachment(from) { return p }
    if from.node == to.node {
      return attachment(to) ?? pod(to, sendsTo: address(from)) ?? pod(to, has: destination)
    }
    if let p = path(from.node, to.node, to: destination) { return p }
    if let p = underlay(from.node) ?? underlay(to.node) { return p }
    if let p = attachment(to) ?? pod(to, sendsTo: address(from)) ?? pod(to, has: destination) { return p }
    guard let source = address(from) else { return nil }
    return path(to.node, from.node, to: source).map { "on the way back: \($0)" }
  }

  /// The pod's address, by its namespace.
  private func address(_ pod: PodName) -> IPAddress? {
    guard let view = scene.pods[pod], let link = view.link(Self.podInterface) else { return nil }
    return view.addresses(of: link, family).first?.prefix.address
  }

  // MARK: Pod

  func pod(_ pod: PodName, sendsTo destination: IPAddress?) -> String? {
    guard let view = scene.pods[pod] else { return "pod \(pod): its network namespace is gone" }
    guard let link = view.link(Self.podInterface) else { return "pod \(pod): it has no interface eth0" }
    guard link.isUp else { return "pod \(pod): eth0 is down" }
    guard link.operationalState != 2 else {
      return "pod \(pod): eth0 has no carrier (the other end of its veth is down)"
    }
    guard let address = view.addresses(of: link, family).first else { return "pod \(pod): eth0 has no \(name) address" }
    if address.isTentative { return "pod \(pod): duplicate address detection runs for \(address.prefix.address)" }
    if address.isDuplicate { return "pod \(pod): \(address.prefix.address) is used by somebody else, too" }
    if let destination, view.route(to: destination) == nil { return "pod \(pod): it has no route to \(destination)" }
    return nil
  }

  private func pod(_ pod: PodName, has destination: IPAddress) -> String? {
    guard let view = scene.pods[pod], view.addresses.contains(where: { $0.prefix.address == destination }) else {
      return "pod \(pod): it has no address \(destination)"
    }
    return nil
  }

  func attachment(_ pod: PodName) -> String? {
    guard let node = scene.nodes[pod.node]?.view else { return "node \(pod.node): its network namespace is gone" }
    guard let link = scene.pods[pod]?.link(Self.podInterface) else { return "pod \(pod): it has no interface eth0" }
    guard let veth = node.link(link.parent), veth.kind == .veth else {
      return "node \(pod.node): the host end of the veth of pod \(pod) is gone"
    }
    guard veth.isUp else { return "node \(pod.node): \(veth.name), the host end of pod \(pod)'s veth, is down" }
    guard veth.master != 0, let bridge = node.link(veth.master) else {
      return "node \(pod.node): \(veth.name) of pod \(pod) is not a port of the bridge"
    }
    guard bridge.isUp else { return "node \(pod.node): the bridge \(bridge.name) is down" }
    guard let gateway = scene.pods[pod]?.routes.first(where: { $0.gateway?.family == family })?.gateway else {
      return nil
    }
    guard let address = node.addresses.first(where: { $0.prefix.address == gateway }) else {
      return "node \(pod.node): the bridge \(bridge.name) lacks the pods' gateway address \(gateway)"
    }
    return address.isTentative
      ? "node \(pod.node): duplicate address detection runs for the gateway address \(gateway) of \(bridge.name)" : nil
  }

  // MARK: Node to node

  private func path(_ a: String, _ b: String, to destination: IPAddress) -> String? {
    guard let here = scene.nodes[a], let view = here.view else { return "node \(a): its network namespace is gone" }
    guard let there = scene.nodes[b] else { return "node \(b): there is no such node" }
    let hint = here.agentRuns ? "" : "; the agent of \(a) is not running"
    guard view.forwarding.contains(family) else { return "node \(a): \(name) forwarding is switched off" }
    guard let route = view.route(to: destination), route.destination.length > 0 else {
      let other = there.agentRuns ? hint : hint + "; the agent of \(b) is not running"
      return "node \(a): it has no route to \(subnet(of: destination)), the pods of \(b)\(other)"
    }
    guard route.kind == .unicast else { return "node \(a): its route \(route.destination) drops packets\(hint)" }
    let hop = view.hop(of: route)
    guard let device = view.link(hop.device) else {
      return "node \(a): its route \(route.destination) leads to a device that is gone\(hint)"
    }
    guard device.isUp else {
      return "node \(a): \(device.name), the device of route \(route.destination), is down\(hint)"
    }
    guard case .vxlan(let options) = device.kind else {
      return direct(a, there, route, hop.gateway)
    }
    return tunnel(a, b, view, device, options, hop.gateway ?? destination, hint)
  }

  private func direct(_ a: String, _ there: Scene.Node, _ route: Route, _ gateway: IPAddress?) -> String? {
    guard let gateway, let expected = there.underlay[gateway.family], gateway != expected else { return nil }
    return "node \(a): its route \(route.destination) leads to \(gateway), not to \(expected)"
  }

  private func tunnel(
    _ a: String, _ b: String, _ view: NamespaceView, _ device: Link, _ options: VXLANOptions, _ gateway: IPAddress,
    _ hint: String
  ) -> String? {
    guard let mac = view.neighbours.first(where: { $0.device == device.index && $0.address == gateway })?.mac else {
      return "node \(a): \(device.name) has no neighbour entry for \(gateway), the VTEP of \(b)\(hint)"
    }
    guard let remote = view.fdb.first(where: { $0.device == device.index && $0.mac == mac })?.remote else {
      return "node \(a): \(device.name) has no FDB entry for \(mac), the VTEP of \(b)\(hint)"
    }
    guard let there = scene.nodes[b], let far = there.view else { return "node \(b): its network namespace is gone" }
    if let expected = there.underlay[remote.family], remote != expected {
      return
        "node \(a): the FDB entry of \(mac) on \(device.name) leads to \(remote), not to \(b) at \(expected)\(hint)"
    }
    let farHint = there.agentRuns ? "" : "; the agent of \(b) is not running"
    guard let vtep = far.link(device.name), case .vxlan(let farOptions) = vtep.kind else {
      return "node \(b): the VXLAN device \(device.name) is missing\(farHint)"
    }
    guard vtep.isUp else { return "node \(b): \(vtep.name) is down\(farHint)" }
    guard vtep.mac == mac else {
      let real = vtep.mac?.description ?? "none"
      return "node \(a): it takes \(mac) for the VTEP of \(b), whose \(vtep.name) has \(real)\(hint)"
    }
    guard farOptions.vni == options.vni, farOptions.port == options.port else {
      return "node \(b): \(vtep.name) has VNI \(farOptions.vni), port \(farOptions.port); on \(a) it is VNI "
        + "\(options.vni), port \(options.port)"
    }
    return nil
  }

  func underlay(_ node: String) -> String? {
    guard let view = scene.nodes[node]?.view else { return "node \(node): its network namespace is gone" }
    guard let link = view.link(Underlay.nodeInterface) else { return "node \(node): its interface eth0 is gone" }
    guard link.isUp else { return "node \(node): its interface eth0 is down" }
    for (_, address) in scene.nodes[node]?.underlay ?? [:]
    where !view.addresses.contains(where: { $0.device == link.index && $0.prefix.address == address }) {
      return "node \(node): eth0 lacks its address \(address)"
    }
    guard let lan = scene.lan else { return "the underlay: its network namespace is gone" }
    guard let bridge = lan.link(Underlay.bridge), bridge.isUp else { return "the underlay: its bridge is down or gone" }
    guard let port = lan.link(node), port.isUp, port.master == bridge.index else {
      return "the underlay: the port of \(node) is down, gone or not in the bridge"
    }
    return nil
  }

  /// The network a pod's address lies in, by the pod's own interface.
  private func subnet(of address: IPAddress) -> IPPrefix {
    let prefixes = scene.pods.values.flatMap(\.addresses).map(\.prefix)
    return prefixes.first { $0.address == address }?.network ?? IPPrefix(host: address)
  }

  var name: String { family == .ipv4 ? "IPv4" : "IPv6" }
}
