import Glibc
import JSON
import KubeSupport
import KubeTypes
import Syscalls
import TestSupport
import Testing

/// What goes wrong in clusters, and what the agent says and does then.
@Suite(.needsRoot) struct KubernetesBadInputTests {
  @Test(arguments: [
    ("list nodes", "cannot list nodes", "apiGroups [\"\"], resources [\"nodes\"], verbs [\"list\"]"),
    (
      "patch nodes/status", "cannot patch nodes/status node-0",
      "apiGroups [\"\"], resources [\"nodes/status\"], verbs [\"patch\"]"
    ),
  ])
  func missingRightsAreNamed(_ right: String, _ action: String, _ rule: String) throws {
    let cluster = try KubernetesCluster(nodes: 1)
    defer { cluster.remove() }
    let words = right.split(separator: " ").map(String.init)
    cluster.server.deny(words[0], words[1])
    let agent = try cluster.agent(0)
    try eventually("the right is named: \(cluster.readiness(0) ?? "") \(agent.log)") {
      guard let text = cluster.readiness(0) else { return false }
      return text.contains(action) && text.contains(rule)
    }
    #expect(agent.log.contains(rule))
    cluster.server.deny(words[0], words[1], false)
    try cluster.waitUntilReady(0, agent)
  }

  @Test func withoutTheRightToCreateEventsItWorksAllTheSame() throws {
    let cluster = try KubernetesCluster(nodes: 1) { _ in [] }
    defer { cluster.remove() }
    cluster.server.deny("create", "events")
    let agent = try cluster.agent(0)
    try eventually("the right is named\n\(agent.log)") {
      agent.log.contains("resources [\"events\"], verbs [\"create\"]")
    }
    cluster.server.put(KubernetesCluster.node(0, podCIDRs: ["10.244.1.0/24"]))
    try cluster.waitUntilReady(0, agent)
  }

  @Test func anExpiredToken() throws {
    let cluster = try KubernetesCluster(nodes: 1)
    defer { cluster.remove() }
    cluster.server.accept(tokens: ["another"])
    let agent = try cluster.agent(0)
    try eventually("the token is blamed") { cluster.readiness(0)?.contains("is the token expired") == true }
    // Kubernetes replaces the file; nobody restarts the agent.
    try cluster.directory.write("another", to: "token")
    try cluster.waitUntilReady(0, agent)
  }

  @Test func anotherAuthority() throws {
    let cluster = try KubernetesCluster(nodes: 1)
    defer { cluster.remove() }
    let text = try Files.text(cluster.directory.file("kubeconfig"))
    let ours = try KubernetesCluster.certificates.get().authority
    let other = try TestCertificates()
    try cluster.directory.write(
      text.split(separator: ours, omittingEmptySubsequences: false).joined(separator: other.authority), to: "kubeconfig"
    )
    let agent = try cluster.agent(0)
    try eventually("CA and clock are named\n\(agent.log)") {
      cluster.readiness(0)?.contains("its certificate is not signed by the authorities we have, or not valid now")
        == true
    }
    #expect(agent.log.contains("compare the CA, and the clock, which says 20"))
  }

  @Test func peersThatCannotBeServed() throws {
    let cluster = try KubernetesCluster(nodes: 1)
    defer { cluster.remove() }
    cluster.server.put(KubernetesCluster.peer(50))
    cluster.server.put(KubernetesCluster.peer(51, type: "wireguard"))
    cluster.server.put(KubernetesCluster.peer(52, data: "{\"VNI\":"))
    cluster.server.put(KubernetesCluster.peer(53, subnet: "10.99.0.0/24"))
    cluster.server.put(KubernetesCluster.peer(54, subnet: "10.244.1.0/24"))
    cluster.server.put(KubernetesCluster.peer(55, ip: "172.31.77.50"))
    let agent = try cluster.agent(0)
    try cluster.waitUntilReady(0, agent)
    try eventually("the good one\n\(agent.log)") {
      try cluster.routes(0).contains("10.244.50.0/24 via 10.244.50.0 onlink")
    }
    try eventually("all are told\n\(agent.log)") {
      [
        "ignoring the lease 10.244.51.0-24 (peer-51): its back end is \"wireguard\", expected \"vxlan\"",
        "node peer-52: the annotation flannel.alpha.coreos.com/backend-data is not JSON",
        "ignoring the lease of 10.99.0.0/24 of node peer-53: it is outside of the cluster network 10.244.0.0/16",
        "ignoring the lease of 10.244.1.0/24 of node peer-54: it overlaps this node's subnet 10.244.1.0/24",
        "the nodes peer-50 and peer-55 both announce the address 172.31.77.50",
      ].allSatisfy(agent.log.contains)
    }
    #expect(try !cluster.routes(0).contains { $0.hasPrefix("10.99") || $0.hasPrefix("10.244.1.") })
  }

