import Glibc
import KubeTypes
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL

/// Follows one request on a connection, on its event loop. Exactly one of `responseEnded` and `responseFailed` is called,
/// unless `responseBody` returns false.
protocol ResponseObserver: AnyObject {
  func responseHead(_ head: HTTPResponseHead)
  /// False ends the request: the connection is closed.
  func responseBody(_ bytes: Span<UInt8>) -> Bool
  func responseEnded()
  func responseFailed(_ failure: KubeFailure)
}

/// A connection to an API server that does one request after another. Everything happens on its event loop.
final class HTTPConnection: ChannelInboundHandler {
  typealias InboundIn = HTTPClientResponsePart
  typealias OutboundOut = HTTPClientRequestPart

  private let server: ServerURL
  private var context: ChannelHandlerContext?
  private weak var observer: (any ResponseObserver)?
  private var isBusy = false
  /// What the connection died of, if it said so.
  private var cause: KubeFailure?
  private var silence = TimeAmount.zero
  private var watchdog: Scheduled<Void>?
  private var lastByte = NIODeadline.now()
  private(set) var isReusable = true

  init(server: ServerURL) { self.server = server }

  /// Sends a request. Call it when the one before has ended.
  /// - Parameter silence: how long nothing may come.
  func send(_ head: HTTPRequestHead, body: [UInt8]?, silence: TimeAmount, observer: any ResponseObserver) {
    guard let context, isReusable, !isBusy else {
      return observer.responseFailed(cause ?? .connection("the connection is closed"))
    }
    self.observer = observer
    self.silence = silence
    isBusy = true
    lastByte = .now()
    watch(context)
    context.write(wrapOutboundOut(.head(head)), promise: nil)
    if let body {
      context.write(wrapOutboundOut(.body(.byteBuffer(context.channel.allocator.buffer(bytes: body)))), promise: nil)
    }
    context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
  }

  /// Closes the connection; nobody is told any more.
  func close() {
    observer = nil
    isReusable = false
    watchdog?.cancel()
    context?.close(promise: nil)
  }

  /// Looks for a connection from which nothing comes: its other end may be gone without a word.
  private func watch(_ context: ChannelHandlerContext) {
    watchdog?.cancel()
    let due = lastByte + silence
    watchdog = context.eventLoop.assumeIsolated().scheduleTask(deadline: due) { [weak self] in
      guard let self, isBusy, let context = self.context else { return }
      if NIODeadline.now() < lastByte + self.silence { return watch(context) }
      fail(.silence(seconds: Int(self.silence.nanoseconds / 1_000_000_000)))
    }
  }

  private func fail(_ failure: KubeFailure) {
    cause = cause ?? failure
    isReusable = false
    watchdog?.cancel()
    if isBusy {
      isBusy = false
      let observer = self.observer
      self.observer = nil
      observer?.responseFailed(failure)
    }
    context?.close(promise: nil)
  }

  func handlerAdded(context: ChannelHandlerContext) { self.context = context }
  func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    lastByte = .now()
    switch unwrapInboundIn(data) {
    case .head(let head):
      if !head.isKeepAlive { isReusable = false }
      observer?.responseHead(head)
    case .body(let buffer):
      let goesOn = unsafe buffer.withUnsafeReadableBytes { bytes in
        unsafe observer?.responseBody(bytes.bindMemory(to: UInt8.self).span) ?? true
      }
      if !goesOn { close() }
    case .end:
      guard isBusy else { return }
      isBusy = false
      watchdog?.cancel()
      let observer = self.observer
      self.observer = nil
      observer?.responseEnded()
    }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    // Servers that do not say goodbye to TLS are many; whether the answer was whole, HTTP knows.
    if case NIOSSLError.uncleanShutdown = error { return }
    fail(.connection(server.explanation(of: error)))
  }

  func channelInactive(context: ChannelHandlerContext) {
    fail(.connection("the connection was closed"))
    context.fireChannelInactive()
  }
}

extension HTTPConnection {
  /// Opens a connection; the handshake of TLS goes on with the first request.
  static func open(
    _ server: ServerURL, tls: NIOSSLContext?, name: String?, on loop: any NIOCore.EventLoop, timeout: TimeAmount,
    _ done: @escaping (Result<HTTPConnection, KubeFailure>) -> Void
  ) {
    let address = try? SocketAddress(ipAddress: server.host, port: server.port)
    // The name is not sent for an address; the certificate is then compared with the address.
    let sni = name ?? (address == nil ? server.host : nil)
    let bootstrap = ClientBootstrap(group: loop)
      .connectTimeout(timeout)
      .channelOption(.socketOption(.so_keepalive), value: 1)
      .channelOption(.tcpOption(NIOBSDSocket.Option(rawValue: TCP_KEEPIDLE)), value: 15)
      .channelOption(.tcpOption(NIOBSDSocket.Option(rawValue: TCP_KEEPINTVL)), value: 5)
      .channelOption(.tcpOption(NIOBSDSocket.Option(rawValue: TCP_KEEPCNT)), value: 3)
      .channelOption(.tcpOption(NIOBSDSocket.Option(rawValue: TCP_USER_TIMEOUT)), value: 30_000)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          let pipeline = channel.pipeline.syncOperations
          if let tls { try pipeline.addHandler(NIOSSLClientHandler(context: tls, serverHostname: sni)) }
          try pipeline.addHTTPClientHandlers()
          try pipeline.addHandler(HTTPConnection(server: server))
        }
      }
    let connected =
      address.map { bootstrap.connect(to: $0) } ?? bootstrap.connect(host: server.host, port: server.port)
    connected.hop(to: loop).assumeIsolated().whenComplete { result in
      do {
        let handler = try result.get().pipeline.syncOperations.handler(type: HTTPConnection.self)
        done(.success(handler))
      } catch {
        done(.failure(.connection(server.explanation(of: error))))
      }
    }
  }
}
