import Glibc
import JSON
import NetTypes
import Syscalls
import TestSupport
import Testing

private let vxlan = #"{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}"#

@Suite(.needsRoot) struct AgentFaultTests {
  /// Killed at any instant of its start, the agent leaves nothing torn, and the next start takes up where it was.
  @Test func killedAtAnyInstant() throws {
    let cluster = try TestCluster(nodes: 1, configuration: vxlan)
    defer { cluster.remove() }
    let agent = try cluster.agent(0)
    var subnets: Set<String> = []
    for i in 0..<40 {
      Clock.sleep(nanoseconds: Int64(i) * 1_500_000)
      try agent.stop(SIGKILL)
      for name in (try? Files.list(cluster.registry + "/subnets")) ?? [] {
        subnets.insert(name)
        _ = try JSONValue(parsing: try Files.read(cluster.registry + "/subnets/" + name))
      }
      if let text = try? Files.text(agent.subnetFile) { #expect(text.hasSuffix("FLANNEL_IPMASQ=false\n"), "\(text)") }
      try agent.start()
    }
    try eventually("the node is up\n\(agent.log)") {
      try cluster.nodes[0].lines("-br", "addr", "show", "dev", "flannel.1").contains { $0.contains("10.244.") }
    }
    #expect(subnets.count == 1, "one node, one subnet: \(subnets)")
    #expect(try Files.list(cluster.registry + "/subnets").count == 1)
  }

  /// Agents started at the same moment get different subnets and find each other.
  @Test func manyAgentsAtOnce() throws {
    let count = 10
    let cluster = try TestCluster(nodes: count, configuration: vxlan)
    defer { cluster.remove() }
    let agents = try (0..<count).map { try cluster.agent($0) }
    for (i, agent) in agents.enumerated() {
      try eventually("routes of node \(i)\n\(agent.log)", within: 30) {
        try cluster.nodes[i].lines("route", "show").filter { $0.contains("dev flannel.1 onlink") }.count == count - 1
      }
    }
    #expect(try Set(agents.map { try Files.text($0.subnetFile) }).count == count)
    #expect(try Files.list(cluster.registry + "/subnets").count == count)
  }

  /// The lease taken away by hand: the agent says so and ends, with status 0 (contract flanneld §1.3).
  @Test func aRevokedLeaseEndsTheAgent() throws {
    let cluster = try TestCluster(nodes: 1, configuration: vxlan)
    defer { cluster.remove() }
    let agent = try cluster.agent(0)
    try eventually("ready") { agent.log.contains("flannel is ready") }
    for name in try Files.list(cluster.registry + "/subnets") {
      try Files.remove(cluster.registry + "/subnets/" + name)
    }
    #expect(try agent.wait() == .status(0))
    #expect(agent.log.contains("Lease has been revoked. Shutting down daemon."))
    #expect(cluster.nodes[0].device("flannel.1") != nil, "the data path stays")
  }

  /// The disk that holds subnet.env is full: not ready, and ready once there is room.
  @Test func aFullDiskIsWaitedFor() throws {
    let cluster = try TestCluster(nodes: 1, configuration: vxlan)
    defer { cluster.remove() }
    let disk = cluster.directory.path + "/n0"
    try Files.makeDirectory(disk)
    try mount(disk, options: "size=64k")
    defer { _ = try? ChildProcess.run("/usr/bin/umount", ["-l", disk]) }
    #expect(throws: SystemError.self, "the disk is full") {
      try FileDescriptor.open(disk + "/filler", O_WRONLY | O_CREAT, mode: 0o600)
        .write([UInt8](repeating: 0, count: 1 << 20))
    }
    let agent = try cluster.agent(0)
    try eventually("the failure in the log\n\(agent.log)") {
      agent.log.contains("cannot write the subnet file, trying again") && agent.log.contains("no space left on device")
    }
    #expect(!agent.log.contains("flannel is ready"))
    #expect(!Files.exists(agent.subnetFile))
    try Files.remove(disk + "/filler")
    try eventually("ready\n\(agent.log)", within: 30) { agent.log.contains("flannel is ready") }
    #expect(try Files.list(disk) == ["subnet.env"], "no temporary file is left")
  }

