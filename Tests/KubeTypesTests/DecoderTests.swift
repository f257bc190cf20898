import JSON
import KubeTypes
import TestSupport
import Testing

private let formats: [WireFormat] = [.json, .protobuf]

@Suite struct DecoderTests {
  private func single(_ node: JSONValue, _ format: WireFormat) -> [UInt8] {
    format == .json ? node.bytes() : TestProtobuf.envelope(node)
  }

  @Test(arguments: formats) func aNodeKeepsWhatLeasesNeed(_ format: WireFormat) throws {
    let read = try decode(single(sampleNode(isLarge: true), format), format, .object)
    let node = try #require(read.nodes.first)
    #expect(node.name == "node-1")
    #expect(node.uid == "6a0f4c3e-0000-4000-8000-node-1")
    #expect(node.podCIDR == "10.244.3.0/24")
    #expect(node.podCIDRs == ["10.244.3.0/24", "fd00:3::/64"])
    #expect(node.internalIPs == ["192.168.0.3"])
    #expect(
      node.annotations.map(\.name)
        == ["backend-data", "backend-type", "kube-subnet-manager", "public-ip"].map { flannel + $0 })
    #expect(node.annotation(flannel + "backend-data") == #"{"VNI":1,"VtepMAC":"0a:1b:2c:3d:4e:5f"}"#)
    #expect(node.annotation("node.alpha.kubernetes.io/ttl") == nil)
    #expect(
      node.networkUnavailable
        == KubeNode.Condition(status: "False", reason: "FlannelIsUp", message: "Flannel is running on this node"))
    #expect(read.reports == [.object("7", node)])
  }

  @Test func bothEncodingsGiveTheSame() throws {
    let nodes = ["a", "b", "c"].map { sampleNode($0, isLarge: true) }
    let json = try decode(list(nodes, version: "42", continue: "next", .json), .json, .list)
    let protobuf = try decode(list(nodes, version: "42", continue: "next", .protobuf), .protobuf, .list)
    #expect(json.reports == protobuf.reports)
    #expect(json.reports.last == .page("next", "42"))
    #expect(json.nodes.map(\.name) == ["a", "b", "c"])
  }

  @Test(arguments: formats) func allOrNoAnnotations(_ format: WireFormat) throws {
    let bytes = single(sampleNode(), format)
    #expect(try decode(bytes, format, .object, annotations: .all).nodes.first?.annotations.count == 6)
    #expect(try decode(bytes, format, .object, annotations: .none).nodes.first?.annotations.isEmpty == true)
  }

  @Test(arguments: formats) func aNodeWithoutAnything(_ format: WireFormat) throws {
    let bare: JSONValue = ["kind": "Node", "apiVersion": "v1", "metadata": ["name": "x", "annotations": .null]]
    let node = try #require(try decode(single(bare, format), format, .object).nodes.first)
    #expect(node.name == "x")
    #expect(node.podCIDR.isEmpty && node.podCIDRs.isEmpty && node.annotations.isEmpty && node.uid.isEmpty)
    #expect(node.networkUnavailable == nil)
  }

  @Test(arguments: formats) func eventsInOrder(_ format: WireFormat) throws {
    let bookmark: JSONValue = ["kind": "Node", "apiVersion": "v1", "metadata": ["resourceVersion": "99"]]
    let gone: JSONValue = [
      "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410,
      "message": "too old resource version: 1 (99)",
    ]
    let stream =
      event("ADDED", sampleNode("a", version: 5), format) + event("MODIFIED", sampleNode("a", version: 6), format)
      + event("DELETED", sampleNode("a", version: 8), format) + event("BOOKMARK", bookmark, format)
      + event("ERROR", gone, format)
    let whole = try decode(stream, format, .watch)
    let kinds = whole.reports.compactMap { report -> String? in
      switch report {
      case .event(let kind, let version, let node): "\(kind) \(version) \(node.name)"
      case .status(let status): "\(status.code) \(status.reason) \(status.message)"
      case .object, .page: nil
      }
    }
    #expect(
      kinds == [
        "put 5 a", "put 6 a", "deleted 8 a", "bookmark 99 ", "410 Expired too old resource version: 1 (99)",
      ])
    // Wherever the pieces end, the same comes out.
    for size in 1...61 { #expect(try decode(stream, format, .watch, pieces: size).reports == whole.reports) }
  }

  @Test(arguments: formats) func statuses(_ format: WireFormat) throws {
    let bytes = status(429, "TooManyRequests", "slow down", retryAfter: 3, format)
    let expected = KubeStatus(code: 429, reason: "TooManyRequests", message: "slow down", retryAfter: 3)
    #expect(try decode(bytes, format, .status).reports == [.status(expected)])
  }

  @Test func escapes() throws {
    let text =
      #"{"metadata":{"name":"a\u0041\n\"\\\/\t\ud83d\ude00\ud83dx\u00e9","annotations":{"flannel.alpha\u002ecoreos.com/x":"\u0000"}}}"#
    for size in [1, 2, 3, 1000] {
      let node = try #require(try decode(Array(text.utf8), .json, .object, pieces: size).nodes.first)
      #expect(node.name == "aA\n\"\\/\t😀\u{fffd}xé")
      #expect(node.annotation(flannel + "x") == "\0")
    }
  }

  @Test func layoutAndOrderDoNotMatter() throws {
    let text = """
      { "spec" : { "podCIDRs" : [ "10.0.0.0/24" ] , "podCIDR":"10.0.0.0/24", "taints": [ {"key":"x"}, [[]], "]" ] },
        "metadata" : { "labels" : {"}":"{"} , "name" : "n" },\r\n\t"status":null, "x": [true, -1.5e+30, null, {"a":[]}] }
      """
    let node = try #require(try decode(Array(text.utf8), .json, .object).nodes.first)
    #expect(node.name == "n")
    #expect(node.podCIDRs == ["10.0.0.0/24"])
  }

  @Test func otherTypesThanExpectedArePassedOver() throws {
    let text = #"{"metadata":{"name":5,"annotations":["a"],"uid":{"x":1}},"spec":"s","status":[[{"conditions":1}]]}"#
    let node = try #require(try decode(Array(text.utf8), .json, .object).nodes.first)
    #expect(node.name.isEmpty && node.uid.isEmpty && node.annotations.isEmpty)
  }

  @Test func contentTypes() {
    #expect(WireFormat(contentType: "application/json") == .json)
    #expect(WireFormat(contentType: "application/json; charset=utf-8") == .json)
    #expect(WireFormat(contentType: "application/vnd.kubernetes.protobuf;stream=watch") == .protobuf)
    #expect(WireFormat(contentType: "text/html") == nil)
    #expect(WireFormat(contentType: "") == nil)
  }
}
