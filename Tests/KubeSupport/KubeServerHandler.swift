import JSON
import KubeTypes
import NIOCore
import NIOHTTP1
import TestSupport

/// One connection of the server.
final class KubeServerHandler: ChannelInboundHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundOut = HTTPServerResponsePart

  private let server: KubeAPIServer
  private var head: HTTPRequestHead?
  private var body: [UInt8] = []

  init(_ server: KubeAPIServer) { self.server = server }

  func handlerAdded(context: ChannelHandlerContext) {
    let channel = context.channel
    server.state.withLock { $0.connections[ObjectIdentifier(channel)] = channel }
  }

  func channelInactive(context: ChannelHandlerContext) {
    let id = ObjectIdentifier(context.channel)
    server.state.withLock {
      $0.connections[id] = nil
      $0.watches[id] = nil
    }
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head(let head):
      self.head = head
      body = []
    case .body(let buffer): body += buffer.readableBytesView
    case .end: if let head { answer(head, context) }
    }
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if let event = event as? WatchBytes {
      write(event.bytes, context)
    } else {
      context.fireUserInboundEventTriggered(event)
    }
  }

  private func write(_ bytes: [UInt8], _ context: ChannelHandlerContext) {
    let part = HTTPServerResponsePart.body(.byteBuffer(context.channel.allocator.buffer(bytes: bytes)))
    context.writeAndFlush(wrapOutboundOut(part), promise: nil)
  }

  private func answer(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
    let request = KubeAPIServer.Request(head, body)
    let fault = server.state.withLock { state -> KubeAPIServer.Fault? in
      state.requests.append(request)
      guard let i = state.faults.firstIndex(where: { $0.verb == request.verb }) else { return nil }
      return state.faults.remove(at: i).fault
    }
    switch fault {
    case nil: serve(request, context)
    case .drop: context.close(promise: nil)
    case .silence: break
    case .cut:
      reply(200, "application/json", Array("{\"kind\":\"NodeLi".utf8), context, length: 100)
      context.close(promise: nil)
    case .page(let type, let text): reply(200, type, Array(text.utf8), context)
    case .status(let code, let reason, let message, let retryAfter):
      refuse(code, reason, message, request, context, retryAfter: retryAfter)
    case .errorEvent(let code):
      let channel = context.channel
      let watch = KubeServerState.Watch(channel: channel, resource: "nodes", format: request.format ?? .json)
      begin(watch.format, context)
      server.state.withLock {
        $0.send(
          Self.status(code, code == 410 ? "Expired" : "InternalError", "too old resource version"), "ERROR", watch)
      }
    }
  }

  private func serve(_ request: KubeAPIServer.Request, _ context: ChannelHandlerContext) {
    let (tokens, isDenied, hasProtobuf) = server.state.withLock {
      ($0.tokens, $0.denied.contains("\(request.verb) \(request.resource)"), $0.hasProtobuf)
    }
    if let tokens {
      let token = (request.headers["authorization"] ?? "").split(separator: " ").last.map(String.init) ?? ""
      guard tokens.contains(token) else {
        return refuse(401, "Unauthorized", "Unauthorized", request, context)
      }
    }
    if isDenied {
      let text =
        "\(request.resource) is forbidden: User \"system:serviceaccount:kube-flannel:flannel\" cannot "
        + "\(request.verb) resource \"\(request.resource)\" in API group \"\" at the cluster scope"
      return refuse(403, "Forbidden", text, request, context)
    }
    guard let format = request.format(hasProtobuf: hasProtobuf) else {
      return refuse(
        406, "NotAcceptable", "only the following media types are accepted: application/json", request, context)
    }
    switch request.verb {
    case "list": list(request, format, context)
    case "watch": watch(request, format, context)
    case "get": get(request, format, context)
    case "patch": patch(request, format, context)
    case "create": create(request, format, context)
    default: refuse(405, "MethodNotAllowed", "the server does not allow this method", request, context)
    }
  }

  private func list(_ request: KubeAPIServer.Request, _ format: WireFormat, _ context: ChannelHandlerContext) {
    let limit = request.query["limit"].flatMap { Int($0) } ?? .max
    // VERSION:NAME
    let token = (request.query["continue"] ?? "").split(separator: ":", maxSplits: 1).map(String.init)
    let bytes = server.state.withLock { state -> [UInt8]? in
      let version = token.first.flatMap { Int($0) } ?? state.store.version
      if !token.isEmpty, version < state.store.oldest { return nil }
      let (keys, next) = state.store.page(request.resource, after: token.count > 1 ? token[1] : "", limit: limit)
      let kind = request.resource == "pods" ? "Pod" : "Node"
      let nextToken = next.map { "\(version):\($0)" } ?? ""
      let items = keys.map { state.store.bytes(request.resource, $0, format) }
      guard format == .json else {
        return TestProtobuf.list(kind: kind, version: String(version), continue: nextToken, items)
      }
      var out = Array(
        "{\"kind\":\"\(kind)List\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"\(version)\"".utf8)
      if !nextToken.isEmpty { out += Array(",\"continue\":\"\(nextToken)\",\"remainingItemCount\":1".utf8) }
      out += Array("},\"items\":[".utf8)
      for (i, item) in items.enumerated() { out += (i > 0 ? [0x2c] : []) + item }
      return out + Array("]}\n".utf8)
    }
    guard let bytes else {
      return refuse(410, "Expired", "The provided continue parameter is too old", request, context)
    }
    reply(200, format.mediaType, bytes, context)
  }

  private func watch(_ request: KubeAPIServer.Request, _ format: WireFormat, _ context: ChannelHandlerContext) {
    let channel = context.channel
    let from = request.query["resourceVersion"].flatMap { Int($0) } ?? 0
    let watch = KubeServerState.Watch(
      channel: channel, resource: request.resource, namespace: request.namespace, format: format)
    let isKnown = server.state.withLock { from >= $0.store.oldest }
    guard isKnown else {
      return refuse(410, "Expired", "too old resource version: \(from)", request, context)
    }
    begin(format, context)
    let longest = server.state.withLock { state in
      if !state.isFrozen {
        for change in state.store.history where change.version > from && change.resource == request.resource {
          var stored = change.stored
          state.send(&stored, change.type, watch)
        }
      }
      state.watches[ObjectIdentifier(channel)] = watch
      return state.longestWatch
    }
    let seconds = request.query["timeoutSeconds"].flatMap { Int64($0) } ?? 3600
    _ = context.eventLoop.assumeIsolated().scheduleTask(in: longest.map { .milliseconds($0) } ?? .seconds(seconds)) {
      [weak self] in
      guard let self, server.state.withLock({ $0.watches.removeValue(forKey: ObjectIdentifier(channel)) }) != nil else {
        return
      }
      context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
    }
  }

  private func get(_ request: KubeAPIServer.Request, _ format: WireFormat, _ context: ChannelHandlerContext) {
    guard let object = server.object(request.key, resource: request.plural) else {
      return refuse(404, "NotFound", "\(request.plural) \"\(request.name)\" not found", request, context)
    }
    reply(200, format.mediaType, Self.encode(object, format), context)
  }

  private func patch(_ request: KubeAPIServer.Request, _ format: WireFormat, _ context: ChannelHandlerContext) {
    guard var object = server.object(request.key, resource: request.plural) else {
      return refuse(404, "NotFound", "\(request.plural) \"\(request.name)\" not found", request, context)
    }
    guard let change = try? JSONValue(parsing: request.body) else {
      return refuse(400, "BadRequest", "the body is not JSON", request, context)
    }
    switch request.headers["content-type"] {
    case "application/strategic-merge-patch+json": object.merge(change, isStrategic: true)
    case "application/merge-patch+json": object.merge(change, isStrategic: false)
    case "application/json-patch+json":
      guard object.apply(operations: change.arrayValue ?? []) else {
        return refuse(
          422, "Invalid", "the server rejected our request due to an error in our request", request, context)
      }
    default:
      return refuse(415, "UnsupportedMediaType", "the body of the request was in an unknown format", request, context)
    }
    server.put(object, resource: request.plural)
    guard let now = server.object(request.key, resource: request.plural) else { return }
    reply(200, format.mediaType, Self.encode(now, format), context)
  }

  private func create(_ request: KubeAPIServer.Request, _ format: WireFormat, _ context: ChannelHandlerContext) {
    guard let object = try? JSONValue(parsing: request.body) else {
      return refuse(400, "BadRequest", "the body is not JSON", request, context)
    }
    if request.plural == "events" { server.state.withLock { $0.events.append(object) } }
    reply(201, format.mediaType, Self.encode(object, format), context)
  }

  private static func encode(_ object: JSONValue, _ format: WireFormat) -> [UInt8] {
    format == .json ? object.bytes() : TestProtobuf.envelope(object)
  }
}

