import Glibc
import NetTypes
import Syscalls

extension Lab {
  /// At most this many pods ping each other.
  static let pingLimit = 600

  /// Pings every pod from every pod, all at once. When packets are lost the first broken link is named.
  public func ping(_ options: PingOptions) throws -> PingReport {
    try Self.requireRoot()
    let plan = try directory.readPlan()
    let pods = podNames()
    guard pods.count >= 2 else {
      throw LabError("lab \"\(names.lab)\" has \(count(pods.count, "pod"))", advice: "add pods: `weft lab pod add n1`")
    }
    let packets = pods.count * (pods.count - 1) * plan.families.count * options.count
    guard pods.count <= Self.pingLimit, packets <= 20_000_000 else {
      throw LabError(
        "\(count(pods.count, "pod")) would send \(packets) packets", advice: "use fewer pods or a lower --count")
    }
    raiseDescriptorLimit()
    var run = PingRun(
      pods.map { ($0, names.namespace(pod: $0), expectedAddresses($0)) }, options)
    var report = try run.run()
    if !report.isComplete { explain(&report, plan) }
    return report
  }

  /// The addresses ADD answered; where that is not known, those the pod has.
  private func expectedAddresses(_ pod: PodName) -> [IPAddress] {
    let known = directory.node(pod.node).record(pod)?.addresses.map(\.address) ?? []
    if !known.isEmpty { return known }
    guard let view = try? NamespaceView(namespace: names.namespace(pod: pod)),
      let link = view.link(Diagnosis.podInterface)
    else { return [] }
    return view.addresses(of: link).map(\.prefix.address)
  }

  /// Every pod has a socket per family; the soft limit of 1,024 descriptors is too low for a large lab.
  func raiseDescriptorLimit() {
    var limit = rlimit()
    guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
    limit.rlim_cur = limit.rlim_max
    _ = unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
  }

  /// Puts the first broken link into every pair that lost packets.
  private func explain(_ report: inout PingReport, _ plan: LabPlan) {
    let scene = scene(plan)
    var probed: [String: String] = [:]
    for i in report.pairs.indices where !report.pairs[i].isComplete {
      let p = report.pairs[i]
      let diagnosis = Diagnosis(scene, p.destination.family)
      if let cause = diagnosis.firstBrokenLink(from: p.from, to: p.to, destination: p.destination) {
        report.pairs[i].cause = cause
      } else if p.from.node != p.to.node {
        let way = "\(p.from.node) to \(p.to.node)"
        let text = probed[way] ?? probeUnderlay(p.from.node, p.to.node, p.destination.family)
        probed[way] = text
        report.pairs[i].cause = p.error.map { "\(text); \($0)" } ?? text
      } else {
        report.pairs[i].cause =
          p.error
          ?? "node \(p.from.node): interfaces, addresses and routes are in place, yet packets are lost on the bridge"
      }
    }
  }

  /// Reads everything the packets pass.
  func scene(_ plan: LabPlan) -> Scene {
    var scene = Scene()
    scene.lan = try? NamespaceView(namespace: names.lan)
    scene.internet = try? NamespaceView(namespace: names.internet)
    for name in directory.nodeNames() {
      guard let k = LabNames.nodeNumber(name) else { continue }
      let underlay = plan.families.map { ($0, LabPlan.underlayAddress(node: k, $0).address) }
      scene.nodes[name] = Scene.Node(
        view: try? NamespaceView(namespace: names.namespace(node: name)),
        agentRuns: NodeAgent(lab: self, node: directory.node(name)).state.isRunning,
        underlay: Dictionary(uniqueKeysWithValues: underlay))
      for pod in directory.node(name).podNames() {
        scene.pods[pod] = try? NamespaceView(namespace: names.namespace(pod: pod))
      }
    }
    return scene
  }

  /// With everything in place, asks whether the nodes reach each other at all.
  private func probeUnderlay(_ a: String, _ b: String, _ family: AddressFamily) -> String {
    guard let k = LabNames.nodeNumber(b) else { return "there is no node \(b)" }
    let address = LabPlan.underlayAddress(node: k, family).address
    let place = "interfaces, addresses, routes and VTEP entries of \(a) and \(b) are in place"
    do {
      if try EchoProbe.answers(address, from: names.namespace(node: a)) {
        return "\(place) and \(a) reaches \(b) at \(address): packets are lost in the tunnel or by a packet filter"
      }
      return "\(place), but node \(a) gets no answer from \(b) at \(address) on the underlay"
    } catch {
      return "\(place); the underlay could not be tried: \(error)"
    }
  }
}

/// A single question to one address.
enum EchoProbe {
  /// True when one of three packets is answered within a second.
  static func answers(_ address: IPAddress, from namespace: String) throws -> Bool {
    let socket = try EchoSocket(in: namespace, address.family)
    let identifier = UInt16.random(in: 1 ... .max)
    var buffer = [UInt8](repeating: 0, count: 2048)
    for sequence in 0..<UInt16(3) {
      let packet = ICMPEcho(identifier: identifier, sequence: sequence).request(address.family)
      _ = socket.send(packet, to: address)
      let deadline = Clock.monotonic() + 333_000_000
      while Clock.monotonic() < deadline {
        var set = [pollfd(fd: socket.descriptor.number, events: Int16(POLLIN), revents: 0)]
        _ = unsafe poll(&set, 1, 50)
        while let (bytes, from) = socket.receive(&buffer) {
          guard from == address, case .reply(let echo)? = ICMPEcho.parse(bytes, address.family) else { continue }
          if echo.identifier == identifier { return true }
        }
      }
    }
    return false
  }
}
