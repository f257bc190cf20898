import JSON
import NetTypes
import Syscalls
import TestSupport
import Testing

private let vxlan = #"{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}"#

/// Debian's containerd calls the plugins: through CRI, as kubelet has it do, and for `ctr`.
@Suite(
  .needsRoot, .needsPrograms("containerd", "ctr", "runc", "busybox", "iptables-save", "nft"), .serialized,
  .timeLimit(.minutes(10)))
struct ContainerdTests {
  /// A node is ready when the configuration arrives, not before, and pods start once the agent has written its subnet;
  /// a failed start leaves nothing.
  @Test func theNodeIsReadyWithTheConfiguration() throws {
    let cluster = try TestCluster(nodes: 1, configuration: vxlan)
    defer { cluster.remove() }
    let containerd = try ContainerdNode(cluster, 0)
    defer { containerd.node.stop() }
    try containerd.load(TestImage(in: cluster.directory))
    #expect(try containerd.cri.conditions()["RuntimeReady"]?.isTrue == true)
    let early = try containerd.networkReady()
    #expect(!early.isTrue && early.message.contains("cni plugin not initialized"), "\(early)")
    #expect(throws: UnaryCall.Failure.self, "no pod without a network") { try containerd.cri.run("early") }

    try containerd.node.install(ConfigurationList.flannel())
    try eventually("NetworkReady\n\(containerd.node.log)") { try containerd.networkReady().isTrue }
    let refusal = #expect(throws: UnaryCall.Failure.self, "no pod without a subnet") {
      try containerd.cri.run("waiting")
    }
    #expect(refusal?.description.contains("/run/flannel/subnet.env") == true, "\(refusal?.description ?? "none")")
    #expect(try containerd.node.namespace.ip("link", "show").arrayValue?.count == 2, "lo and eth0")
    #expect(containerd.node.reservations().isEmpty)

    let agent = try cluster.agent(0, rules: true)
    let subnet = try agent.subnet()
    let pod = try containerd.cri.run("waiting")
    #expect(subnet.contains(try #require(IPAddress(pod.address))), "\(pod.address) is in \(subnet)")
    try containerd.cri.remove(pod)
    #expect(containerd.node.reservations().isEmpty)

