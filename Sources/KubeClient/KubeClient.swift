import JSON
import KubeTypes
import NIOCore
import NIOHTTP1

/// A client of the Kubernetes API, on one thread of its own.
///
/// Its methods may be called from any thread but that one. Those that take a timeout block until the answer is there;
/// those with a callback call it on the client's thread, where it has to be quick.
public final class KubeClient: Sendable {
  /// What does not depend on the cluster.
  public struct Settings: Sendable {
    /// How we introduce ourselves.
    public var userAgent = "weft"
    /// The encoding to ask for first.
    public var format = WireFormat.protobuf
    /// Time for a TCP connection.
    var connectTimeout = TimeAmount.seconds(10)
    /// How lists and watches are done.
    public var listWatch = ListWatch.Settings()

    /// For the agent.
    public init() {}
  }

  /// How a patch is laid over an object.
  public enum PatchKind: String, Sendable {
    /// Lists are merged by key where the kind says so (conditions by `type`).
    case strategicMerge = "application/strategic-merge-patch+json"
    /// RFC 7386: lists are replaced.
    case merge = "application/merge-patch+json"
    /// RFC 6902: a list of operations.
    case json = "application/json-patch+json"
  }

  /// The API server and who we are to it.
  public let access: ClusterAccess
  private let settings: Settings
  private let loop: ClientLoop
  private let transport: NIOLoopBoundBox<Transport>

  /// Starts the thread; nothing is sent yet.
  public init(_ access: ClusterAccess, settings: Settings = Settings()) {
    self.access = access
    self.settings = settings
    let loop = ClientLoop()
    self.loop = loop
    transport = NIOLoopBoundBox.makeBoxSendingValue(
      Transport(access, settings: settings, on: loop.loop), eventLoop: loop.loop)
  }

  deinit { loop.stop() }

  /// Ends the thread and with it all requests and watches; further requests fail. Blocks.
  public func stop() { loop.stop() }

  /// Reads an object.
  /// - Parameter timeout: nanoseconds.
  public func get<Object: KubeObject>(
    _ kind: Object.Type = Object.self, name: String, namespace: String = "", timeout: Int64
  ) throws(KubeError) -> Object {
    let action = KubeAction("get", Object.resource, namespace: namespace, name: name)
    return try wait(KubeRequest(action: action, accept: settings.format), timeout)
  }

  /// Reads an object without waiting for it.
  /// - Parameters:
  ///   - timeout: nanoseconds.
  ///   - done: called once, on the client's thread.
  public func get<Object: KubeObject>(
    _ kind: Object.Type = Object.self, name: String, namespace: String = "", timeout: Int64,
    done: @escaping @Sendable (Result<Object, KubeError>) -> Void
  ) {
    let action = KubeAction("get", Object.resource, namespace: namespace, name: name)
    start(KubeRequest(action: action, accept: settings.format), timeout, done)
  }

  /// Changes an object.
  /// - Parameters:
  ///   - subresource: `status`, or empty for the object itself.
  ///   - timeout: nanoseconds.
  /// - Returns: the object as it is now.
  @discardableResult
  public func patch<Object: KubeObject>(
    _ kind: Object.Type = Object.self, name: String, namespace: String = "", subresource: String = "",
    _ patch: PatchKind, _ body: JSONValue, timeout: Int64
  ) throws(KubeError) -> Object {
    try wait(patchRequest(Object.self, name, namespace, subresource, patch, body), timeout)
  }

  /// Changes an object without waiting for it.
  /// - Parameters:
  ///   - timeout: nanoseconds.
  ///   - done: called once, on the client's thread.
  public func patch<Object: KubeObject>(
    _ kind: Object.Type = Object.self, name: String, namespace: String = "", subresource: String = "",
    _ patch: PatchKind, _ body: JSONValue, timeout: Int64,
    done: @escaping @Sendable (Result<Object, KubeError>) -> Void
  ) {
    start(patchRequest(Object.self, name, namespace, subresource, patch, body), timeout, done)
  }

  /// Reports an event without waiting for it.
  /// - Parameters:
  ///   - timeout: nanoseconds.
  ///   - done: called once, on the client's thread; nil when the event was taken.
  public func report(_ event: KubeEvent, timeout: Int64, done: @escaping @Sendable (KubeError?) -> Void = { _ in }) {
    let action = KubeAction("create", KubeEvent.resource, namespace: event.eventNamespace)
    let request = KubeRequest(action: action, method: .POST, accept: settings.format, body: event.json.bytes())
    start(request, timeout) { (result: Result<CreatedObject, KubeError>) in
      if case .failure(let error) = result { done(error) } else { done(nil) }
    }
  }

  /// Keeps all objects of a kind known, from now on until the watcher is released or stopped.
  /// - Parameters:
  ///   - annotations: which annotations are kept.
  ///   - wake: called when the watcher has changes to be taken, or its problem is another one; once, until they are
  ///     taken. On the client's thread.
  public func watch<Object: KubeObject>(
    _ kind: Object.Type = Object.self, annotations: AnnotationFilter, wake: @escaping @Sendable () -> Void
  ) -> ObjectWatcher<Object> {
    ObjectWatcher(loop, transport, settings: settings, annotations: annotations, wake: wake)
  }

  private func patchRequest<Object: KubeObject>(
    _ kind: Object.Type, _ name: String, _ namespace: String, _ subresource: String, _ patch: PatchKind,
    _ body: JSONValue
  ) -> KubeRequest {
    let action = KubeAction("patch", Object.resource, subresource: subresource, namespace: namespace, name: name)
    return KubeRequest(
      action: action, method: .PATCH, accept: settings.format, contentType: patch.rawValue, body: body.bytes())
  }

  private func wait<Object: KubeObject>(_ request: KubeRequest, _ timeout: Int64) throws(KubeError) -> Object {
    let promise = loop.loop.makePromise(of: Result<Object, KubeError>.self)
    start(request, timeout) { promise.succeed($0) }
    do {
      return try promise.futureResult.wait().get()
    } catch let error as KubeError {
      throw error
    } catch {
      throw KubeError(request.action, server: access.server.description, .connection("\(error)"))
    }
  }

  private func start<Object: KubeObject>(
    _ request: KubeRequest, _ timeout: Int64, _ done: @escaping @Sendable (Result<Object, KubeError>) -> Void
  ) {
    let format = request.accept
    let transport = transport
    let isRunning = loop.execute {
      Exchange<Object>(request, transport.value) { result in
        // Protobuf refused: ask again for what every API server speaks.
        if format == .protobuf, case .failure(let error) = result, error.asksForJSON {
          var again = request
          again.accept = .json
          return Exchange<Object>(again, transport.value, done: done).start(timeout: .nanoseconds(timeout))
        }
        done(result)
      }.start(timeout: .nanoseconds(timeout))
    }
    if !isRunning {
      done(.failure(KubeError(request.action, server: access.server.description, .connection("the client is stopped"))))
    }
  }
}

extension KubeError {
  /// Another encoding may do.
  fileprivate var asksForJSON: Bool {
    switch failure {
    case .refused(let status): status.code == 406 || status.code == 415
    case .malformed: true
    case .connection, .silence, .credentials: false
    }
  }
}

/// An object that was created, of which nothing is of interest.
private struct CreatedObject: KubeObject {
  static let resource = KubeEvent.resource
  static let schema = MessageSchema([])
  let record: ObjectRecord
  init(_ record: ObjectRecord) { self.record = record }
}
