import Glibc
import JSON
import NetTypes
import Syscalls
import TestSupport
import Testing

let dualStack =
  #"{"Network":"10.244.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:10:244::/56","IPv6SubnetLen":64,"#
  + #""Backend":{"Type":"vxlan"}}"#

/// Two nodes with agents, both converged, and what they should have in the kernel.
final class Pair {
  let cluster: TestCluster
  let a: AgentProcess
  let b: AgentProcess
  /// Overlay state of the first node, as `ip` and `bridge` print it.
  var state: [String] {
    get throws {
      let n = cluster.nodes[0]
      return try n.lines("route", "show", "dev", "flannel.1")
        + n.lines("-6", "route", "show", "dev", "flannel-v6.1")
        .filter { !$0.hasPrefix("fe80") } + n.lines("neigh", "show", "dev", "flannel.1", "nud", "permanent")
        + n.lines("-6", "neigh", "show", "dev", "flannel-v6.1", "nud", "permanent") + n.forwarding("flannel.1")
        + n.forwarding("flannel-v6.1")
        + n.lines("-br", "addr", "show", "dev", "flannel.1").map(Self.withoutLinkLocal)
        + n.lines("-br", "addr", "show", "dev", "flannel-v6.1").map(Self.withoutLinkLocal)
        + ["flannel.1", "flannel-v6.1"].map { name in
          let d = n.device(name)
          return "\(name) \(d?["mtu"]?.intValue ?? 0) \(d?["address"]?.stringValue ?? "none") "
            + "\(d?["flags"]?.arrayValue?.contains("UP") == true)"
        }
    }
  }

  private static func withoutLinkLocal(_ line: String) -> String {
    line.split(separator: " ").filter { !$0.hasPrefix("fe80") }.joined(separator: " ")
  }

  init(_ configuration: String = dualStack, flags: [String] = []) throws {
    cluster = try TestCluster(nodes: 2, configuration: configuration)
    a = try cluster.agent(0, flags: flags)
    b = try cluster.agent(1, flags: flags)
    for i in 0..<2 {
      try eventually("routes of node \(i)\n\(a.log)\n\(b.log)") {
        try cluster.nodes[i].lines("route", "show").contains { $0.contains("dev flannel.1") || $0.contains("proto 87") }
      }
    }
  }

  func remove() {
    _ = try? a.stop(SIGKILL)
    _ = try? b.stop(SIGKILL)
    cluster.remove()
  }
}

