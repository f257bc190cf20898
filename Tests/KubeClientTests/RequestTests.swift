import JSON
import KubeClient
import KubeSupport
import KubeTypes
import Syscalls
import TestSupport
import Testing

@Suite struct RequestTests {
  @Test(arguments: [WireFormat.json, .protobuf]) func nodesAndPods(_ format: WireFormat) throws {
    let cluster = try Cluster(format: format)
    cluster.server.put([KubeFixtures.pod("p", namespace: "ns", node: "node-2")], resource: "pods")
    let node: KubeNode = try cluster.client.get(name: "node-1", timeout: 10 * second)
    #expect(node.podCIDR == "10.244.1.0/24")
    let pod: KubePod = try cluster.client.get(name: "p", namespace: "ns", timeout: 10 * second)
    #expect(pod.nodeName == "node-2")
    #expect(cluster.server.requests.map(\.path) == ["/api/v1/nodes/node-1", "/api/v1/namespaces/ns/pods/p"])
    #expect(cluster.server.requests.allSatisfy { $0.headers["authorization"] == "Bearer secret" })
  }

  @Test func aNodeThatIsNotThere() throws {
    let cluster = try Cluster()
    #expect {
      let _: KubeNode = try cluster.client.get(name: "x", timeout: 10 * second)
    } throws: {
      "\($0)" == "cannot get nodes x: nodes \"x\" not found"
    }
  }

  @Test func annotationsArePatchedOnStatus() throws {
    let cluster = try Cluster()
    let patch: JSONValue = ["metadata": ["annotations": ["flannel.alpha.coreos.com/public-ip": "10.0.0.9"]]]
    let node: KubeNode = try cluster.client.patch(
      name: "node-0", subresource: "status", .strategicMerge, patch, timeout: 10 * second)
    #expect(node.annotation(flannel + "public-ip") == "10.0.0.9")
    let request = try #require(cluster.server.requests("patch").first)
    #expect(request.path == "/api/v1/nodes/node-0/status")
    #expect(request.headers["content-type"] == "application/strategic-merge-patch+json")
    #expect(
      String(decoding: request.body, as: UTF8.self)
        == #"{"metadata":{"annotations":{"flannel.alpha.coreos.com/public-ip":"10.0.0.9"}}}"#)
    // What was there stays.
    #expect(node.annotation(flannel + "backend-type") == "vxlan")
  }

  @Test func conditionsAreMergedByType() throws {
    let cluster = try Cluster()
    let condition: JSONValue = [
      "type": "NetworkUnavailable", "status": "False", "reason": "FlannelIsUp", "message": "m",
    ]
    let node: KubeNode = try cluster.client.patch(
      name: "node-0", subresource: "status", .strategicMerge, ["status": ["conditions": [condition]]],
      timeout: 10 * second)
    #expect(node.networkUnavailable == KubeNode.Condition(status: "False", reason: "FlannelIsUp", message: "m"))
    #expect(cluster.server.object("node-0")?[path: ["status", "conditions"]]?.arrayValue?.count == 5)
  }

  @Test func mergeAndJSONPatch() throws {
    let cluster = try Cluster()
    let merged: KubeNode = try cluster.client.patch(
      name: "node-0", .merge, ["metadata": ["annotations": ["flannel.alpha.coreos.com/backend-type": .null]]],
      timeout: 10 * second)
    #expect(merged.annotation(flannel + "backend-type") == nil)
    let path = "/metadata/annotations/flannel.alpha.coreos.com~1backend-type"
    let operations: JSONValue = [["op": "add", "path": .string(path), "value": "host-gw"]]
    let patched: KubeNode = try cluster.client.patch(name: "node-0", .json, operations, timeout: 10 * second)
    #expect(patched.annotation(flannel + "backend-type") == "host-gw")
    #expect(
      cluster.server.requests.map { $0.headers["content-type"] }
        == ["application/merge-patch+json", "application/json-patch+json"])
  }

  @Test func eventsArePosted() throws {
    let cluster = try Cluster()
    let event = KubeEvent(
      about: KubeNode.resource, name: "node-0", uid: "node-0", isWarning: true, reason: "PodCIDRMissing",
      message: "no podCIDR", component: "weft", host: "node-0", time: 1_767_323_045)
    let wakes = Wakes()
    cluster.client.report(event, timeout: 10 * second) { if $0 == nil { wakes.add() } }
    try eventually("the event is taken") { wakes.count == 1 }
    let posted = try #require(cluster.server.events.first)
    #expect(posted[path: ["involvedObject", "kind"]] == "Node")
    #expect(posted[path: ["involvedObject", "apiVersion"]] == "v1")
    #expect(posted[path: ["metadata", "namespace"]] == "default")
    #expect(posted[path: ["type"]] == "Warning")
    #expect(posted[path: ["firstTimestamp"]] == "2026-01-02T03:04:05Z")
    #expect(cluster.server.requests.first?.path == "/api/v1/namespaces/default/events")
  }

  @Test func aMissingRightIsNamed() throws {
    let cluster = try Cluster()
    cluster.server.deny("patch", "nodes/status")
    #expect {
      let _: KubeNode = try cluster.client.patch(
        name: "node-0", subresource: "status", .strategicMerge, [:], timeout: 10 * second)
    } throws: {
      "\($0)".hasPrefix("cannot patch nodes/status node-0: nodes/status is forbidden: User ")
        && "\($0)".hasSuffix(
          "; needed in the ClusterRole: apiGroups [\"\"], resources [\"nodes/status\"], verbs [\"patch\"]")
    }
  }

  @Test func aServerWithoutProtobuf() throws {
    let cluster = try Cluster()
    cluster.server.setProtobuf(false)
    let node: KubeNode = try cluster.client.get(name: "node-1", timeout: 10 * second)
    #expect(node.podCIDR == "10.244.1.0/24")
    cluster.server.fail("get", .status(406, reason: "NotAcceptable"))
    let again: KubeNode = try cluster.client.get(name: "node-1", timeout: 10 * second)
    #expect(again == node)
  }

  @Test func silenceEndsInTime() throws {
    let cluster = try Cluster()
    cluster.server.fail("get", .silence)
    #expect {
      let _: KubeNode = try cluster.client.get(name: "node-1", timeout: second / 5)
    } throws: {
      ($0 as? KubeError)?.failure == .silence(seconds: 0)
    }
  }

  @Test func faultsAreErrors() throws {
    let cluster = try Cluster(format: .json)
    cluster.server.fail("get", .drop, .cut, .page(contentType: "text/html", body: "<html>"))
    for _ in 0..<3 {
      #expect(throws: KubeError.self) {
        let _: KubeNode = try cluster.client.get(name: "node-1", timeout: 10 * second)
      }
    }
    #expect(cluster.server.pendingFaults == 0)
  }

  @Test func nobodyListens() throws {
    let cluster = try Cluster()
    cluster.server.stopListening()
    #expect {
      let _: KubeNode = try cluster.client.get(name: "node-1", timeout: 10 * second)
    } throws: {
      "\($0)" == "cannot get nodes node-1: \(cluster.server.url): connection refused"
    }
  }

  @Test func nothingIsLeftOpen() throws {
    let cluster = try Cluster()
    for _ in 0..<5 {
      let _: KubeNode = try cluster.client.get(name: "node-1", timeout: 10 * second)
    }
    try eventually("connections are closed") { cluster.server.connectionCount == 0 }
  }
}
