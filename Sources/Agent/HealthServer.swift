import NIOCore
import NIOHTTP1
import NIOPosix
import NetTypes
import Synchronization
import Syscalls

/// Answers `/healthz` and `/readyz` over HTTP/1.1 on a thread of its own (contract flanneld §1.4).
///
/// It is meant for probes on the node: few connections, small requests, and whoever is slow is cut off.
public final class HealthServer: Sendable {
  /// Why the server could not start.
  public struct Failure: Error, Hashable, Sendable, CustomStringConvertible {
    /// The cause and the options to change.
    public let description: String
  }

  /// What a client may use up.
  struct Limits: Sendable {
    /// Open connections; further ones are closed at once.
    var connections = 64
    /// Time for a whole request, and between two requests on a connection.
    var patience: TimeAmount = .seconds(15)
    /// Bytes of all header fields.
    var headerBytes = 16 << 10
  }

  /// The port in use: the one asked for.
  public let port: Int
  private let group: MultiThreadedEventLoopGroup
  private let listener: any Channel
  private let connections: HealthConnections

  /// Starts listening.
  /// - Parameters:
  ///   - address: an IP address of this host, or the unspecified one.
  ///   - port: 1…65535.
  public convenience init(address: String, port: Int, readiness: Readiness) throws(Failure) {
    try self.init(address: address, port: port, readiness: readiness, limits: Limits())
  }

  init(address: String, port: Int, readiness: Readiness, limits: Limits) throws(Failure) {
    guard IPAddress(address) != nil else {
      throw Failure(description: "health server: -healthz-ip \(goQuoted(address)) is not an IP address")
    }
    guard (1...65535).contains(port) else {
      throw Failure(description: "health server: -healthz-port \(port) is not a port, expected 1 to 65535")
    }
    let connections = HealthConnections(limit: limits.connections)
    var decoding = NIOHTTPDecoderLimitConfiguration()
    decoding.maxHeaderFieldSize = limits.headerBytes
    decoding.maxHeaderListSize = limits.headerBytes
    decoding.maxHeaderFieldCount = 64
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let bootstrap = ServerBootstrap(group: group)
      .serverChannelOption(.backlog, value: 32)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .childChannelInitializer { [decoding] channel in
        guard connections.add(channel) else { return channel.close() }
        return channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.configureHTTPServerPipeline(
            withPipeliningAssistance: true, withErrorHandling: true, withEncoderConfiguration: .init(),
            withDecoderLimitConfiguration: decoding)
          try channel.pipeline.syncOperations.addHandler(
            HealthHandler(readiness: readiness, patience: limits.patience))
        }
      }
    do {
      listener = try bootstrap.bind(to: SocketAddress(ipAddress: address, port: port)).wait()
    } catch {
      try? group.syncShutdownGracefully()
      let endPoint = address.contains(":") ? "[\(address)]:\(port)" : "\(address):\(port)"
      let cause = (error as? IOError).map { Errno(rawValue: $0.errnoCode).description } ?? "\(error)"
      throw Failure(
        description:
          "health server: cannot listen on \(endPoint): \(cause); choose another -healthz-ip or -healthz-port")
    }
    self.port = port
    self.group = group
    self.connections = connections
  }

  /// Stops listening, lets requests in progress end within `grace` seconds, and ends the thread. Blocks; not to be
  /// called from the server's own thread.
  public func stop(grace: Int64 = 3) {
    try? listener.close().wait()
    let open = connections.drain()
    let cut = listener.eventLoop.scheduleTask(in: .seconds(grace)) {
      for channel in open { channel.close(promise: nil) }
    }
    for channel in open { channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent()) }
    for channel in open { try? channel.closeFuture.wait() }
    cut.cancel()
    try? group.syncShutdownGracefully()
  }
}

/// The open connections, at most `limit`.
final class HealthConnections: Sendable {
  private struct State {
    var open: [ObjectIdentifier: any Channel] = [:]
    var isDraining = false
  }

