import JSON
import KubeTypes
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import Synchronization

/// A server that behaves like the API server of Kubernetes for nodes, pods and events: lists in pages, watches with
/// bookmarks, patches, refusals, in JSON and protobuf, over TLS. Faults can be injected.
///
/// It runs on a thread of its own. All methods may be called from any thread.
public final class KubeAPIServer: Sendable {
  /// What goes wrong instead of an answer.
  public enum Fault: Sendable {
    /// A `Status`, with the header `Retry-After` in seconds.
    case status(Int, reason: String = "", message: String = "", retryAfter: Int? = nil)
    /// The connection is closed before the answer.
    case drop
    /// The connection is closed in the middle of the answer's body.
    case cut
    /// Nothing is ever answered.
    case silence
    /// A watch gets an event of type `ERROR` with this code.
    case errorEvent(Int)
    /// Something that is no answer of an API server, with status 200.
    case page(contentType: String, body: String)
  }

  /// A request as it came.
  public struct Request: Sendable {
    /// `GET`, …
    public var method: String
    /// Without the query.
    public var path: String
    /// By name.
    public var query: [String: String]
    /// By name in lower case.
    public var headers: [String: String]
    /// The body.
    public var body: [UInt8]
    /// `list`, `watch`, `get`, `patch`, `create`
    public var verb: String
    /// `nodes`, `nodes/status`, …
    public var resource: String
  }

  let state: Mutex<KubeServerState>
  let group: MultiThreadedEventLoopGroup
  private let tls: NIOSSLContext?
  private let address: String
  private let socket: (@Sendable () throws -> Int32)?
  private let listener: Mutex<(any Channel)?>

  /// The port it listens on.
  public let port: Int

  /// Starts listening.
  /// - Parameters:
  ///   - certificates: nil = without TLS.
  ///   - wantsClientCertificate: whether clients need one of these certificates.
  ///   - socket: opens the bound socket to listen on, in another network namespace, say.
  public init(
    certificates: TestCertificates? = nil, wantsClientCertificate: Bool = false, address: String = "127.0.0.1",
    port: Int = 0, socket: (@Sendable () throws -> Int32)? = nil
  ) throws {
    group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    state = Mutex(KubeServerState())
    tls = try certificates.map { try Self.context($0, wantsClientCertificate) }
    self.address = address
    self.socket = socket
    listener = Mutex(nil)
    let bootstrap = Self.bootstrap(group)
    let handler = Handlers()
    let prepared = bootstrap.childChannelInitializer { [tls] channel in handler.prepare(channel, tls) }
    let channel =
      try socket.map { try prepared.withBoundSocket($0()).wait() }
      ?? prepared.bind(host: address, port: port).wait()
    self.port = channel.localAddress?.port ?? port
    listener.withLock { $0 = channel }
    handler.serve(self)
  }

  /// Ends the server and its thread; it is of no use afterwards.
  public func stop() {
    stopListening()
    try? group.syncShutdownGracefully()
  }

  /// `https://127.0.0.1:PORT`
  public var url: String { "\(tls == nil ? "http" : "https")://\(address):\(port)" }

  /// Stops listening and closes all connections.
  public func stopListening() {
    let channel = listener.withLock { channel in
      defer { channel = nil }
      return channel
    }
    try? channel?.close().wait()
    closeConnections()
  }

  /// Listens again, on the same port.
  public func listen() throws {
    let handler = Handlers()
    handler.serve(self)
    let prepared = Self.bootstrap(group).childChannelInitializer { [tls] channel in handler.prepare(channel, tls) }
    let channel =
      try socket.map { try prepared.withBoundSocket($0()).wait() } ?? prepared.bind(host: address, port: port).wait()
    listener.withLock { $0 = channel }
  }

  /// Closes all connections.
  public func closeConnections() {
    for channel in state.withLock({ Array($0.connections.values) }) { try? channel.close().wait() }
  }

  private static func bootstrap(_ group: MultiThreadedEventLoopGroup) -> ServerBootstrap {
    ServerBootstrap(group: group).serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
  }

  private static func context(_ certificates: TestCertificates, _ wantsClient: Bool) throws -> NIOSSLContext {
    var configuration = TLSConfiguration.makeServerConfiguration(
      certificateChain: try NIOSSLCertificate.fromPEMFile(certificates.server).map { .certificate($0) },
      privateKey: .privateKey(try NIOSSLPrivateKey(file: certificates.serverKey, format: .pem)))
    configuration.applicationProtocols = ["http/1.1"]
    if wantsClient {
      configuration.certificateVerification = .noHostnameVerification
      configuration.trustRoots = .file(certificates.authority)
    }
    return try NIOSSLContext(configuration: configuration)
  }
}

/// Connects accepted connections with the server, which comes into being after its listener.
private final class Handlers: Sendable {
  private struct Reference {
    weak var server: KubeAPIServer?
  }

  private let reference = Mutex(Reference())

  func serve(_ server: KubeAPIServer) { reference.withLock { $0.server = server } }

  func prepare(_ channel: any Channel, _ tls: NIOSSLContext?) -> EventLoopFuture<Void> {
    channel.eventLoop.makeCompletedFuture {
      let pipeline = channel.pipeline.syncOperations
      if let tls { try pipeline.addHandler(NIOSSLServerHandler(context: tls)) }
      try pipeline.configureHTTPServerPipeline(withErrorHandling: true)
      guard let server = reference.withLock({ $0.server }) else { return }
      try pipeline.addHandler(KubeServerHandler(server))
    }
  }
}
