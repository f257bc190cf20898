import JSON
import KubeTypes
import TestSupport

/// Keeps what a decoder reports.
struct Recorder: ObjectReceiver, Sendable {
  enum Report: Equatable {
    case object(String, KubeNode)
    case event(WatchEventKind, String, KubeNode)
    case status(KubeStatus)
    case page(String, String)
  }

  var reports: [Report] = []

  mutating func object(_ draft: ObjectDraft) { reports.append(.object(draft.version, KubeNode(draft.record))) }
  mutating func event(_ kind: WatchEventKind, _ draft: ObjectDraft) {
    reports.append(.event(kind, draft.version, KubeNode(draft.record)))
  }
  mutating func status(_ status: KubeStatus) { reports.append(.status(status)) }
  mutating func page(continue token: String, version: String) { reports.append(.page(token, version)) }

  var nodes: [KubeNode] {
    reports.compactMap { report in
      switch report {
      case .object(_, let node), .event(_, _, let node): node
      case .status, .page: nil
      }
    }
  }
}

let flannel = "flannel.alpha.coreos.com/"

/// Reads an answer in pieces of so many bytes.
func decode(
  _ bytes: [UInt8], _ format: WireFormat, _ shape: ResponseShape, pieces: Int = .max,
  annotations: AnnotationFilter = .prefix(flannel)
) throws(WireError) -> Recorder {
  var decoder = ResponseDecoder<KubeNode, Recorder>(annotations: annotations, receiver: Recorder())
  decoder.start(format, shape)
  var rest = bytes[...]
  while !rest.isEmpty {
    try decoder.read(Array(rest.prefix(pieces)).span)
    rest = rest.dropFirst(pieces)
  }
  try decoder.finish()
  return decoder.receiver
}

/// A node as an agent has left it.
func sampleNode(_ name: String = "node-1", version: Int = 7, isLarge: Bool = false) -> JSONValue {
  var node = KubeFixtures.node(
    name, podCIDRs: ["10.244.3.0/24", "fd00:3::/64"], address: "192.168.0.3",
    annotations: [
      (flannel + "backend-data", #"{"VNI":1,"VtepMAC":"0a:1b:2c:3d:4e:5f"}"#), (flannel + "backend-type", "vxlan"),
      (flannel + "kube-subnet-manager", "true"), (flannel + "public-ip", "192.168.0.3"),
    ], isLarge: isLarge)
  guard var object = node.objectValue, var metadata = object["metadata"]?.objectValue,
    var status = object["status"]?.objectValue, var conditions = status["conditions"]?.arrayValue
  else { return .null }
  metadata["resourceVersion"] = .string(String(version))
  conditions.append([
    "type": "NetworkUnavailable", "status": "False", "lastHeartbeatTime": "2026-01-02T03:04:05Z",
    "reason": "FlannelIsUp", "message": "Flannel is running on this node",
  ])
  status["conditions"] = .array(conditions)
  object["metadata"] = .object(metadata)
  object["status"] = .object(status)
  node = .object(object)
  return node
}

/// A watch's event in either encoding.
func event(_ type: String, _ object: JSONValue, _ format: WireFormat) -> [UInt8] {
  switch format {
  case .json: (["type": .string(type), "object": object] as JSONValue).bytes() + [0x0a]
  case .protobuf: TestProtobuf.event(type, TestProtobuf.envelope(object))
  }
}

/// A list in either encoding.
func list(_ nodes: [JSONValue], version: String, continue token: String = "", _ format: WireFormat) -> [UInt8] {
  switch format {
  case .json:
    let metadata: JSONValue =
      token.isEmpty
      ? ["resourceVersion": .string(version)]
      : ["resourceVersion": .string(version), "continue": .string(token), "remainingItemCount": 9]
    let list: JSONValue = ["kind": "NodeList", "apiVersion": "v1", "metadata": metadata, "items": .array(nodes)]
    return list.bytes()
  case .protobuf:
    return TestProtobuf.list(
      kind: "Node", version: version, continue: token, nodes.map { TestProtobuf.encode($0, TestProtobuf.node) })
  }
}

/// A refusal in either encoding.
func status(_ code: Int, _ reason: String, _ message: String, retryAfter: Int? = nil, _ format: WireFormat) -> [UInt8] {
  var object: JSONObject = JSONObject([
    ("kind", "Status"), ("apiVersion", "v1"), ("metadata", [:]), ("status", "Failure"), ("message", .string(message)),
    ("reason", .string(reason)), ("code", .integer(code)),
  ])
  if let retryAfter { object["details"] = ["retryAfterSeconds": .integer(retryAfter)] }
  return format == .json ? JSONValue.object(object).bytes() : TestProtobuf.envelope(.object(object))
}