  @Test func ofTwoNodesWithTheSameSubnetTheFirstOneStays() throws {
    let cluster = try KubernetesCluster(nodes: 1)
    defer { cluster.remove() }
    cluster.server.put(KubernetesCluster.peer(70, subnet: "10.244.50.0/24"))
    let agent = try cluster.agent(0)
    try cluster.waitUntilReady(0, agent)
    func entries() throws -> [String] { try cluster.nodes[0].forwarding("flannel.1") }
    try eventually("the first") { try entries() == ["0a:00:00:00:00:46 dst 172.31.77.70 self permanent"] }
    cluster.server.put(KubernetesCluster.peer(60, subnet: "10.244.50.0/24"))
    try eventually("it is told\n\(agent.log)") {
      agent.log.contains(
        "ignoring the lease of 10.244.50.0/24 of node peer-60: it overlaps the lease of 10.244.50.0/24 of node peer-70")
    }
    #expect(try entries() == ["0a:00:00:00:00:46 dst 172.31.77.70 self permanent"])
    cluster.server.remove("peer-70")
    try eventually("the second takes its place") {
      try entries() == ["0a:00:00:00:00:3c dst 172.31.77.60 self permanent"]
    }
  }

  @Test func annotationsThatBreakKeepThePeer() throws {
    let cluster = try KubernetesCluster(nodes: 1)
    defer { cluster.remove() }
    cluster.server.put(KubernetesCluster.peer(50))
    let agent = try cluster.agent(0)
    try eventually("the peer") { try cluster.routes(0).count == 1 }
    try cluster.annotate("peer-50", [("backend-data", "oops"), ("public-ip", "here")])
    try eventually("it is told\n\(agent.log)") { agent.log.contains("going on with what it said before") }
    #expect(try cluster.routes(0).count == 1)
    cluster.server.remove("peer-50")
    try eventually("gone all the same") { try cluster.routes(0).isEmpty }
  }

  @Test func theOperatorsAddressesAreUsed() throws {
    let cluster = try KubernetesCluster(nodes: 1)
    defer { cluster.remove() }
    try cluster.nodes[0].ip("addr", "add", "172.31.77.200/24", "dev", "eth0")
    try cluster.annotate("node-0", [("node-public-ip", "172.31.77.200"), ("public-ip-overwrite", "203.0.113.7")])
    let agent = try cluster.agent(0)
    try cluster.waitUntilReady(0, agent)
    #expect(agent.log.contains("Using 172.31.77.200 as external IPv4 address"))
    #expect(cluster.annotation("node-0", "public-ip") == "203.0.113.7")
    // Taken away while the agent runs.
    try cluster.annotate("node-0", [("public-ip-overwrite", nil)])
    try eventually("the address of the node") { cluster.annotation("node-0", "public-ip") == "172.31.77.200" }
    // Somebody removes what others reach the node by.
    try cluster.annotate("node-0", [("backend-data", nil), ("kube-subnet-manager", "false")])
    try eventually("it is put back", within: 20) {
      cluster.annotation("node-0", "kube-subnet-manager") == "true"
        && cluster.annotation("node-0", "backend-data") != nil
    }
  }