extension KubeServerHandler {
  private static func status(_ code: Int, _ reason: String, _ message: String, retryAfter: Int? = nil) -> JSONValue {
    var out = JSONObject([
      ("kind", "Status"), ("apiVersion", "v1"), ("metadata", [:]), ("status", "Failure"), ("message", .string(message)),
      ("reason", .string(reason)), ("code", .integer(code)),
    ])
    if let retryAfter { out["details"] = ["retryAfterSeconds": .integer(retryAfter)] }
    return .object(out)
  }

  private func refuse(
    _ code: Int, _ reason: String, _ message: String, _ request: KubeAPIServer.Request,
    _ context: ChannelHandlerContext,
    retryAfter: Int? = nil
  ) {
    let hasProtobuf = server.state.withLock { $0.hasProtobuf }
    let format = request.format(hasProtobuf: hasProtobuf) ?? .json
    let status = Self.status(code, reason, message, retryAfter: retryAfter)
    reply(code, format.mediaType, Self.encode(status, format), context, retryAfter: retryAfter)
  }

  private func begin(_ format: WireFormat, _ context: ChannelHandlerContext) {
    let type = format == .json ? format.mediaType : "\(format.mediaType);stream=watch"
    let head = HTTPResponseHead(version: .http1_1, status: .ok, headers: ["Content-Type": type])
    context.writeAndFlush(wrapOutboundOut(.head(head)), promise: nil)
  }

