import JSON
import KubeClient
import KubeSupport
import KubeTypes
import Synchronization
import Syscalls
import TestSupport
import Testing

let second: Int64 = 1_000_000_000
let flannel = "flannel.alpha.coreos.com/"

/// An API server over TLS with some nodes, and a client of it.
final class Cluster {
  static let certificates = Result { try TestCertificates() }

  let server: KubeAPIServer
  let directory: TemporaryDirectory
  let client: KubeClient
  let wakes = Wakes()
  private var watchers: [NodeWatcher] = []

  /// - Parameters:
  ///   - isQuick: waits after failures are short.
  init(nodes: Int = 3, format: WireFormat = .protobuf, isQuick: Bool = true, pageSize: Int = 500) throws {
    server = try KubeAPIServer(certificates: try Self.certificates.get())
    directory = try TemporaryDirectory("kube")
    server.put((0..<nodes).map { Self.node($0) })
    server.accept(tokens: ["secret"])
    try directory.write("secret\n", to: "token")
    client = KubeClient(try Self.access(server, directory), settings: Self.settings(format, isQuick, pageSize))
  }

  deinit {
    client.stop()
    server.stop()
  }

  static func settings(_ format: WireFormat, _ isQuick: Bool = true, _ pageSize: Int = 500) -> KubeClient.Settings {
    var settings = KubeClient.Settings()
    settings.format = format
    settings.listWatch.pageSize = pageSize
    if isQuick {
      settings.listWatch.backoff = Backoff(first: 10_000_000, limit: 50_000_000)
      settings.listWatch.refusalBackoff = Backoff(first: 20_000_000, limit: 50_000_000)
    }
    return settings
  }

  /// As a pod has it: a token in a file.
  static func access(_ server: KubeAPIServer, _ directory: TemporaryDirectory) throws -> ClusterAccess {
    var identity = ClusterAccess.Identity()
    identity.tokenFile = directory.file("token")
    return ClusterAccess(
      server: try ServerURL(parsing: server.url), trust: .authorities(.file(try certificates.get().authority)),
      identity: identity)
  }

  static func node(_ i: Int, mac: String = "0a:00:00:00:00:00", heartbeat: String = "2026-01-02T03:04:05Z") -> JSONValue
  {
    KubeFixtures.node(
      "node-\(i)", podCIDRs: ["10.244.\(i % 256).0/24"], address: "192.168.0.\(i % 256)",
      annotations: [
        (flannel + "backend-data", "{\"VNI\":1,\"VtepMAC\":\"\(mac)\"}"), (flannel + "backend-type", "vxlan"),
        (flannel + "kube-subnet-manager", "true"), (flannel + "public-ip", "192.168.0.\(i % 256)"),
      ], heartbeat: heartbeat, isLarge: true)
  }

  /// A watcher that has seen its first list.
  func watch() throws -> NodeWatcher {
    let watcher = start()
    try eventually("the list is complete", within: 20) { watcher.isSynced && server.watchCount > 0 }
    _ = watcher.takeChanges()
    return watcher
  }

  func start() -> NodeWatcher {
    let wakes = wakes
    let watcher: NodeWatcher = client.watch(annotations: .prefix(flannel)) { wakes.add() }
    watchers.append(watcher)
    return watcher
  }
}

/// Counts how often somebody was woken.
final class Wakes: Sendable {
  private let number = Mutex(0)
  var count: Int { number.withLock { $0 } }
  func add() { number.withLock { $0 += 1 } }
}
