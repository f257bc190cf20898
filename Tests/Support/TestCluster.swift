import JSON
import NetTypes
import Netlink
import Syscalls

/// Nodes on one underlay, each a namespace with `eth0` (172.31.77.11, .12, … and fd77::11, …) on a bridge in a namespace
/// of its own, and a shared registry directory.
public final class TestCluster {
  /// The underlay's namespace.
  public let lan: TestNamespace
  /// The nodes, from 0.
  public let nodes: [TestNamespace]
  /// Where the registry and the agents' files are.
  public let directory: TemporaryDirectory
  /// The shared registry.
  public var registry: String { directory.path + "/registry" }

  /// Creates the namespaces and writes the network configuration.
  public init(nodes count: Int, configuration: String) throws {
    directory = try TemporaryDirectory("cluster")
    lan = try TestNamespace("node")
    try lan.ip("link", "add", "lan", "type", "bridge")
    try lan.ip("link", "set", "lan", "up")
    var made: [TestNamespace] = []
    for i in 0..<count {
      let node = try TestNamespace("node")
      let port = "n\(i)"
      try lan.ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", node.name)
      try lan.ip("link", "set", port, "master", "lan", "up")
      try node.ip("addr", "add", "172.31.77.\(11 + i)/24", "dev", "eth0")
      try node.ip("addr", "add", "fd77::\(11 + i)/64", "dev", "eth0", "nodad")
      try node.ip("link", "set", "eth0", "up")
      try node.ip("route", "add", "default", "via", "172.31.77.1")
      made.append(node)
    }
    nodes = made
    try Files.makeDirectory(directory.path + "/registry")
    try Files.writeAtomically(Array(configuration.utf8), to: directory.path + "/registry/config", mode: 0o644)
  }

  /// Starts an agent on a node.
  public func agent(
    _ node: Int, flags: [String] = [], rules: Bool = false, path: String? = nil
  ) throws -> AgentProcess {
    try AgentProcess(
      in: nodes[node], registry: registry, directory: directory.path, name: "n\(node)", flags: flags, rules: rules,
      path: path)
  }

  /// Removes the namespaces now.
  public func remove() {
    for n in nodes { n.remove() }
    lan.remove()
  }
}

/// What the tests look at in a node, as the system's tools print it.
extension TestNamespace {
  /// `ip -d link show DEVICE`, nil when there is none.
  public func device(_ name: String) -> JSONObject? {
    (try? ip("-d", "link", "show", name))?.arrayValue?.first?.objectValue
  }

  /// `bridge fdb show dev DEVICE` as text lines, sorted.
  public func forwarding(_ device: String) throws -> [String] {
    try run("/sbin/bridge", ["fdb", "show", "dev", device]).text.split(separator: "\n").map {
      $0.trimmingSpaces
    }.filter { !$0.isEmpty }.sorted()
  }

  /// True when one echo request is answered.
  public func ping(_ address: String) -> Bool {
    (try? run("/bin/ping", ["-c", "1", "-W", "2", address]))?.exit.isSuccess == true
  }

  /// Runs a program that must succeed.
  public func expectSuccess(_ program: String, _ arguments: [String]) throws {
    let output = try run(program, arguments)
    guard output.exit.isSuccess else {
      throw Failure(description: "\(program) \(arguments.joined(separator: " ")): \(output.exit): \(output.errorText)")
    }
  }

  /// `ip ARGUMENTS` as text lines, sorted.
  public func lines(_ arguments: String...) throws -> [String] {
    try run("/sbin/ip", arguments).text.split(separator: "\n").map(\.trimmingSpaces).filter { !$0.isEmpty }.sorted()
  }
}

extension StringProtocol {
  /// Without spaces at both ends.
  public var trimmingSpaces: String {
    var s = Substring(self)
    while let c = s.first, c == " " || c == "\t" { s = s.dropFirst() }
    while let c = s.last, c == " " || c == "\t" { s = s.dropLast() }
    return String(s)
  }
}
