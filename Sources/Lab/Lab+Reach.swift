import NetTypes
import Syscalls

extension Lab {
  /// Connects from pods to the internet, and from the internet to host ports, all at once. When something fails the
  /// first broken link, or the rule that is missing, is named.
  /// - Parameters:
  ///   - name: the only pod to look at; nil = all.
  ///   - timeout: milliseconds to wait for answers.
  public func reach(_ name: String? = nil, timeout: Int = 3000) throws -> ReachReport {
    try Self.requireRoot()
    guard (1...60000).contains(timeout) else { throw LabError("--timeout \(timeout) is not 1 to 60000 milliseconds") }
    let plan = try directory.readPlan()
    guard Files.exists(LabNames.path(names.internet)) else {
      throw LabError(
        "lab \"\(names.lab)\" has no internet",
        advice: "it is of an earlier version: make it again, `weft lab down` first")
    }
    let pods = try name.map { [try pod(named: $0)] } ?? podNames()
    guard !pods.isEmpty else {
      throw LabError("lab \"\(names.lab)\" has no pod", advice: "add one: `weft lab pod add n1`")
    }
    guard pods.count <= Self.pingLimit else {
      throw LabError("\(pods.count) pods are more than \(Self.pingLimit)", advice: "name one of them")
    }
    raiseDescriptorLimit()
    var trial = ReachTrial(names, plan)
    for pod in pods { try trial.add(pod, directory.node(pod.node).record(pod)) }
    var report = try trial.run(milliseconds: timeout)
    if !report.isComplete { explain(&report, plan) }
    return report
  }

  // MARK: Causes

  private func explain(_ report: inout ReachReport, _ plan: LabPlan) {
    let scene = scene(plan)
    var rules: [String: RuleText] = [:]
    func rulesOf(_ node: String) -> RuleText {
      if let known = rules[node] { return known }
      let text = (try? self.rules(of: node, plan.families)) ?? RuleText()
      rules[node] = text
      return text
    }
    for i in report.outward.indices where !report.outward[i].isComplete {
      let o = report.outward[i]
      report.outward[i].cause = Self.cause(o, scene, plan.network(o.destination.family), rulesOf(o.pod.node))
    }
    for i in report.hostPorts.indices where !report.hostPorts[i].isComplete {
      let p = report.hostPorts[i]
      report.hostPorts[i].cause = Self.cause(p, scene, rulesOf(p.pod.node))
    }
  }

  /// Why a pod does not reach the internet.
  static func cause(_ o: OutwardReach, _ scene: Scene, _ network: IPPrefix?, _ rules: RuleText) -> String {
    let node = o.pod.node
    if let seen = o.seen, seen != o.expected {
      var text = "the internet saw \(seen), not \(node) at \(o.expected): node \(node) "
      text +=
        network.map(rules.masquerades) == true ? "masquerades, but not this packet" : "has no rule that masquerades"
      return text + hint(node, scene)
    }
    let diagnosis = Diagnosis(scene, o.destination.family)
    if let broken = diagnosis.firstBrokenLink(betweenInternetAnd: o.pod) { return broken }
    let error = o.error ?? "no answer"
    return o.seen == nil
      ? "\(error): nothing arrived at the internet, though interfaces, addresses and routes are in place: "
        + "a packet filter of node \(node) or of the pod drops it"
      : "\(error): the internet saw \(node) at \(o.expected), but there was no connection: a packet filter of node "
        + "\(node) or of the pod drops TCP or the answers"
  }

  /// Why a host port does not lead to its pod.
  static func cause(_ p: HostPortReach, _ scene: Scene, _ rules: RuleText) -> String {
    if let server = p.server, p.isAnswered { return "answered by \(server), not by \(p.pod)" }
    let node = p.pod.node
    let diagnosis = Diagnosis(scene, p.address.family)
    if let broken = diagnosis.firstBrokenLink(betweenInternetAnd: p.pod) { return broken }
    let error = p.error ?? "no answer"
    if let seen = p.seen { return "\(error): pod \(p.pod) was asked by \(seen), but its answer did not arrive" }
    guard rules.translates(p.port, p.address.family) else {
      return "\(error): node \(node) has no DNAT rule for port \(p.port.hostSide)"
    }
    return "\(error): node \(node) has a DNAT rule for port \(p.port.hostSide), but pod \(p.pod) was not asked: "
      + "the rule leads elsewhere, or a packet filter drops it"
  }

  private static func hint(_ node: String, _ scene: Scene) -> String {
    scene.nodes[node]?.agentRuns == true ? "" : "; the agent of \(node) is not running"
  }
}
