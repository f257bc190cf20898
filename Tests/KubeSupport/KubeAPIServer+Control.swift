import JSON
import KubeTypes
import TestSupport
import NIOCore

/// What the server knows.
struct KubeServerState {
  struct Watch {
    var channel: any Channel
    var resource: String
    var namespace: String?
    var format: WireFormat
  }

  var store = KubeStore()
  var requests: [KubeAPIServer.Request] = []
  var connections: [ObjectIdentifier: any Channel] = [:]
  var watches: [ObjectIdentifier: Watch] = [:]
  var faults: [(verb: String, fault: KubeAPIServer.Fault)] = []
  /// `VERB RESOURCE` that are not allowed.
  var denied: Set<String> = []
  /// Accepted tokens; nil = anybody may come.
  var tokens: Set<String>?
  var hasProtobuf = true
  var isFrozen = false
  /// Shortest time a watch lasts, when it asks for less; in milliseconds.
  var longestWatch: Int64?
  var events: [JSONValue] = []
  var bytesSent = 0
}

extension KubeAPIServer {
  /// Adds or replaces objects; watches are told.
  public func put(_ objects: JSONValue..., resource: String = "nodes") { put(objects, resource: resource) }

  /// Adds or replaces objects; watches are told.
  public func put(_ objects: [JSONValue], resource: String = "nodes") {
    state.withLock { state in
      for object in objects { state.announce(state.store.put(object, resource)) }
    }
  }

  /// Removes an object by `NAME` or `NAMESPACE/NAME`.
  public func remove(_ key: String, resource: String = "nodes") {
    state.withLock { state in
      if let change = state.store.remove(key, resource) { state.announce(change) }
    }
  }

  /// An object as it is now.
  public func object(_ key: String, resource: String = "nodes") -> JSONValue? {
    state.withLock { $0.store.objects[resource]?[key]?.object }
  }

  /// Sends a bookmark to every watch.
  public func sendBookmarks() {
    state.withLock { state in
      for watch in state.watches.values where !state.isFrozen {
        let kind = watch.resource == "pods" ? "Pod" : "Node"
        let bookmark: JSONValue = [
          "kind": .string(kind), "apiVersion": "v1",
          "metadata": ["resourceVersion": .string(String(state.store.version))],
        ]
        state.send(bookmark, "BOOKMARK", watch)
      }
    }
  }

  /// The next requests of this verb go wrong, one after another in the order given.
  public func fail(_ verb: String, _ faults: Fault...) {
    state.withLock { state in
      for fault in faults { state.faults.append((verb, fault)) }
    }
  }

  /// How many injected faults have not happened yet.
  public var pendingFaults: Int { state.withLock { $0.faults.count } }

  /// Forbids a verb on a resource, such as `patch` on `nodes/status`; or allows it again.
  public func deny(_ verb: String, _ resource: String, _ isDenied: Bool = true) {
    state.withLock {
      if isDenied { $0.denied.insert("\(verb) \(resource)") } else { $0.denied.remove("\(verb) \(resource)") }
    }
  }

  /// Accepts only these tokens; nil = anybody.
  public func accept(tokens: Set<String>?) { state.withLock { $0.tokens = tokens } }

  /// Whether it does protobuf; if not, it refuses a request that wants nothing else.
  public func setProtobuf(_ hasProtobuf: Bool) { state.withLock { $0.hasProtobuf = hasProtobuf } }

  /// Watches get nothing more, and their connections stay open; or they do again.
  public func freeze(_ isFrozen: Bool = true) { state.withLock { $0.isFrozen = isFrozen } }

  /// Watches end after so many milliseconds, whatever they ask for.
  public func limitWatches(milliseconds: Int64?) { state.withLock { $0.longestWatch = milliseconds } }

  /// Forgets the history: watches from earlier versions are `410 Gone`, and so are list pages.
  public func compact() { state.withLock { $0.store.compact() } }

  /// Becomes another server, restored from a backup: these nodes at this version. All connections are closed.
  public func replace(version: Int, nodes: [JSONValue]) {
    state.withLock { state in
      state.store = KubeStore()
      state.store.version = version
      for node in nodes { _ = state.store.put(node, "nodes") }
      state.store.oldest = version
      state.watches = [:]
    }
    closeConnections()
  }

  /// All requests so far.
  public var requests: [Request] { state.withLock { $0.requests } }
  /// Requests of a verb so far.
  public func requests(_ verb: String) -> [Request] { requests.filter { $0.verb == verb } }
  /// Watches that are open.
  public var watchCount: Int { state.withLock { $0.watches.count } }
  /// Connections that are open.
  public var connectionCount: Int { state.withLock { $0.connections.count } }
  /// The events that were posted.
  public var events: [JSONValue] { state.withLock { $0.events } }
  /// The version of the last change.
  public var version: Int { state.withLock { $0.store.version } }
  /// Bytes of bodies sent so far.
  public var bytesSent: Int { state.withLock { $0.bytesSent } }
}

extension KubeServerState {
  /// Tells the watches.
  mutating func announce(_ change: KubeStore.Change) {
    guard !isFrozen else { return }
    let namespace = change.stored.object[path: ["metadata", "namespace"]]?.stringValue
    var stored = change.stored
    for watch in watches.values where watch.resource == change.resource {
      guard watch.namespace == nil || watch.namespace == namespace else { continue }
      send(&stored, change.type, watch)
    }
  }

  mutating func send(_ stored: inout KubeStore.Stored, _ type: String, _ watch: Watch) {
    let raw = stored.bytes(watch.format)
    let kind = stored.object.objectValue?["kind"]?.stringValue ?? ""
    write(
      watch.format == .json
        ? Array("{\"type\":\"\(type)\",\"object\":".utf8) + raw + Array("}\n".utf8)
        : TestProtobuf.event(type, TestProtobuf.envelope(kind: kind, raw)), watch)
  }

  mutating func send(_ object: JSONValue, _ type: String, _ watch: Watch) {
    var stored = KubeStore.Stored(object, version: 0)
    send(&stored, type, watch)
  }

  private mutating func write(_ bytes: [UInt8], _ watch: Watch) {
    bytesSent += bytes.count
    watch.channel.pipeline.fireUserInboundEventTriggered(WatchBytes(bytes: bytes))
  }
}

/// Bytes for a watch, on their way to its connection.
struct WatchBytes: Sendable {
  let bytes: [UInt8]
}
