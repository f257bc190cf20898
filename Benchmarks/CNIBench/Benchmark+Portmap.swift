import Syscalls

/// Host ports: what `portmap` adds to a pod.
extension Benchmark {
  /// Every row is ADD and DEL in turn, with the rules of other pods as the calls before left them: none.
  func portmap(_ ours: Stage, _ theirs: Stage, _ pods: [Pod]) throws {
    for s in [ours, theirs] { try s.makeBridge() }
    print("portmap, one TCP port, medians of \(options.count), milliseconds; \(options.reference) = 1.00")
    try rows("no mapping", ours, theirs, pods) { stage, pod in stage.portmap(pod, mapped: false) }
    try rows("iptables", ours, theirs, pods) { stage, pod in stage.portmap(pod) }
    // The reference of this version has no such back end: compared is what it does for the same port.
    try rows("nf_tables (theirs: iptables)", ours, theirs, pods) { stage, pod in
      stage.portmap(pod, backend: stage === ours ? "nftables" : nil)
    }
    try bursts("iptables", ours, theirs, pods, backend: nil)
    try bursts("nf_tables (theirs: iptables)", ours, theirs, pods, backend: "nftables")
  }

  private func rows(
    _ name: String, _ ours: Stage, _ theirs: Stage, _ pods: [Pod], _ input: (Stage, Pod) -> [UInt8]
  ) throws {
    var costs: [String: [[Cost]]] = ["ADD": [[], []], "DEL": [[], []]]
    for i in -3..<options.count {
      for (k, stage) in [ours, theirs].enumerated() {
        let pod = pods[max(0, i)]
        for command in ["ADD", "DEL"] {
          let cost = try stage.call("portmap", command, pod, input(stage, pod))
          if i >= 0 { costs[command]?[k].append(cost) }
        }
      }
    }
    for command in ["ADD", "DEL"] {
      guard let c = costs[command], c.count == 2 else { continue }
      print(Self.row("\(command) \(name)", c[0].median, c[1].median))
    }
  }

  private func bursts(
    _ name: String, _ ours: Stage, _ theirs: Stage, _ pods: [Pod], backend: String?
  ) throws {
    for command in ["ADD", "DEL"] {
      var costs: [Cost] = []
      for stage in [ours, theirs] {
        var failures = 0
        costs.append(
          try Cost.measure {
            failures = try start(stage, "portmap", command, pods) {
              stage.portmap($0, backend: stage === ours ? backend : nil)
            }
          })
        if failures > 0 { print("  \(stage.name): \(failures) of \(options.burst) \(command) at once failed") }
      }
      print(Self.row("\(options.burst) \(command) at once, \(name)", costs[0], costs[1]))
    }
  }
}