  @Test func aReadOnlyRegistryIsNamed() throws {
    let cluster = try TestCluster(nodes: 1, configuration: vxlan)
    defer { cluster.remove() }
    let registry = cluster.registry
    let configuration = try Files.read(registry + "/config")
    try mount(registry, options: "size=64k")
    defer { _ = try? ChildProcess.run("/usr/bin/umount", ["-l", registry]) }
    try Files.writeAtomically(configuration, to: registry + "/config", mode: 0o644)
    #expect(try ChildProcess.run("/usr/bin/mount", ["-o", "remount,ro", registry]).exit.isSuccess)
    let agent = try cluster.agent(0)
    #expect(try agent.wait() == .status(1))
    #expect(agent.log.contains(registry) && agent.log.contains("read-only file system"), "\(agent.log)")
  }

  private func mount(_ path: String, options: String) throws {
    let output = try ChildProcess.run("/usr/bin/mount", ["-t", "tmpfs", "-o", options, "tmpfs", path])
    #expect(output.exit.isSuccess, "\(output.errorText)")
  }

  /// Configurations that cannot work are refused with a text that names what is wrong, and nothing is left behind.
  @Test(arguments: [
    (#"{"Network":"10.244.0.0/16","Backend":{"Type":"carrier-pigeon"}}"#, "unknown backend type: carrier-pigeon"),
    (#"{"Network":"10.244.0.0/16"}"#, "backend type \"udp\" is not supported"),
    (#"{"Network":"10.244.0.0/16","Backend":{}}"#, "unknown backend type: "),
    (#"{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan","VNI":"one"}}"#, "\"VNI\""),
    (#"{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan","MTU":100}}"#, "\"MTU\": 100 in the Backend options"),
    (
      #"{"Network":"10.244.0.0/16","EnableIPv6":true,"IPv6Network":"fd00::/48","Backend":{"Type":"vxlan","MTU":1349}}"#,
      "IPv6 needs 1280"
    ),
    (#"{"Network":"172.31.0.0/16","Backend":{"Type":"vxlan"}}"#, "contains 172.31.77.11"),
    (#"{"Network":"224.0.0.0/8","Backend":{"Type":"vxlan"}}"#, "not a range of unicast addresses"),
    (#"{"EnableIPv4":false,"Backend":{"Type":"vxlan"}}"#, "none defined stack"),
  ])
  func refuses(_ configuration: String, _ text: String) throws {
    let cluster = try TestCluster(nodes: 1, configuration: configuration)
    defer { cluster.remove() }
    let agent = try cluster.agent(0)
    #expect(try agent.wait() == .status(1))
    #expect(agent.log.contains(text), "\(agent.log)")
    #expect(try cluster.nodes[0].lines("-br", "link").allSatisfy { !$0.hasPrefix("flannel") })
    #expect(!Files.exists(cluster.registry + "/subnets"))
  }

  /// Configurations that are wrong but may be put right are waited for (contract flanneld §2.2, §3 step 5).
  @Test(arguments: [
    ("{", "invalid JSON"), (#"{"Network":"10.244.0.0/30","Backend":{"Type":"vxlan"}}"#, "network is too small"),
    (#"{"Network":7}"#, "Network"), (#"{"Backend":{"Type":"vxlan"}}"#, "please define a correct Network parameter"),
  ])
  func waitsForASaneConfiguration(_ configuration: String, _ text: String) throws {
    let cluster = try TestCluster(nodes: 1, configuration: configuration)
    defer { cluster.remove() }
    let agent = try cluster.agent(0)
    try eventually("the reason in the log: \(text)\n\(agent.log)") { agent.log.contains(text) }
    try Files.writeAtomically(Array(vxlan.utf8), to: cluster.registry + "/config", mode: 0o644)
    try eventually("ready\n\(agent.log)") { agent.log.contains("flannel is ready") }
  }

  @Test func anExhaustedNetworkSaysSo() throws {
    let cluster = try TestCluster(
      nodes: 1,
      configuration:
        #"{"Network":"10.244.0.0/16","SubnetMin":"10.244.7.0","SubnetMax":"10.244.7.0","Backend":{"Type":"vxlan"}}"#)
    defer { cluster.remove() }
    try Files.makeDirectory(cluster.registry + "/subnets")
    try Files.writeAtomically(
      Array(#"{"PublicIP":"172.31.77.99","PublicIPv6":null}"#.utf8), to: cluster.registry + "/subnets/10.244.7.0-24",
      mode: 0o644)
    let agent = try cluster.agent(0)
    #expect(try agent.wait() == .status(1))
    #expect(agent.log.contains("out of subnets"), "\(agent.log)")
    #expect(cluster.nodes[0].device("flannel.1") == nil, "nothing is left half-made")
  }
}
