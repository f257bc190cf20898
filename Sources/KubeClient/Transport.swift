import KubeTypes
import NIOCore
import NIOHTTP1
import NIOSSL
import Syscalls

/// A request without its credentials.
struct KubeRequest: Sendable {
  var action: KubeAction
  var method = HTTPMethod.GET
  /// What follows the path: `?limit=500`, or empty.
  var query = ""
  var accept = WireFormat.json
  var contentType: String?
  var body: [UInt8]?
}

/// Opens connections to the API server and says who we are. Use on the event loop.
final class Transport {
  let loop: any NIOCore.EventLoop
  let access: ClusterAccess
  let settings: KubeClient.Settings
  private let credentials: CredentialSource

  init(_ access: ClusterAccess, settings: KubeClient.Settings, on loop: any NIOCore.EventLoop) {
    self.loop = loop
    self.access = access
    self.settings = settings
    credentials = CredentialSource(access, on: loop)
  }

  /// The API server did not accept what we sent.
  func wasRefused() { credentials.wasRefused() }

  /// Sends a request on a connection, or on a new one where there is none or it is closed.
  /// - Parameter opened: told the connection before anything happens on it.
  func send(
    _ request: KubeRequest, on connection: HTTPConnection?, silence: TimeAmount, observer: any ResponseObserver,
    opened: @escaping (HTTPConnection) -> Void
  ) {
    credentials.current { [weak self, weak observer] result in
      guard let self, let observer else { return }
      switch result {
      case .failure(let error): observer.responseFailed(.credentials(error.description))
      case .success(let current):
        let head = head(request, current.authorization)
        if let connection, connection.isReusable {
          opened(connection)
          return connection.send(head, body: request.body, silence: silence, observer: observer)
        }
        HTTPConnection.open(
          access.server, tls: current.tls, name: access.serverName, on: loop, timeout: settings.connectTimeout
        ) { [weak observer] result in
          guard let observer else {
            if case .success(let connection) = result { connection.close() }
            return
          }
          switch result {
          case .failure(let failure): observer.responseFailed(failure)
          case .success(let connection):
            opened(connection)
            connection.send(head, body: request.body, silence: silence, observer: observer)
          }
        }
      }
    }
  }

  private func head(_ request: KubeRequest, _ authorization: String?) -> HTTPRequestHead {
    var headers: HTTPHeaders = [
      "Host": access.server.authority, "User-Agent": settings.userAgent, "Accept": accept(request.accept),
    ]
    if let authorization { headers.add(name: "Authorization", value: authorization) }
    if let body = request.body {
      headers.add(name: "Content-Type", value: request.contentType ?? WireFormat.json.mediaType)
      headers.add(name: "Content-Length", value: String(body.count))
    }
    return HTTPRequestHead(
      version: .http1_1, method: request.method, uri: access.server.path + request.action.path + request.query,
      headers: headers)
  }

  /// A server that does not do protobuf is free to answer in JSON.
  private func accept(_ format: WireFormat) -> String {
    format == .json ? format.mediaType : "\(format.mediaType), \(WireFormat.json.mediaType)"
  }
}
