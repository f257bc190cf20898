import KubeTypes
import NIOCore
import NIOHTTP1
import Syscalls

/// One request and its whole answer, an object. Use on the event loop.
final class Exchange<Object: KubeObject>: ResponseObserver {
  private let request: KubeRequest
  private let transport: Transport
  private let done: (Result<Object, KubeError>) -> Void
  private var decoder = ResponseDecoder<Object, Single>(annotations: .all, receiver: Single())
  private var connection: HTTPConnection?
  private var deadline: Scheduled<Void>?
  private var refusal: Int?
  private var retryAfter: Int?
  private var isReadable = true
  /// Keeps the exchange alive until it is over: connections do not.
  private var myself: Exchange?

  /// Where the answer goes.
  struct Single: ObjectReceiver, Sendable {
    var record: ObjectRecord?
    var status: KubeStatus?

    mutating func object(_ draft: ObjectDraft) { record = draft.record }
    mutating func status(_ status: KubeStatus) { self.status = status }
    mutating func event(_ kind: WatchEventKind, _ draft: ObjectDraft) {}
    mutating func page(continue token: String, version: String) {}
  }

  init(_ request: KubeRequest, _ transport: Transport, done: @escaping (Result<Object, KubeError>) -> Void) {
    self.request = request
    self.transport = transport
    self.done = done
  }

  func start(timeout: TimeAmount) {
    myself = self
    deadline = transport.loop.assumeIsolated().scheduleTask(in: timeout) { [weak self] in
      self?.responseFailed(.silence(seconds: Int(timeout.nanoseconds / 1_000_000_000)))
    }
    transport.send(request, on: nil, silence: timeout, observer: self) { [weak self] in self?.connection = $0 }
  }

  private func finish(_ result: Result<Object, KubeFailure>) {
    guard myself != nil else { return }
    myself = nil
    deadline?.cancel()
    connection?.close()
    let action = request.action
    let server = transport.access.server.description
    done(result.mapError { KubeError(action, server: server, $0) })
  }

  func responseHead(_ head: HTTPResponseHead) {
    let type = head.headers.first(name: "Content-Type") ?? ""
    let format = WireFormat(contentType: type)
    isReadable = format != nil
    if !(200..<300).contains(head.status.code) {
      refusal = Int(head.status.code)
      retryAfter = head.headers.first(name: "Retry-After").flatMap { Int($0) }
    }
    decoder.start(format ?? .json, refusal == nil ? .object : .status)
  }

  func responseBody(_ bytes: Span<UInt8>) -> Bool {
    guard isReadable else { return true }
    do { try decoder.read(bytes) } catch {
      isReadable = false
      guard refusal == nil else { return true }
      finish(.failure(.malformed(error.description)))
      return false
    }
    return true
  }

  func responseEnded() {
    if let refusal {
      if refusal == 401 { transport.wasRefused() }
      var status = decoder.receiver.status ?? KubeStatus(code: refusal)
      status.code = refusal
      status.retryAfter = retryAfter ?? status.retryAfter
      return finish(.failure(.refused(status)))
    }
    do { try decoder.finish() } catch { return finish(.failure(.malformed(error.description))) }
    guard isReadable, let record = decoder.receiver.record else {
      return finish(.failure(.malformed("it is neither JSON nor protobuf")))
    }
    finish(.success(Object(record)))
  }

  func responseFailed(_ failure: KubeFailure) { finish(.failure(failure)) }
}
