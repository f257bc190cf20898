import JSON
import NetTypes
import Syscalls
import TestSupport
import Testing

/// Debian's podman with its CNI back end: a caller other than containerd, with a CNI library and habits of its own.
@Suite(
  .needsRoot, .needsPrograms("podman", "conmon", "runc", "busybox", "iptables-save", "nft"), .timeLimit(.minutes(10)))
struct PodmanTests {
  private static let configuration = """
    [network]
    network_backend = "cni"
    cni_plugin_dirs = ["/opt/cni/bin"]
    network_config_dir = "/etc/cni/net.d"
    [engine]
    cgroup_manager = "cgroupfs"
    events_logger = "none"
    runtime = "runc"
    [containers]
    default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]

    """

  /// Published ports answer, a restarted container keeps them, and a removed one leaves nothing.
  @Test func publishedPorts() throws {
    let cluster = try TestCluster(
      nodes: 2, configuration: #"{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}"#)
    defer { cluster.remove() }
    let agent = try cluster.agent(0, rules: true)
    let subnet = try agent.subnet()
    let node = try RuntimeNode(cluster, 0, ["/bin/sleep", "infinity"])
    defer { node.stop() }
    try node.install(ConfigurationList.flannel("0.4.0"))
    let file = try cluster.directory.write(Self.configuration, to: "containers.conf")
    func podman(_ arguments: String...) throws -> String {
      let output = try node.run(
        "/usr/bin/podman", arguments, environment: ["CONTAINERS_CONF=\(file)", "PATH=/usr/sbin:/usr/bin"])
      #expect(output.exit.isSuccess, "podman \(arguments): \(output.text)\(output.errorText)")
      return output.text
    }
    func address(_ container: String) throws -> String {
      let network = try JSONValue(parsing: try podman("inspect", container)).arrayValue?.first?["NetworkSettings"]
      return try #require(network?["Networks"]?["cbr0"]?["IPAddress"]?.stringValue)
    }

    _ = try podman("load", "--input", try TestImage(in: cluster.directory).path)
    _ = try podman(
      "run", "--detach", "--name", "web", "--hostname", "web", "--network", "cbr0", "--publish", "18080:80",
      "--cgroups", "no-conmon", "--cgroup-parent", "/\(node.name)", TestImage.name)
    for round in ["run", "restart"] {
      let address = try address("web")
      #expect(subnet.contains(try #require(IPAddress(address))), "\(round): \(address) is in \(subnet)")
      #expect(node.reservations() == [address], "\(round)")
      #expect(try podman("exec", "web", "ip", "-o", "-4", "addr").contains("inet \(address)/24 "), "\(round)")
      for from in cluster.nodes {
        #expect(try Client.connect("172.31.77.11", 18080, from: from) == "web\n", "\(round)")
      }
      #expect(try !node.rules(with: "18080").isEmpty && !node.rules(with: address).isEmpty, "\(round)")
      if round == "run" { _ = try podman("restart", "--time", "0", "web") }
    }
    let old = try address("web")
    _ = try podman("rm", "--force", "--time", "0", "web")
    #expect(try Client.connect("172.31.77.11", 18080, from: cluster.nodes[1]) == nil)
    #expect(node.reservations().isEmpty)
    #expect(try node.ports().isEmpty)
    #expect(try node.rules(with: "18080").isEmpty && node.rules(with: old).isEmpty)
    node.stop()
    #expect(node.controlGroups.isEmpty)
  }
}
