import Syscalls
import TestSupport
import Testing

/// A node with Debian's containerd, which has the test image.
final class ContainerdNode {
  /// Where it runs.
  let node: RuntimeNode
  /// What kubelet would call.
  let cri: CRIClient
  private let socket: String

  /// Starts containerd and waits until it answers.
  init(_ cluster: TestCluster, _ index: Int) throws {
    socket = "\(cluster.directory.path)/c\(index).sock"
    let file = try cluster.directory.write(Self.configuration(socket), to: "c\(index).toml")
    node = try RuntimeNode(cluster, index, ["/bin/sh", "-c", Self.supervisor, "sh", file])
    cri = CRIClient(socket: socket, controlGroup: "/\(node.name)", logPath: node.logPath)
    try awaitAnswer()
  }

  /// Starts containerd again when it ends, as systemd does.
  private static let supervisor = """
    while :; do
      /usr/bin/containerd --config "$1" &
      echo $! > /run/containerd.pid
      wait $!
      sleep 0.1
    done
    """

  private func awaitAnswer() throws {
    try eventually("containerd answers\n\(node.log)", within: 30) { (try? cri.conditions()) != nil }
  }

  /// Kills containerd and waits until it has been started again and answers.
  func killAndAwaitNext() throws {
    let pid = try Files.text(node.path("/run/containerd.pid")).split(separator: "\n").first
    let output = try node.run("/bin/kill", ["-KILL", String(try #require(pid))])
    #expect(output.exit.isSuccess, "\(output.errorText)")
    try eventually("another containerd\n\(node.log)") {
      let now = try Files.text(node.path("/run/containerd.pid")).split(separator: "\n").first
      return now != nil && now != pid
    }
    try awaitAnswer()
  }

  /// containerd 1.6 (CRI v1). The tracing plugins and other snapshotters only fill the log.
  private static func configuration(_ socket: String) -> String {
    """
    version = 2
    root = "/run/containerd-root"
    state = "/run/containerd"
    disabled_plugins = [
      "io.containerd.internal.v1.opt", "io.containerd.internal.v1.tracing", "io.containerd.tracing.processor.v1.otlp",
      "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
      "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
    ]
    [grpc]
      address = "\(socket)"
    [plugins."io.containerd.grpc.v1.cri"]
      sandbox_image = "\(TestImage.name)"
      disable_apparmor = true
      disable_tcp_service = true
      # Where the test may not lower the score, runc could not start.
      restrict_oom_score_adj = true
      [plugins."io.containerd.grpc.v1.cri".cni]
        bin_dir = "/opt/cni/bin"
        conf_dir = "/etc/cni/net.d"

    """
  }

  /// Loads the image for CRI and for `ctr`.
  func load(_ image: TestImage) throws {
    for space in ["k8s.io", node.name] {
      let output = try ctr(["images", "import", image.path], in: space)
      #expect(output.exit.isSuccess, "\(output.errorText)\n\(node.log)")
    }
  }

  /// Runs `ctr` on the node, in its own name space of containers or in CRI's.
  func ctr(_ arguments: [String], in space: String? = nil) throws -> ChildProcess.Output {
    try node.run("/usr/bin/ctr", ["--address", socket, "--namespace", space ?? node.name] + arguments)
  }

  /// Runs a program in a pod, whatever its exit status.
  func exec(_ pod: CRIClient.Pod, _ command: String...) throws -> ChildProcess.Output {
    try ctr(["tasks", "exec", "--exec-id", "e\(UInt32.random(in: 0 ... .max))", pod.id] + command, in: "k8s.io")
  }

  /// What CRI says about the network.
  func networkReady() throws -> CRIClient.Condition {
    try #require(try cri.conditions()["NetworkReady"])
  }
}