  @Test func theNodeIsFoundThroughThePod() throws {
    let cluster = try KubernetesCluster(nodes: 1)
    defer { cluster.remove() }
    let variables = ["POD_NAME=weft-x", "POD_NAMESPACE=kube-flannel"]
    let agent = try cluster.agent(0, variables: variables)
    try eventually("the pod is missing: \(cluster.readiness(0) ?? "")") {
      cluster.readiness(0)?.contains("cannot get pods kube-flannel/weft-x") == true
    }
    cluster.server.put(KubeFixtures.pod("weft-x", namespace: "kube-flannel", node: "node-0"), resource: "pods")
    try cluster.waitUntilReady(0, agent)
    #expect(agent.log.contains("Created subnet manager: Kubernetes Subnet Manager - node-0"))
    let nobody = try AgentProcess(
      in: cluster.nodes[0], registry: nil, directory: cluster.directory.path, name: "nobody",
      flags: [
        "--kube-subnet-mgr", "--kubeconfig-file", cluster.directory.file("kubeconfig"), "--net-config-path",
        cluster.directory.file("net-conf.json"),
      ])
    #expect(try nobody.wait() == .status(1))
    #expect(nobody.log.contains("env variables POD_NAME and POD_NAMESPACE must be set"))
  }

  @Test(arguments: [
    (["--net-config-path=/nowhere/net-conf.json"], "flannel config not found: there is no /nowhere/net-conf.json"),
    (["--kube-annotation-prefix=org"], "subnet/kube: prefix must be in a format: fqdn/[0-9a-z-_]*"),
    (["--kube-annotation-prefix=org.com/a/b"], "subnet/kube: prefix can contain at most single slash"),
    (["--kubeconfig-file=/nowhere"], "--kubeconfig-file"),
  ])
  func whatCannotWorkExitsWithOne(_ flags: [String], _ text: String) throws {
    let cluster = try KubernetesCluster(nodes: 1)
    defer { cluster.remove() }
    let agent = try cluster.agent(0, flags: flags)
    #expect(try agent.wait() == .status(1))
    #expect(agent.log.contains(text), "\(agent.log)")
  }

  @Test func anotherPrefixKeepsTheMAC() throws {
    let cluster = try KubernetesCluster(nodes: 1)
    defer { cluster.remove() }
    let agent = try cluster.agent(0, flags: ["--kube-annotation-prefix=example.com/net"])
    try cluster.waitUntilReady(0, agent)
    let data = cluster.server.object("node-0")?[path: ["metadata", "annotations", "example.com/net-backend-data"]]
    let mac = try #require(cluster.nodes[0].device("flannel.1")?["address"]?.stringValue)
    #expect(data == .string(#"{"VNI":1,"VtepMAC":"\#(mac)"}"#))
    try agent.stop()
    try cluster.nodes[0].ip("link", "del", "flannel.1")
    try agent.start()
    try eventually("made again\n\(agent.log)") { cluster.nodes[0].device("flannel.1")?["address"] == .string(mac) }
  }

  @Test func aNodeWithAnotherPodCIDREndsTheAgent() throws {
    let cluster = try KubernetesCluster(nodes: 1)
    defer { cluster.remove() }
    let agent = try cluster.agent(0)
    try cluster.waitUntilReady(0, agent)
    cluster.server.remove("node-0")
    try eventually("the removal is told") { agent.log.contains("was removed from Kubernetes; its network stays") }
    cluster.server.put(KubernetesCluster.node(0, podCIDRs: ["10.244.9.0/24"]))
    #expect(try agent.wait(seconds: 20) == .status(1))
    #expect(agent.log.contains("is 10.244.9.0/24 now, it was 10.244.1.0/24: ending"))
    try agent.start()
    try cluster.waitUntilReady(0, agent)
    #expect(try Files.text(agent.subnetFile).contains("FLANNEL_SUBNET=10.244.9.1/24"))
  }

  @Test func aNodeThatIsNotThereYet() throws {
    let cluster = try KubernetesCluster(nodes: 1)
    defer { cluster.remove() }
    cluster.server.remove("node-0")
    let agent = try cluster.agent(0)
    try eventually("it is told") { cluster.readiness(0)?.contains("there is no node \"node-0\"") == true }
    cluster.server.put(KubernetesCluster.node(0, podCIDRs: ["10.244.1.0/24"]))
    try cluster.waitUntilReady(0, agent)
  }
}
