import Glibc
import NetTypes
import Syscalls
import TestSupport
import Testing

/// A node with a view of its own of what a container runtime and its plugins use: `/run`, `/dev/shm`, `/etc/cni`, `/opt`
/// and `/var/lib` are in memory, and so are the runtime's images and containers. Its processes are in a process namespace
/// and end together, whatever they started.
final class RuntimeNode {
  /// The node's network namespace.
  let namespace: TestNamespace
  /// Part of every name that shows on the machine: control groups.
  let name: String
  /// What the programs wrote.
  let logPath: String
  private let holder: ChildProcess
  private var isRunning = true

  /// The first program of the node's namespaces: makes the view, runs `$@` and waits for orphans.
  private static let script = """
    set -e
    agent=$1 plugins=$2
    shift 2
    mount -t tmpfs -o mode=0755 tmpfs /run
    mkdir -p /run/flannel /run/etc/new /run/etc/work
    mount --bind "$agent" /run/flannel
    mount -t overlay -o lowerdir=/etc,upperdir=/run/etc/new,workdir=/run/etc/work overlay /etc
    rm -rf /etc/cni
    mount -t tmpfs -o mode=0755 tmpfs /var/lib
    mount -t tmpfs -o mode=0755 tmpfs /opt
    mount -t tmpfs -o mode=1777 tmpfs /dev/shm
    mkdir -p /etc/cni/net.d /opt/cni/bin /var/lib/cni
    mount --bind "$plugins" /opt/cni/bin
    # Debian's runtimes look here as well; only ours may be found.
    if [ -d /usr/lib/cni ]; then mount --bind "$plugins" /usr/lib/cni; fi
    touch /run/made
    "$@" &
    wait
    """

  /// Starts the node with a program.
  /// - Parameters:
  ///   - index: the node of the cluster.
  ///   - files: has the plugins in `cni`.
  init(_ cluster: TestCluster, _ index: Int, _ command: [String]) throws {
    namespace = cluster.nodes[index]
    name = "\(namespace.name)-rt"
    let agent = "\(cluster.directory.path)/n\(index)"
    try Files.makeDirectory(agent)
    let plugins = try Self.plugins(cluster.directory)
    logPath = "\(cluster.directory.path)/n\(index)-runtime.log"
    let log = try FileDescriptor.open(logPath, O_WRONLY | O_CREAT | O_APPEND, mode: 0o644)
    holder = try ChildProcess.start(
      "/usr/bin/nsenter",
      [
        "--net=\(namespace.path)", "/usr/bin/unshare", "--mount", "--propagation", "slave", "--pid", "--fork",
        "--kill-child", "--mount-proc", "/bin/sh", "-c", Self.script, "sh", agent, plugins,
      ] + command, stdout: log.number, stderr: log.number)
    try eventually("the node's view\n\(self.log)") { Files.exists(path("/run/made")) }
  }

  deinit { stop() }

  /// A directory with our plugins, all links to the one program.
  private static func plugins(_ directory: TemporaryDirectory) throws -> String {
    let out = directory.file("cni")
    guard !Files.exists(out) else { return out }
    try Files.makeDirectory(out)
    let program = try builtProduct("weft-cni")
    for plugin in ["flannel", "bridge", "host-local", "loopback", "portmap"] {
      try retrying("symlink", plugin) { symlink(program, "\(out)/\(plugin)") }
    }
    return out
  }

  /// Ends everything that runs on the node and removes its control groups.
  func stop() {
    guard isRunning else { return }
    isRunning = false
    // The first process of the namespace takes all others along, and `unshare` ends after it.
    let children = try? ChildProcess.run("/usr/bin/pgrep", ["-P", "\(holder.pid)"]).text.split(separator: "\n")
    for child in children ?? [] { if let pid = pid_t(child) { kill(pid, SIGKILL) } }
    if children?.isEmpty ?? true { holder.signal(SIGKILL) }
    _ = try? holder.wait()
    removeControlGroups()
  }

  private func removeControlGroups() {
    _ = try? ChildProcess.run(
      "/usr/bin/find", ["/sys/fs/cgroup", "-depth", "-type", "d", "-path", "*/\(name)*", "-exec", "rmdir", "{}", "+"])
  }

  /// Control groups on the machine that are this node's.
  var controlGroups: [String] {
    let output = try? ChildProcess.run("/usr/bin/find", ["/sys/fs/cgroup", "-type", "d", "-path", "*/\(name)*"])
    return output?.text.split(separator: "\n").map(String.init) ?? []
  }

  /// A path of the node as the test sees it.
  func path(_ inside: String) -> String { "/proc/\(holder.pid)/root\(inside)" }

  /// Runs a program on the node, whatever its exit status.
  func run(_ program: String, _ arguments: [String], environment: [String]? = nil) throws -> ChildProcess.Output {
    let namespaces = "/proc/\(holder.pid)/ns"
    return try ChildProcess.run(
      "/usr/bin/nsenter",
      [
        "--net=\(namespace.path)", "--mount=\(namespaces)/mnt", "--pid=\(namespaces)/pid_for_children", program,
      ] + arguments, environment: environment)
  }

  /// The last lines of what the programs wrote.
  var log: String { (try? Files.text(logPath))?.split(separator: "\n").suffix(30).joined(separator: "\n") ?? "" }

  /// Puts a network configuration where the runtime looks for it, as the agent's installer does.
  func install(_ list: String) throws {
    try Files.writeAtomically(
      Array(list.utf8), to: path("/etc/cni/net.d/10-flannel.conflist"), mode: 0o644, durable: false)
  }
}

/// What the oracles see of the pods on a node.
extension RuntimeNode {
  /// Addresses that host-local keeps for a network: the names of its files.
  func reservations(of network: String = "cbr0") -> [String] {
    ((try? Files.list(path("/var/lib/cni/networks/\(network)"))) ?? []).filter { IPAddress($0) != nil }.sorted()
  }

  /// Names of the devices on the pods' bridge.
  func ports(of bridge: String = "cni0") throws -> [String] {
    try namespace.ip("link", "show").arrayValue?.filter { $0["master"]?.stringValue == bridge }
      .compactMap { $0["ifname"]?.stringValue } ?? []
  }

  /// Rules of both kinds that have a word in them.
  func rules(with word: String) throws -> [String] {
    var text = ""
    for (tool, arguments) in [("iptables-save", []), ("ip6tables-save", []), ("nft", ["list", "ruleset"])] {
      let output = try run("/usr/sbin/\(tool)", arguments)
      #expect(output.exit.isSuccess, "\(tool): \(output.errorText)")
      text += output.text
    }
    return text.split(separator: "\n").map(\.trimmingSpaces).filter { $0.contains(word) }
  }
}
