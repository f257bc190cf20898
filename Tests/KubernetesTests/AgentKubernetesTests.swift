import Glibc
import JSON
import KubeSupport
import KubeTypes
import Syscalls
import TestSupport
import Testing

@Suite(.needsRoot) struct AgentKubernetesTests {
  @Test(arguments: [true, false]) func twoNodesReachEachOther(_ hasProtobuf: Bool) throws {
    let cluster = try KubernetesCluster(nodes: 2)
    defer { cluster.remove() }
    cluster.server.setProtobuf(hasProtobuf)
    let agents = [try cluster.agent(0), try cluster.agent(1)]
    for i in 0..<2 { try cluster.waitUntilReady(i, agents[i]) }
    for i in 0..<2 {
      try eventually("routes of node \(i)") {
        try cluster.routes(i) == ["10.244.\(2 - i).0/24 via 10.244.\(2 - i).0 onlink"]
      }
      let mac = try #require(cluster.nodes[i].device("flannel.1")?["address"]?.stringValue)
      #expect(cluster.annotation("node-\(i)", "backend-data") == #"{"VNI":1,"VtepMAC":"\#(mac)"}"#)
      #expect(cluster.annotation("node-\(i)", "backend-type") == "vxlan")
      #expect(cluster.annotation("node-\(i)", "public-ip") == "172.31.77.\(11 + i)")
      #expect(cluster.annotation("node-\(i)", "kube-subnet-manager") == "true")
      #expect(
        try Files.text(agents[i].subnetFile) == """
          FLANNEL_NETWORK=10.244.0.0/16
          FLANNEL_SUBNET=10.244.\(i + 1).1/24
          FLANNEL_MTU=1450
          FLANNEL_IPMASQ=false

          """)
    }
    // Two addresses as pods would have them.
    for i in 0..<2 { try cluster.nodes[i].ip("addr", "add", "10.244.\(i + 1).9/32", "dev", "lo") }
    try eventually("a ping across") { cluster.nodes[0].ping("10.244.2.9") && cluster.nodes[1].ping("10.244.1.9") }
  }

  @Test func theConditionIsSetOnceAndOnlyChangesArePatched() throws {
    let cluster = try KubernetesCluster(nodes: 1)
    defer { cluster.remove() }
    let agent = try cluster.agent(0)
    try cluster.waitUntilReady(0, agent)
    func condition() -> JSONObject? {
      cluster.server.object("node-0")?[path: ["status", "conditions"]]?.arrayValue?.compactMap(\.objectValue).first {
        $0["type"] == "NetworkUnavailable"
      }
    }
    try eventually("the condition is set\n\(agent.log)") { condition() != nil }
    #expect(condition()?["status"] == "False")
    #expect(condition()?["reason"] == "FlannelIsUp")
    #expect(condition()?["message"] == "Flannel is running on this node")
    let patches = cluster.server.requests("patch")
    #expect(patches.count == 2)
    for patch in patches {
      #expect(patch.path == "/api/v1/nodes/node-0/status")
      #expect(patch.headers["content-type"] == "application/strategic-merge-patch+json")
    }
    #expect(
      try JSONValue(parsing: patches[0].body)[path: ["metadata", "annotations"]]?.objectValue?.members.map(\.name) == [
        KubernetesCluster.prefix + "backend-data", KubernetesCluster.prefix + "backend-type",
        KubernetesCluster.prefix + "kube-subnet-manager", KubernetesCluster.prefix + "public-ip",
      ])
    // A second start finds everything as it must be.
    let mac = cluster.nodes[0].device("flannel.1")?["address"]
    try agent.stop()
    try cluster.nodes[0].ip("link", "del", "flannel.1")
    try agent.start()
    try eventually("ready again\n\(agent.log)") {
      agent.log.split(separator: "\n").count { $0.hasSuffix("flannel is ready") } == 2
    }
    #expect(cluster.nodes[0].device("flannel.1")?["address"] == mac)
    try cluster.waitUntilReady(0, agent)
    #expect(cluster.server.requests("patch").count == 2)
  }

  @Test func peersComeChangeAndGo() throws {
    let cluster = try KubernetesCluster(nodes: 1)
    defer { cluster.remove() }
    cluster.server.put(KubernetesCluster.peer(50))
    let agent = try cluster.agent(0)
    try cluster.waitUntilReady(0, agent)
    let route = "10.244.50.0/24 via 10.244.50.0 onlink"
    try eventually("the first peer") { try cluster.routes(0) == [route] }
    cluster.server.put(KubernetesCluster.peer(51))
    try eventually("the second peer") { try cluster.routes(0) == [route, "10.244.51.0/24 via 10.244.51.0 onlink"] }
    // Another address and another MAC: nothing of the old ones stays.
    cluster.server.put(
      KubernetesCluster.peer(51, ip: "172.31.77.99", data: #"{"VNI":1,"VtepMAC":"0a:00:00:00:00:99"}"#))
    try eventually("the peer has moved") {
      try cluster.nodes[0].forwarding("flannel.1") == [
        "0a:00:00:00:00:32 dst 172.31.77.50 self permanent", "0a:00:00:00:00:99 dst 172.31.77.99 self permanent",
      ]
    }
    // Its pod CIDR changes, and it takes no part any more.
    cluster.server.put(KubernetesCluster.peer(51, subnet: "10.244.61.0/24"))
    try eventually("another subnet") { try cluster.routes(0) == [route, "10.244.61.0/24 via 10.244.61.0 onlink"] }
    try cluster.annotate("peer-51", [("kube-subnet-manager", nil)])
    try eventually("no part any more") { try cluster.routes(0) == [route] }
    cluster.server.remove("peer-50")
    try eventually("gone") { try cluster.routes(0).isEmpty }
  }

  @Test func whatHappenedDuringAnOutageIsFound() throws {
    let cluster = try KubernetesCluster(nodes: 1)
    defer { cluster.remove() }
    for i in 50..<53 { cluster.server.put(KubernetesCluster.peer(i)) }
    let agent = try cluster.agent(0)
    try eventually("three peers\n\(agent.log)") { try cluster.routes(0).count == 3 }
    let archive = cluster.directory.file("n0/weft-nodes.json")
    try eventually("the nodes are kept") { Files.exists(archive) }
    cluster.server.stopListening()
    cluster.server.remove("peer-51")
    cluster.server.put(KubernetesCluster.peer(60))
    try eventually("the outage is told") { agent.log.contains("going on with what is known") }
    #expect(try cluster.routes(0).count == 3)
    // A start without the API server, after everything was lost.
    try agent.stop(SIGKILL)
    let mac = cluster.nodes[0].device("flannel.1")?["address"]
    try cluster.nodes[0].ip("link", "del", "flannel.1")
    try Files.remove(agent.subnetFile)
    try agent.start()
    try cluster.waitUntilReady(0, agent)
    #expect(agent.log.contains("going on with the 4 nodes of an earlier run"))
    #expect(try cluster.routes(0).count == 3)
    #expect(cluster.nodes[0].device("flannel.1")?["address"] == mac)
    try cluster.server.listen()
    try eventually("the changes arrive\n\(agent.log)", within: 60) {
      try cluster.routes(0).compactMap { $0.split(separator: " ").first } == [
        "10.244.50.0/24", "10.244.52.0/24", "10.244.60.0/24",
      ]
    }
  }

  @Test func aNodeWithoutPodCIDRWaits() throws {
    let cluster = try KubernetesCluster(nodes: 1) { _ in [] }
    defer { cluster.remove() }
    let agent = try cluster.agent(0)
    let text = "node \"node-0\" pod cidr not assigned"
    try eventually("the reason is told\n\(agent.log)") { cluster.readiness(0)?.contains(text) == true }
    try eventually("an event") { !cluster.server.events.isEmpty }
    let event = try #require(cluster.server.events.first?.objectValue)
    #expect(event["reason"] == "PodCIDRNotAssigned")
    #expect(event["message"]?.stringValue?.hasPrefix(text) == true)
    #expect(event["involvedObject"]?.objectValue?["name"] == "node-0")
    #expect(!Files.exists(agent.subnetFile))
    cluster.server.put(KubernetesCluster.node(0, podCIDRs: ["10.244.7.0/24"]))
    try cluster.waitUntilReady(0, agent)
    #expect(try Files.text(agent.subnetFile).contains("FLANNEL_SUBNET=10.244.7.1/24"))
    #expect(cluster.server.events.count == 1)
  }

  @Test(arguments: [
    (
      ["10.245.1.0/24"],
      "specified in the flannel net config doesn't contain \"10.245.1.0/24\" PodCIDR of the \"node-0\""
    ),
    (["10.244.1.0/24", "fd00::/64", "10.244.2.0/24"], "pod cidrs should be IPv4/IPv6 only or dualstack"),
    (["10.244.1.0"], "has the pod cidr \"10.244.1.0\", expected a subnet"),
  ])
  func podCIDRsThatCannotWork(_ podCIDRs: [String], _ text: String) throws {
    let cluster = try KubernetesCluster(nodes: 1) { _ in podCIDRs }
    defer { cluster.remove() }
    let agent = try cluster.agent(0)
    #expect(try agent.wait() == .status(1))
    #expect(agent.log.contains(text), "\(agent.log)")
    #expect(cluster.nodes[0].device("flannel.1") == nil)
  }

  @Test func signalsEndEveryWait() throws {
    let cluster = try KubernetesCluster(nodes: 1) { _ in [] }
    defer { cluster.remove() }
    let waiting = try cluster.agent(0)
    try eventually("it waits") { cluster.readiness(0)?.contains("not assigned") == true }
    #expect(try waiting.stop() == .status(0))
    // While the patch is refused.
    cluster.server.put(KubernetesCluster.node(0, podCIDRs: ["10.244.1.0/24"]))
    cluster.server.deny("patch", "nodes/status")
    try waiting.start()
    try eventually("it cannot patch") { cluster.readiness(0)?.contains("verbs [\"patch\"]") == true }
    #expect(try waiting.stop() == .status(0))
    #expect(cluster.nodes[0].device("flannel.1") == nil)
  }
}
