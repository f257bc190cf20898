import Glibc
import JSON
import KubeTypes
import NetTypes
import Netlink
import Syscalls
import TestSupport
import Testing

/// Nodes on one underlay with an API server that all of them reach at 172.31.77.1:6443, over TLS, with a token.
public final class KubernetesCluster {
  /// What flannel's annotations begin with.
  public static let prefix = "flannel.alpha.coreos.com/"
  /// Of the server, and the authority behind them.
  public static let certificates = Result {
    try TestCertificates(names: ["IP:172.31.77.1", "DNS:kubernetes"])
  }

  /// Namespaces and files.
  public let lan: TestCluster
  /// The API server.
  public let server: KubeAPIServer
  /// The nodes, from 0.
  public var nodes: [TestNamespace] { lan.nodes }
  /// Files of the agents, `token`, `kubeconfig` and `net-conf.json`.
  public var directory: TemporaryDirectory { lan.directory }

  /// - Parameters:
  ///   - registered: nodes that kubelet has registered, with these pod CIDRs each.
  public init(
    nodes count: Int, configuration: String = #"{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}"#,
    podCIDRs: (Int) -> [String] = { ["10.244.\($0 + 1).0/24"] }
  ) throws {
    lan = try TestCluster(nodes: count, configuration: configuration)
    try lan.lan.ip("addr", "add", "172.31.77.1/24", "dev", "lan")
    let path = lan.lan.path
    server = try KubeAPIServer(certificates: try Self.certificates.get(), address: "172.31.77.1", port: 6443) {
      try Self.socket(path)
    }
    server.accept(tokens: ["secret"])
    for i in 0..<count { server.put(Self.node(i, podCIDRs: podCIDRs(i))) }
    try directory.write(configuration, to: "net-conf.json")
    try directory.write("secret", to: "token")
    try directory.write(
      """
      apiVersion: v1
      kind: Config
      current-context: test
      contexts: [{name: test, context: {cluster: test, user: agent}}]
      clusters: [{name: test, cluster: {server: "https://172.31.77.1:6443", certificate-authority: "\(
        try Self.certificates.get().authority)"}}]
      users: [{name: agent, user: {tokenFile: "\(directory.file("token"))"}}]
      """, to: "kubeconfig")
  }

  /// As kubelet registers it.
  public static func node(_ i: Int, podCIDRs: [String], annotations: [(String, String)] = []) -> JSONValue {
    KubeFixtures.node("node-\(i)", podCIDRs: podCIDRs, address: "172.31.77.\(11 + i)", annotations: annotations)
  }

  /// A node where another agent has been, which exists in the API alone.
  public static func peer(
    _ i: Int, subnet: String? = nil, ip: String? = nil, type: String = "vxlan", data: String? = nil
  ) -> JSONValue {
    let mac = "0a:00:00:00:00:\(String(i, radix: 16).count < 2 ? "0" : "")\(String(i, radix: 16))"
    return KubeFixtures.node(
      "peer-\(i)", podCIDRs: [subnet ?? "10.244.\(i).0/24"], address: ip ?? "172.31.77.\(i)",
      annotations: [
        (prefix + "backend-data", data ?? "{\"VNI\":1,\"VtepMAC\":\"\(mac)\"}"), (prefix + "backend-type", type),
        (prefix + "kube-subnet-manager", "true"), (prefix + "public-ip", ip ?? "172.31.77.\(i)"),
      ])
  }

  private static func socket(_ path: String) throws -> Int32 {
    try NetworkNamespace(path: path).run { () throws(SystemError) in
      let fd = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
      guard fd >= 0 else { throw SystemError("open socket") }
      var one: Int32 = 1
      setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, 4)
      var address = sockaddr_in()
      address.sin_family = sa_family_t(AF_INET)
      address.sin_port = UInt16(6443).bigEndian
      inet_pton(AF_INET, "172.31.77.1", &address.sin_addr)
      let bound = withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(fd, $0, 16) }
      }
      guard bound == 0 else { throw SystemError("bind") }
      return fd
    }
  }

  /// Starts an agent on a node.
  public func agent(_ i: Int, flags: [String] = [], variables: [String]? = nil) throws -> AgentProcess {
    try AgentProcess(
      in: nodes[i], registry: nil, directory: directory.path, name: "n\(i)",
      flags: [
        "--kube-subnet-mgr", "--kubeconfig-file", directory.file("kubeconfig"), "--net-config-path",
        directory.file("net-conf.json"), "--healthz-port", "8081",
      ] + flags, variables: variables ?? ["NODE_NAME=node-\(i)"])
  }

  /// The body of `/readyz` on a node; nil when nobody answers.
  public func readiness(_ i: Int) -> String? {
    let words = ["-c", #"exec 3<>/dev/tcp/127.0.0.1/8081; printf "GET /readyz HTTP/1.0\r\n\r\n" >&3; cat <&3"#]
    guard let output = try? nodes[i].run("/bin/bash", words), output.exit.isSuccess else { return nil }
    return output.text.split(separator: "\r\n\r\n", maxSplits: 1).last.map(String.init)
  }

  /// Waits until `/readyz` says so.
  public func waitUntilReady(
    _ i: Int, _ agent: AgentProcess, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    try eventually(
      "node \(i) is ready, it says \(self.readiness(i) ?? "nothing"); log:\n\(agent.log)", within: 20,
      sourceLocation: sourceLocation
    ) { readiness(i) == "flanneld is ready" }
  }

  /// An annotation of a node in the API.
  public func annotation(_ node: String, _ name: String) -> String? {
    server.object(node)?[path: ["metadata", "annotations", Self.prefix + name]]?.stringValue
  }

  /// Changes a node as `kubectl annotate` does; nil removes.
  public func annotate(_ node: String, _ annotations: [(String, String?)]) throws {
    var object = try #require(server.object(node))
    let values = annotations.map { (Self.prefix + $0.0, $0.1.map { JSONValue.string($0) } ?? .null) }
    object.merge(["metadata": ["annotations": .object(JSONObject(values))]], isStrategic: true)
    server.put(object)
  }

  /// Routes on a node's flannel.1.
  public func routes(_ i: Int) throws -> [String] { try nodes[i].lines("route", "show", "dev", "flannel.1") }

  /// Ends the server and removes the namespaces.
  public func remove() {
    server.stop()
    lan.remove()
  }
}