  private let limit: Int
  private let state = Mutex(State())

  init(limit: Int) { self.limit = limit }

  /// Registers a connection until it closes; false when there are too many.
  func add(_ channel: any Channel) -> Bool {
    let id = ObjectIdentifier(channel)
    let isAdded = state.withLock {
      guard !$0.isDraining, $0.open.count < limit else { return false }
      $0.open[id] = channel
      return true
    }
    if isAdded { channel.closeFuture.whenComplete { _ in self.state.withLock { $0.open[id] = nil } } }
    return isAdded
  }

  /// All open connections; none is accepted any more.
  func drain() -> [any Channel] {
    state.withLock {
      $0.isDraining = true
      return Array($0.open.values)
    }
  }
}

/// One connection.
private final class HealthHandler: ChannelInboundHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundOut = HTTPServerResponsePart

  private let readiness: Readiness
  private let patience: TimeAmount
  private var head: HTTPRequestHead?
  private var deadline: Scheduled<Void>?

  init(readiness: Readiness, patience: TimeAmount) {
    self.readiness = readiness
    self.patience = patience
  }

  func channelActive(context: ChannelHandlerContext) {
    restartClock(context)
    context.fireChannelActive()
  }

  func channelInactive(context: ChannelHandlerContext) {
    deadline?.cancel()
    context.fireChannelInactive()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head(let head): self.head = head
    case .body: break  // ignored; the clock bounds it
    case .end:
      guard let head else { return }
      self.head = nil
      restartClock(context)
      answer(head, context)
    }
  }

  /// A client that sends requests without reading the answers.
  func channelWritabilityChanged(context: ChannelHandlerContext) {
    if !context.channel.isWritable { context.close(promise: nil) }
    context.fireChannelWritabilityChanged()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

  private func restartClock(_ context: ChannelHandlerContext) {
    deadline?.cancel()
    let channel = context.channel
    deadline = context.eventLoop.scheduleTask(in: patience) { channel.close(promise: nil) }
  }

  private func answer(_ request: HTTPRequestHead, _ context: ChannelHandlerContext) {
    let (status, text) = response(request)
    let body = context.channel.allocator.buffer(string: text)
    var headers: HTTPHeaders = [
      "Content-Type": "text/plain; charset=utf-8", "Content-Length": String(body.readableBytes),
      "Cache-Control": "no-store",
    ]
    if status == .methodNotAllowed { headers.add(name: "Allow", value: "GET, HEAD") }
    if !request.isKeepAlive {
      headers.add(name: "Connection", value: "close")
    } else if request.version == .http1_0 {
      headers.add(name: "Connection", value: "keep-alive")
    }
    let head = HTTPResponseHead(version: .http1_1, status: status, headers: headers)
    context.write(wrapOutboundOut(.head(head)), promise: nil)
    if request.method != .HEAD { context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil) }
    let channel = context.channel
    context.writeAndFlush(wrapOutboundOut(.end(nil))).whenComplete { _ in
      if !request.isKeepAlive { channel.close(promise: nil) }
    }
  }

  private func response(_ request: HTTPRequestHead) -> (HTTPResponseStatus, String) {
    let path = request.uri.utf8.prefix { $0 != UInt8(ascii: "?") }
    guard ["/healthz", "/readyz"].contains(Substring(path)) else { return (.notFound, "404 page not found\n") }
    guard request.method == .GET || request.method == .HEAD else { return (.methodNotAllowed, "method not allowed\n") }
    if Substring(path) == "/healthz" { return (.ok, "flanneld is running") }
    switch readiness.state {
    case .ready: return (.ok, "flanneld is ready")
    case .notReady(let reason):
      return (.serviceUnavailable, "flanneld is not ready yet" + (reason.map { ": " + $0 } ?? ""))
    }
  }
}
