import Glibc
import Syscalls
import TestSupport
import Testing

/// `weft uninstall --purge` after a real agent, and beside one.
@Suite(.needsRoot) struct PurgeAgentTests {
  private static func configuration(nftables: Bool) -> String {
    #"{"Network":"10.244.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:10:244::/56","EnableNFTables":\#(nftables),"#
      + #""Backend":{"Type":"vxlan"}}"#
  }

  /// The node is as it was before the agent, whichever tool had the rules.
  @Test(arguments: [true, false])
  func whatAnAgentMade(nftables: Bool) throws {
    let cluster = try TestCluster(nodes: 1, configuration: Self.configuration(nftables: nftables))
    defer { cluster.remove() }
    let node = cluster.nodes[0]
    let before = try state(node)
    let agent = try cluster.agent(0, flags: ["--ip-masq", "--ip-blackhole-route"], rules: true)
    try eventually("ready\n\(agent.log)") { agent.log.contains("flannel is ready") }
    #expect(try state(node) != before)

    let refused = try uninstall(node, agent)
    #expect(refused.exit == .status(1))
    #expect(
      refused.errorText.hasPrefix(
        "Error: an agent runs in this network namespace (\(try builtProduct("weft")), process \(agent.pid ?? 0))"))
    #expect(node.device("flannel.1") != nil)

    try agent.stop()
    let out = try uninstall(node, agent)
    #expect(out.exit.isSuccess, "\(out.errorText)")
    #expect(try state(node) == before, "\(out.text)")
    #expect(!Files.exists(agent.subnetFile))
    #expect(try uninstall(node, agent).text == "nothing to remove\n")
  }

  private func uninstall(_ node: TestNamespace, _ agent: AgentProcess) throws -> ChildProcess.Output {
    try node.run(
      try builtProduct("weft"),
      [
        "uninstall", "--purge", "--bin-dir", "/nonexistent", "--conf-dir", "/nonexistent", "--cni-state-dir",
        "/nonexistent", "--subnet-file", agent.subnetFile,
      ])
  }

  /// Links, routes, next hops and rules. Built-in chains and tables of iptables may be left, empty.
  private func state(_ node: TestNamespace) throws -> [String] {
    var all =
      try node.lines("-brief", "link") + node.lines("-4", "route", "show", "table", "all")
      + node.lines("-6", "route") + node.lines("nexthop")
    for tool in PurgeNode.iptables {
      all += try node.run("/usr/sbin/\(tool)-save").text.split(separator: "\n").filter { $0.hasPrefix("-A") }
        .map { "\(tool) \($0)" }
    }
    all += try node.run("/usr/sbin/nft", ["list", "tables"]).text.split(separator: "\n").map(String.init).filter {
      $0.contains("flannel")
    }
    return all
  }

  /// A pod of a DaemonSet must not end: it stays until it is told to, and then ends well.
  @Test func waits() throws {
    let node = try PurgeNode()
    let directory = try TemporaryDirectory("wait")
    let log = try FileDescriptor.open(directory.file("log"), O_WRONLY | O_CREAT, mode: 0o644)
    let child = try ChildProcess.start(
      "/usr/bin/nsenter",
      [
        "--net=\(node.namespace.path)", try builtProduct("weft"), "uninstall", "--purge", "--wait", "--bin-dir",
        "/nonexistent", "--conf-dir", "/nonexistent", "--cni-state-dir", "/nonexistent", "--subnet-file",
        "/nonexistent/subnet.env",
      ], stdout: log.number)
    defer { child.signal(SIGKILL) }
    try eventually("the last line") { try Files.text(directory.file("log")) == "nothing to remove\n" }
    #expect(try child.poll() == nil)
    child.signal(SIGTERM)
    #expect(try child.wait() == .status(0))
  }
}