    try Files.remove(containerd.node.path("/etc/cni/net.d/10-flannel.conflist"))
    try eventually("NetworkReady is false again") { try !containerd.networkReady().isTrue }
  }

  /// Pods of two nodes reach each other, their host ports answer, and a stopped pod leaves nothing.
  @Test(arguments: [("0.3.1", nil), ("1.0.0", "nftables")])
  func podsOfTwoNodes(_ version: String, _ backend: String?) throws {
    let cluster = try TestCluster(nodes: 2, configuration: vxlan)
    defer { cluster.remove() }
    let agents = try [0, 1].map { try cluster.agent($0, rules: true) }
    let image = try TestImage(in: cluster.directory)
    let nodes = try [0, 1].map { try ContainerdNode(cluster, $0) }
    defer { for node in nodes { node.node.stop() } }
    var pods: [CRIClient.Pod] = []
    for (i, node) in nodes.enumerated() {
      try node.load(image)
      try node.node.install(ConfigurationList.flannel(version, backend: backend))
      try eventually("NetworkReady\n\(node.node.log)") { try node.networkReady().isTrue }
      let subnet = try agents[i].subnet()
      pods.append(try node.cri.run("web\(i)", ports: [.init(host: 18080, container: 80)]))
      #expect(subnet.contains(try #require(IPAddress(pods[i].address))), "\(pods[i].address) is in \(subnet)")
      try expectNetwork(of: pods[i], on: node)
    }
    for (i, node) in nodes.enumerated() {
      let other = 1 - i
      let ping = try node.exec(pods[i], "ping", "-c", "1", "-W", "5", pods[other].address)
      #expect(ping.exit.isSuccess, "\(ping.text)\(ping.errorText)")
      #expect(try node.exec(pods[i], "nc", pods[other].address, "80").text == "web\(other)\n")
      // Its own host port leads a pod back to itself.
      #expect(try node.exec(pods[i], "nc", "172.31.77.\(11 + i)", "18080").text == "web\(i)\n")
      // The host port, from the other node, from the node itself and by its loopback address.
      let address = "172.31.77.\(11 + i)"
      #expect(try Client.connect(address, 18080, from: cluster.nodes[other]) == "web\(i)\n")
      #expect(try Client.connect(address, 18080, from: cluster.nodes[i]) == "web\(i)\n")
      #expect(try Client.connect("127.0.0.1", 18080, from: cluster.nodes[i]) == "web\(i)\n")
    }
    for (i, node) in nodes.enumerated() {
      try node.cri.stop(pods[i])
      #expect(try Client.connect("172.31.77.\(11 + i)", 18080, from: cluster.nodes[1 - i]) == nil)
      try expectNothing(of: pods[i], on: node)
      try node.cri.stop(pods[i])
      try node.cri.remove(pods[i])
      node.node.stop()
      #expect(node.node.controlGroups.isEmpty)
    }
  }

  /// What a pod has on its node: an address in a network namespace, a port of the bridge, a reservation, rules.
  private func expectNetwork(of pod: CRIClient.Pod, on node: ContainerdNode) throws {
    let addresses = try node.exec(pod, "ip", "-o", "-4", "addr", "show", "dev", "eth0").text
    #expect(addresses.contains("inet \(pod.address)/24 "), "\(addresses)")
    #expect(node.node.reservations() == [pod.address])
    #expect(try node.node.ports().count == 1)
    #expect(try !node.node.rules(with: "18080").isEmpty)
    #expect(try !node.node.rules(with: pod.address).isEmpty)
    #expect(try Files.list(node.node.path("/run/netns")).count == 1)
  }

  /// Nothing of that is left.
  private func expectNothing(of pod: CRIClient.Pod, on node: ContainerdNode) throws {
    #expect(node.node.reservations().isEmpty)
    #expect(try node.node.ports().isEmpty)
    #expect(try node.node.rules(with: "18080").isEmpty)
    for address in pod.addresses { #expect(try node.node.rules(with: address).isEmpty) }
    #expect(try Files.list(node.node.path("/run/netns")).isEmpty)
  }

  /// A pod of a dual-stack network has an address of each family, and both work across nodes and for host ports.
  @Test func dualStack() throws {
    let cluster = try TestCluster(
      nodes: 2,
      configuration: """
        {"Network":"10.244.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:10:244::/48","Backend":{"Type":"vxlan"}}
        """)
    defer { cluster.remove() }
    let agents = try [0, 1].map { try cluster.agent($0, rules: true) }
    let image = try TestImage(in: cluster.directory)
    let nodes = try [0, 1].map { try ContainerdNode(cluster, $0) }
    defer { for node in nodes { node.node.stop() } }
    var pods: [CRIClient.Pod] = []
    for (i, node) in nodes.enumerated() {
      try node.load(image)
      try node.node.install(ConfigurationList.flannel())
      _ = try agents[i].subnet()
      try eventually("NetworkReady\n\(node.node.log)") { try node.networkReady().isTrue }
      pods.append(try node.cri.run("web\(i)", ports: [.init(host: 18080, container: 80)]))
      #expect(pods[i].addresses.compactMap { IPAddress($0)?.family } == [.ipv4, .ipv6], "\(pods[i])")
      #expect(node.node.reservations() == pods[i].addresses.sorted())
    }
    for address in pods[1].addresses {
      // The kernel first makes sure that nobody else has an IPv6 address.
      try eventually("an answer of \(address)") {
        try nodes[0].exec(pods[0], "ping", "-c", "1", "-W", "2", address).exit.isSuccess
      }
    }
    for address in ["172.31.77.12", "fd77::12"] {
      #expect(try Client.connect(address, 18080, from: cluster.nodes[0]) == "web1\n", "\(address)")
    }
    for (i, node) in nodes.enumerated() {
      try node.cri.remove(pods[i])
      try expectNothing(of: pods[i], on: node)
    }
  }

  /// containerd is killed and started again: pods stay as they are, and what was started before can be freed.
  @Test func containerdIsKilled() throws {
    let cluster = try TestCluster(nodes: 1, configuration: vxlan)
    defer { cluster.remove() }
    let agent = try cluster.agent(0, rules: true)
    let containerd = try ContainerdNode(cluster, 0)
    defer { containerd.node.stop() }
    try containerd.load(TestImage(in: cluster.directory))
    try containerd.node.install(ConfigurationList.flannel())
    _ = try agent.subnet()
    try eventually("NetworkReady\n\(containerd.node.log)") { try containerd.networkReady().isTrue }
    let old = try containerd.cri.run("old", ports: [.init(host: 18080, container: 80)])
    func answer() throws -> String? { try Client.connect("127.0.0.1", 18080, from: cluster.nodes[0]) }
    try containerd.killAndAwaitNext()
    #expect(try answer() == "old\n")
    #expect(try containerd.networkReady().isTrue)
    #expect(try containerd.cri.pod(old.id) == old)
    let new = try containerd.cri.run("new")
    #expect(containerd.node.reservations().count == 2)
    for pod in [old, new] { try containerd.cri.remove(pod) }
    for pod in [old, new] { try expectNothing(of: pod, on: containerd) }
  }

  /// Pods that are started and stopped at the same time, as after a reboot, get addresses of their own and leave nothing.
  @Test func podsAtTheSameTime() throws {
    let cluster = try TestCluster(nodes: 1, configuration: vxlan)
    defer { cluster.remove() }
    let agent = try cluster.agent(0, rules: true)
    let containerd = try ContainerdNode(cluster, 0)
    defer { containerd.node.stop() }
    try containerd.load(TestImage(in: cluster.directory))
    try containerd.node.install(ConfigurationList.flannel())
    let subnet = try agent.subnet()
    try eventually("NetworkReady\n\(containerd.node.log)") { try containerd.networkReady().isTrue }
    let cri = containerd.cri
    let pods = try simultaneously(0..<12) { i in
      try cri.run("web\(i)", ports: [.init(host: 18080 + i, container: 80)])
    }
    let addresses = Set(pods.compactMap { IPAddress($0.address) })
    #expect(addresses.count == pods.count && addresses.allSatisfy(subnet.contains), "\(addresses)")
    #expect(Set(containerd.node.reservations()) == Set(pods.map(\.address)))
    for i in pods.indices {
      #expect(try Client.connect("127.0.0.1", UInt16(18080 + i), from: cluster.nodes[0]) == "web\(i)\n")
    }
    _ = try simultaneously(pods) { try cri.remove($0) }
    #expect(containerd.node.reservations().isEmpty)
    #expect(try containerd.node.ports().isEmpty)
    #expect(try containerd.node.rules(with: "dports 180").isEmpty)
    for pod in pods { #expect(try containerd.node.rules(with: "\(pod.address):").isEmpty) }
  }

  /// `ctr run --cni` gives a container a network for as long as it runs.
  @Test func ctrRunsAContainerWithANetwork() throws {
    let cluster = try TestCluster(nodes: 2, configuration: vxlan)
    defer { cluster.remove() }
    let agents = try [0, 1].map { try cluster.agent($0, rules: true) }
    let image = try TestImage(in: cluster.directory)
    let nodes = try [0, 1].map { try ContainerdNode(cluster, $0) }
    defer { for node in nodes { node.node.stop() } }
    for node in nodes {
      try node.load(image)
      try node.node.install(ConfigurationList.flannel())
    }
    let subnets = try agents.map { try $0.subnet() }
    try eventually("NetworkReady\n\(nodes[1].node.log)") { try nodes[1].networkReady().isTrue }
    let pod = try nodes[1].cri.run("web")
    let script = "ip -o -4 addr show dev eth0 && ping -c 1 -W 5 \(pod.address) && nc \(pod.address) 80"
    let output = try nodes[0].ctr(["run", "--rm", "--cni", TestImage.name, "client", "/bin/sh", "-c", script])
    #expect(output.exit.isSuccess, "\(output.errorText)\n\(nodes[0].node.log)")
    #expect(output.text.hasSuffix("web\n"), "\(output.text)")
    let words = output.text.split(whereSeparator: \.isWhitespace)
    let address = words.firstIndex(of: "inet").flatMap { IPPrefix(words[$0 + 1]) }?.address
    #expect(subnets[0].contains(try #require(address)), "\(output.text)")
    #expect(nodes[0].node.reservations().isEmpty)
    #expect(try nodes[0].node.ports().isEmpty)
    try nodes[1].cri.remove(pod)
    #expect(nodes[1].node.reservations().isEmpty)
  }
}