@Suite(.needsRoot) struct AgentVXLANTests {
  /// The form that flanneld leaves, word for word but for addresses and MACs.
  @Test func leavesTheStateThatFlanneldLeaves() throws {
    let pair = try Pair()
    defer { pair.remove() }
    let (n0, n1) = (pair.cluster.nodes[0], pair.cluster.nodes[1])
    try eventually("IPv6 routes") {
      try n0.lines("-6", "route", "show", "dev", "flannel-v6.1").contains { $0.contains("onlink") }
        && n1.lines("-6", "route", "show", "dev", "flannel-v6.1").contains { $0.contains("onlink") }
    }
    let d = try #require(n0.device("flannel.1"))
    #expect(d["mtu"]?.intValue == 1450)
    let info = try #require(d["linkinfo"]?.objectValue?["info_data"]?.objectValue)
    #expect(
      info.members.filter { ["id", "local", "link", "port", "learning", "ttl"].contains($0.name) }.map { $0.value }
        == [1, "172.31.77.11", "eth0", 8472, false, 0])
    #expect(n0.device("flannel-v6.1")?["mtu"]?.intValue == 1430)
    let environment = try Files.text(pair.b.subnetFile).split(separator: "\n").map(String.init)
    let v4 = try #require(environment[1].split(separator: "=").last.flatMap { IPPrefix($0) }).network
    let v6 = try #require(environment[3].split(separator: "=").last.flatMap { IPPrefix($0) }).network
    #expect(
      environment == [
        "FLANNEL_NETWORK=10.244.0.0/16", "FLANNEL_SUBNET=\(v4.base.advanced(by: 1).map { "\($0)" } ?? "")/24",
        "FLANNEL_IPV6_NETWORK=fd00:10:244::/56",
        "FLANNEL_IPV6_SUBNET=\(v6.base.advanced(by: 1).map { "\($0)" } ?? "")/64", "FLANNEL_MTU=1430",
        "FLANNEL_IPMASQ=false",
      ])
    let mac = try #require(n1.device("flannel.1")?["address"]?.stringValue)
    let mac6 = try #require(n1.device("flannel-v6.1")?["address"]?.stringValue)
    #expect(try n0.lines("route", "show", "dev", "flannel.1") == ["\(v4) via \(v4.base) onlink"])
    #expect(
      try n0.lines("-6", "route", "show", "dev", "flannel-v6.1").filter { $0.contains("onlink") }
        == ["\(v6) via \(v6.base) metric 1024 onlink pref medium"])
    #expect(try n0.lines("neigh", "show", "dev", "flannel.1") == ["\(v4.base) lladdr \(mac) PERMANENT"])
    #expect(
      try n0.lines("-6", "neigh", "show", "dev", "flannel-v6.1", "nud", "permanent")
        == ["\(v6.base) lladdr \(mac6) PERMANENT"])
    #expect(try n0.forwarding("flannel.1") == ["\(mac) dst 172.31.77.12 self permanent"])
    #expect(try n0.forwarding("flannel-v6.1") == ["\(mac6) dst fd77::12 self permanent"])
    let key = "\(v4.base)-24&\(v6.base)-64"
    #expect(
      try Files.text(pair.cluster.registry + "/subnets/" + key)
        == #"{"PublicIP":"172.31.77.12","PublicIPv6":"fd77::12","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":""#
        + mac + #""},"BackendV6Data":{"VNI":1,"VtepMAC":""# + mac6 + #""}}"#)
    #expect(n0.ping("\(v4.base)"))
    try eventually("IPv6, after duplicate address detection") { n0.ping("\(v6.base)") }
  }

  /// Whatever is taken away or changed comes back, and nothing else is touched.
  @Test(arguments: [
    "link del flannel.1", "link del flannel-v6.1", "link set flannel.1 down", "link set flannel-v6.1 down",
    "link set flannel.1 mtu 1300", "link set flannel.1 address 02:00:00:00:00:99", "route flush dev flannel.1",
    "-6 route flush dev flannel-v6.1 proto boot", "neigh flush dev flannel.1 nud permanent",
    "-6 neigh flush dev flannel-v6.1 nud permanent", "addr flush dev flannel.1",
    "addr add 10.244.250.1/24 dev flannel.1",
    "-6 addr add fd00:99::1/64 dev flannel-v6.1", "fdb", "fdb6", "neigh replace", "route replace", "route prepend",
    "route append", "link set eth0 down",
  ])
  func repairs(_ damage: String) throws {
    let pair = try Pair()
    defer { pair.remove() }
    let node = pair.cluster.nodes[0]
    try eventually("IPv6") { try node.lines("-6", "route").contains { $0.contains("onlink") } }
    // Things of others, which must survive.
    try node.ip("link", "add", "foreign0", "type", "bridge")
    try node.ip("addr", "add", "10.244.77.1/24", "dev", "foreign0")
    try node.ip("link", "set", "foreign0", "up")
    try node.ip("route", "add", "192.168.50.0/24", "dev", "flannel.1", "proto", "static")
    try node.ip("neigh", "add", "10.244.77.5", "lladdr", "02:00:00:00:00:05", "dev", "foreign0")
    let foreign = {
      try node.lines("-4", "addr", "show", "dev", "foreign0") + node.lines("neigh", "show", "dev", "foreign0")
    }
    let before = try pair.state.filter { !$0.hasPrefix("192.168.50.0") }
    let others = try foreign()
    #expect(before.count == 11, "\(before)")
    let peer = try #require(try node.lines("route", "show", "dev", "flannel.1").first { $0.contains("onlink") })
    let subnet = try #require(peer.split(separator: " ").first.map(String.init))
    let gateway = try #require(subnet.split(separator: "/").first.map(String.init))
    switch damage {
    case "fdb", "fdb6":
      let device = damage == "fdb" ? "flannel.1" : "flannel-v6.1"
      let words = try #require(try node.forwarding(device).first).split(separator: " ").map(String.init)
      try node.expectSuccess(
        "/sbin/bridge", ["fdb", "del", words[0], "dev", device, "dst", words[2], "self"])
    case "neigh replace":
      try node.ip("neigh", "replace", gateway, "lladdr", "02:00:00:00:00:98", "dev", "flannel.1", "nud", "permanent")
    case "route prepend", "route append":
      try node.ip(
        "route", damage == "route prepend" ? "prepend" : "append", subnet, "via", "10.244.250.0", "dev", "flannel.1",
        "onlink")
    case "route replace": try node.ip("route", "replace", subnet, "dev", "foreign0")
    case "link set eth0 down":
      try node.ip("link", "set", "eth0", "down")
      try node.ip("link", "set", "eth0", "up")
      try node.ip("addr", "replace", "fd77::11/64", "dev", "eth0", "nodad")
    default: try node.expectSuccess("/sbin/ip", damage.split(separator: " ").map(String.init))
    }
    try eventually("repair after \(damage): \(before) but \(try pair.state)\n\(pair.a.log)") {
      try pair.state.filter { !$0.hasPrefix("192.168.50.0") } == before
    }
    #expect(try foreign() == others)
    let keepsStatic = ![
      "link del flannel.1", "link set flannel.1 down", "route flush dev flannel.1", "addr flush dev flannel.1",
    ]
    .contains(damage)
    if keepsStatic {
      #expect(try node.lines("route").contains { $0.hasPrefix("192.168.50.0/24 dev flannel.1 proto static") })
    }
    // The overlay does not notice a flap of the underlay.
    if damage != "link set eth0 down" { #expect(pair.a.log.contains("Repaired:"), "\(pair.a.log)") }
  }

  @Test(arguments: [SIGTERM, SIGKILL])
  func aRestartLosesNoPacket(_ signal: Int32) throws {
    let pair = try Pair()
    defer { pair.remove() }
    let (n0, n1) = (pair.cluster.nodes[0], pair.cluster.nodes[1])
    let target =
      try #require(try n1.lines("-br", "-4", "addr", "show", "dev", "flannel.1").first)
      .split(separator: " ").last?.split(separator: "/").first.map(String.init) ?? ""
    let index = n0.device("flannel.1")?["ifindex"]?.intValue
    let output = directoryPath(pair) + "/ping"
    let file = try FileDescriptor.open(output, O_WRONLY | O_CREAT, mode: 0o644)
    let ping = try ChildProcess.start(
      "/usr/bin/nsenter", ["--net=\(n0.path)", "/bin/ping", "-q", "-i", "0.005", "-c", "400", target],
      stdout: file.number)
    for _ in 0..<3 {
      Clock.sleep(nanoseconds: 200_000_000)
      #expect(try pair.a.stop(signal) == (signal == SIGTERM ? .status(0) : .signal(SIGKILL)))
      try Files.remove(pair.a.subnetFile)
      try pair.a.start()
      try eventually("restart") { Files.exists(pair.a.subnetFile) }
    }
    _ = try ping.wait()
    let text = try Files.text(output)
    #expect(text.contains("400 packets transmitted, 400 received, 0% packet loss"), "\(text)")
    #expect(n0.device("flannel.1")?["ifindex"]?.intValue == index, "the device was not made again")
  }

  private func directoryPath(_ pair: Pair) -> String { pair.cluster.directory.path }

  @Test func adoptsADeviceOfARunningFlannel() throws {
    let cluster = try TestCluster(nodes: 1, configuration: #"{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}"#)
    defer { cluster.remove() }
    let n = cluster.nodes[0]
    try n.ip(
      "link", "add", "flannel.1", "address", "7e:cd:18:8a:40:15", "mtu", "1450", "type", "vxlan", "id", "1", "local",
      "172.31.77.11", "dev", "eth0", "dstport", "8472", "nolearning")
    try n.ip("addr", "add", "10.244.13.0/32", "dev", "flannel.1")
    try n.ip("link", "set", "flannel.1", "up")
    try n.ip("route", "add", "10.244.66.0/24", "via", "10.244.66.0", "dev", "flannel.1", "onlink")
    let index = n.device("flannel.1")?["ifindex"]?.intValue
    try Files.makeDirectory(cluster.directory.path + "/n0")
    try Files.writeAtomically(
      Array(
        "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.13.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n".utf8),
      to: cluster.directory.path + "/n0/subnet.env", mode: 0o644)
    let agent = try cluster.agent(0)
    try eventually("the stale route to go\n\(agent.log)") {
      try !n.lines("route").contains { $0.hasPrefix("10.244.66") }
    }
    #expect(n.device("flannel.1")?["ifindex"]?.intValue == index)
    #expect(n.device("flannel.1")?["address"]?.stringValue == "7e:cd:18:8a:40:15")
    #expect(Files.exists(cluster.registry + "/subnets/10.244.13.0-24"), "the previous subnet is kept")
  }

  /// A node that comes back under another address keeps its subnet, and its peers follow.
  @Test func aNodeChangesItsAddress() throws {
    let pair = try Pair(#"{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}"#)
    defer { pair.remove() }
    let (n0, n1) = (pair.cluster.nodes[0], pair.cluster.nodes[1])
    let subnet = try Files.text(pair.a.subnetFile)
    try n0.ip("addr", "del", "172.31.77.11/24", "dev", "eth0")
    try n0.ip("addr", "add", "172.31.77.91/24", "dev", "eth0")
    #expect(try pair.a.wait() == .status(1), "a restart is asked for")
    #expect(pair.a.log.contains("has lost the address 172.31.77.11"), "\(pair.a.log)")
    try pair.a.start()
    try eventually("the peer sends to the new address\n\(pair.b.log)") {
      try n1.forwarding("flannel.1").map { $0.split(separator: " ").dropFirst().joined(separator: " ") }
        == ["dst 172.31.77.91 self permanent"]
    }
    #expect(try Files.text(pair.a.subnetFile) == subnet)
    #expect(try Files.list(pair.cluster.registry + "/subnets").count == 2)
    let target = try #require(subnet.split(separator: "\n")[1].split(separator: "=").last.flatMap { IPPrefix($0) })
    try eventually("packets pass") { n1.ping("\(target.base)") }
  }

  @Test func aDeviceOfAnotherKindIsAnErrorAndStays() throws {
    let cluster = try TestCluster(nodes: 1, configuration: #"{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}"#)
    defer { cluster.remove() }
    try cluster.nodes[0].ip("link", "add", "flannel.1", "type", "bridge")
    let agent = try cluster.agent(0)
    #expect(try agent.wait() == .status(1))
    #expect(agent.log.contains("a device of that name exists and is of kind bridge"), "\(agent.log)")
    #expect(cluster.nodes[0].device("flannel.1")?["linkinfo"]?.objectValue?["info_kind"] == "bridge")
    #expect(!Files.exists(cluster.registry + "/subnets"), "no lease was taken")
  }

  @Test func optionsChangeTheDevice() throws {
    let cluster = try TestCluster(
      nodes: 1,
      configuration:
        #"{"Network":"10.244.0.0/16","Backend":{"Type":"VXLAN","VNI":7,"Port":4789,"MTU":1400,"Learning":true,"GBP":true}}"#
    )
    defer { cluster.remove() }
    let agent = try cluster.agent(0)
    try eventually("device\n\(agent.log)") { cluster.nodes[0].device("flannel.7")?["operstate"] == "UNKNOWN" }
    let d = try #require(cluster.nodes[0].device("flannel.7"))
    #expect(d["mtu"]?.intValue == 1350)
    let info = try #require(d["linkinfo"]?.objectValue?["info_data"]?.objectValue)
    #expect(info["id"] == 7 && info["port"] == 4789 && info["learning"] == true && info["gbp"] == true)
  }

  @Test func nexthopObjectsOnRequest() throws {
    let pair = try Pair(#"{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan","NexthopObjects":"always"}}"#)
    defer { pair.remove() }
    let n = pair.cluster.nodes[0]
    let route = try #require(try n.lines("route", "show", "dev", "flannel.1").first { $0.contains("nhid") })
    #expect(route.contains("onlink"))
    let other = try #require(route.split(separator: " ").first?.split(separator: "/").first.map(String.init))
    #expect(n.ping(other))
    try n.expectSuccess("/sbin/ip", ["nexthop", "flush"])
    try eventually("next hops back\n\(pair.a.log)") {
      try n.lines("route", "show", "dev", "flannel.1").contains(route) && n.ping(other)
    }
    // Back to classic routes: the same destination, no object left.
    _ = try pair.a.stop()
    try Files.writeAtomically(
      Array(#"{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan","NexthopObjects":"never"}}"#.utf8),
      to: pair.cluster.registry + "/config", mode: 0o644)
    try pair.a.start()
    try eventually("classic routes") {
      try n.lines("nexthop", "show").isEmpty
        && n.lines("route").contains("\(other)/24 via \(other) dev flannel.1 onlink")
    }
  }

  @Test func directRouting() throws {
    let pair = try Pair(#"{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan","DirectRouting":true}}"#)
    defer { pair.remove() }
    let n = pair.cluster.nodes[0]
    try eventually("a plain route\n\(pair.a.log)") {
      try n.lines("route").contains { $0.contains("via 172.31.77.12 dev eth0 proto 87") }
    }
    #expect(try n.forwarding("flannel.1").isEmpty)
    #expect(try n.lines("neigh", "show", "dev", "flannel.1", "nud", "permanent").isEmpty)
    let route = try #require(try n.lines("route").first { $0.contains("proto 87") })
    try n.ip("route", "del", route.split(separator: " ").first.map(String.init) ?? "")
    try eventually("the route back") { try n.lines("route").contains(route) }
    try n.ip("link", "set", "eth0", "down")
    try n.ip("link", "set", "eth0", "up")
    try eventually("the route back after a flap\n\(pair.a.log)") { try n.lines("route").contains(route) }
  }

  @Test func followsLeases() throws {
    let pair = try Pair(#"{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}"#)
    defer { pair.remove() }
    let n = pair.cluster.nodes[0]
    let file = pair.cluster.registry + "/subnets/10.244.200.0-24"
    func write(_ ip: String, _ mac: String) throws {
      try Files.writeAtomically(
        Array(
          #"{"PublicIP":"\#(ip)","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"\#(mac)"}}"#
            .utf8),
        to: file, mode: 0o644)
    }
    try write("172.31.77.50", "02:00:00:00:00:50")
    try eventually("the peer") {
      try n.forwarding("flannel.1").contains("02:00:00:00:00:50 dst 172.31.77.50 self permanent")
    }
    try write("172.31.77.51", "02:00:00:00:00:50")
    try eventually("another address") {
      try n.forwarding("flannel.1").filter { $0.hasPrefix("02:00:00:00:00:50") }
        == ["02:00:00:00:00:50 dst 172.31.77.51 self permanent"]
    }
    try write("172.31.77.51", "02:00:00:00:00:51")
    try eventually("another MAC") {
      try n.forwarding("flannel.1").filter { $0.contains("172.31.77.51") }
        == ["02:00:00:00:00:51 dst 172.31.77.51 self permanent"]
        && n.lines("neigh", "show", "dev", "flannel.1").contains("10.244.200.0 lladdr 02:00:00:00:00:51 PERMANENT")
    }
    try Files.remove(file)
    try eventually("the peer to go") {
      try n.forwarding("flannel.1").count == 1 && !n.lines("route").contains { $0.hasPrefix("10.244.200") }
        && !n.lines("neigh", "show", "dev", "flannel.1").contains { $0.hasPrefix("10.244.200") }
    }
  }
}