  private func reply(
    _ code: Int, _ type: String, _ bytes: [UInt8], _ context: ChannelHandlerContext, length: Int? = nil,
    retryAfter: Int? = nil
  ) {
    server.state.withLock { $0.bytesSent += bytes.count }
    var headers: HTTPHeaders = ["Content-Type": type, "Content-Length": String(length ?? bytes.count)]
    if let retryAfter { headers.add(name: "Retry-After", value: String(retryAfter)) }
    let head = HTTPResponseHead(version: .http1_1, status: HTTPResponseStatus(statusCode: code), headers: headers)
    context.write(wrapOutboundOut(.head(head)), promise: nil)
    write(bytes, context)
    if length == nil { context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil) }
  }
}

extension KubeAPIServer.Request {
  init(_ head: HTTPRequestHead, _ body: [UInt8]) {
    let parts = head.uri.split(separator: "?", maxSplits: 1)
    method = head.method.rawValue
    path = String(parts.first ?? "")
    query = [:]
    for pair in parts.dropFirst().first?.split(separator: "&") ?? [] {
      let sides = pair.split(separator: "=", maxSplits: 1)
      query[String(sides[0])] = sides.count > 1 ? String(sides[1]).percentDecoded : ""
    }
    headers = [:]
    for (name, value) in head.headers { headers[name.lowercased()] = value }
    self.body = body
    verb = ""
    resource = ""
    let place = place
    resource = ([place.plural] + (place.subresource.isEmpty ? [] : [place.subresource])).joined(separator: "/")
    switch method {
    case "GET": verb = !place.name.isEmpty ? "get" : query["watch"] != nil ? "watch" : "list"
    case "PATCH": verb = "patch"
    case "POST": verb = "create"
    default: verb = method.lowercased()
    }
  }

  /// `/api/v1/nodes/NAME/status`, `/api/v1/namespaces/NS/pods/NAME`
  private var place: (namespace: String?, plural: String, name: String, subresource: String) {
    var parts = path.split(separator: "/").dropFirst(2).map { String($0).percentDecoded }
    var namespace: String?
    if parts.first == "namespaces", parts.count > 2 {
      namespace = parts[1]
      parts.removeFirst(2)
    }
    return (namespace, parts.first ?? "", parts.count > 1 ? parts[1] : "", parts.count > 2 ? parts[2] : "")
  }

  var namespace: String? { place.namespace }
  var plural: String { place.plural }
  var name: String { place.name }
  var key: String { namespace.map { "\($0)/\(name)" } ?? name }

  /// What was asked for first.
  var format: WireFormat? { format(hasProtobuf: true) }

  func format(hasProtobuf: Bool) -> WireFormat? {
    for type in (headers["accept"] ?? "*/*").split(separator: ",") {
      let type = String(type.drop { $0 == " " })
      if let format = WireFormat(contentType: type), format == .json || hasProtobuf { return format }
      if type == "*/*" { return .json }
    }
    return nil
  }
}

extension String {
  fileprivate var percentDecoded: String {
    var out: [UInt8] = []
    var rest = Array(utf8)[...]
    while let c = rest.popFirst() {
      if c == UInt8(ascii: "%"), let byte = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16) {
        out.append(byte)
        rest = rest.dropFirst(2)
      } else {
        out.append(c)
      }
    }
    return String(decoding: out, as: UTF8.self)
  }
}
