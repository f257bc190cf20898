import ArgumentParser
import Glibc
import Lab
import Syscalls

/// `weft lab …`: a cluster's nodes and pods on one machine.
struct LabCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "lab",
    abstract: "Nodes and pods in network namespaces on this machine.",
    discussion: """
      Each node is a network namespace with a real agent in it; a bridge in a namespace of its own joins them, so that \
      the machine's own network is not touched. Behind them is an "internet" that knows no way to the pods. Pods are \
      connected by the CNI plugins, as a container runtime does it. Needs root. Namespaces are called weft-LAB-n1, \
      weft-LAB-n1-p1 and weft-LAB-internet and can be used with `ip netns exec`.

      EXAMPLE
        weft lab up --nodes 3 --pods 2
        weft lab status
        weft lab ping
        weft lab pod add n1 web --port 8080:80
        weft lab reach
        weft lab exec n1 -- ip route
        weft lab down
      """,
    subcommands: [
      LabUp.self, LabStatusCommand.self, LabPod.self, LabExec.self, LabPing.self, LabReach.self, LabNode.self,
      LabDown.self, LabDemo.self, LabEnter.self,
    ])
}

/// What all commands of a lab take.
struct LabOptions: ParsableArguments {
  @Option(help: "The lab's name: 1 to 20 lower-case letters and digits.")
  var name = "lab"

  @Option(name: .customLong("state-dir"), help: "The directory of all labs' state.")
  var stateDirectory = LabDirectory.defaultRoot

  @Option(name: .customLong("cni-bin"), help: "Directories of CNI plugins, separated by colons, searched first.")
  var cniBin: String?

  /// The lab these options mean. What it does is reported on standard error.
  func lab(report: @escaping @Sendable (String) -> Void = { _ in }) throws -> Lab {
    guard stateDirectory.hasPrefix("/") else {
      throw LabError("--state-dir \(stateDirectory) is not an absolute path")
    }
    let program = try ProgramPath.own()
    return Lab(
      directory: LabDirectory(root: stateDirectory, names: try LabNames(lab: name)), program: program,
      pluginPath: Lab.pluginPath(given: cniBin, program: program), report: report)
  }
}

/// What a new lab looks like.
struct LabPlanOptions: ParsableArguments {
  @Flag(name: .customLong("dual-stack"), help: "IPv4 and IPv6.")
  var dualStack = false

  @Option(help: "Back end: vxlan, the only one in this version, or the Backend object of net-conf.json.")
  var backend = "vxlan"

  @Option(help: "IPv4 pod network.")
  var network: String?

  @Option(name: .customLong("ipv6-network"), help: "IPv6 pod network; switches dual stack on.")
  var ipv6Network: String?

  @Flag(help: "Agents program nf_tables directly (EnableNFTables) rather than iptables.")
  var nftables = false

  func plan(nodes: Int, pods: Int) throws -> LabPlan {
    try LabPlan(
      nodes: nodes, pods: pods, network: network, dualStack: dualStack, ipv6Network: ipv6Network, backend: backend,
      nftables: nftables)
  }
}

/// Where this program is.
enum ProgramPath {
  static func own() throws -> String {
    guard let path = unsafe realpath("/proc/self/exe", nil) else { throw SystemError("find", "this program") }
    defer { unsafe free(path) }
    return unsafe String(cString: path)
  }
}

/// Lines for people.
enum Terminal {
  /// Colours if standard output is a terminal and nobody objects (`NO_COLOR`).
  static var palette: Palette { Palette(isOn: isatty(1) == 1 && (Environment.get("NO_COLOR") ?? "").isEmpty) }

  /// A line on standard output, at once.
  static func out(_ line: String) { write(line, 1) }

  /// A line on standard error.
  @Sendable static func report(_ line: String) { write(line, 2) }

  private static func write(_ line: String, _ descriptor: Int32) {
    var bytes = Array((line + "\n").utf8)[...]
    while !bytes.isEmpty {
      let n = unsafe bytes.withUnsafeBytes { unsafe Glibc.write(descriptor, $0.baseAddress, $0.count) }
      if n < 0, errno == EINTR { continue }
      guard n > 0 else { return }
      bytes = bytes.dropFirst(n)
    }
  }

  /// A table with a dim header.
  static func table(_ table: Table) {
    let palette = palette
    for line in table.lines(paint: { r, _, s in r < 0 ? palette.dim(s) : s }) { out(line) }
  }
}
