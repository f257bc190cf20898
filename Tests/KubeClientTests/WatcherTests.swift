import JSON
import KubeClient
import KubeSupport
import KubeTypes
import Syscalls
import TestSupport
import Testing

@Suite struct WatcherTests {
  @Test(arguments: [WireFormat.json, .protobuf]) func listAndWatch(_ format: WireFormat) throws {
    let cluster = try Cluster(nodes: 25, format: format, pageSize: 10)
    let watcher = cluster.start()
    try eventually("the list is complete") { watcher.isSynced }
    #expect(watcher.count == 25)
    #expect(watcher.takeChanges()?.changed.count == 25)
    #expect(cluster.server.requests("list").map { $0.query["limit"] } == ["10", "10", "10"])
    try eventually("the watch is open") { cluster.server.watchCount == 1 }
    let watch = try #require(cluster.server.requests("watch").first)
    #expect(watch.query["allowWatchBookmarks"] == "true")
    #expect(watch.headers["accept"]?.hasPrefix(format.mediaType) == true)
    cluster.server.put(Cluster.node(3, mac: "0a:00:00:00:00:01"))
    cluster.server.put(Cluster.node(99))
    cluster.server.remove("node-4")
    try eventually("the watcher knows") { watcher["node-99"] != nil && watcher["node-4"] == nil }
    let changes = watcher.takeChanges()
    #expect(changes?.changed.map(\.name).sorted() == ["node-3", "node-99"])
    #expect(changes?.removed == ["node-4"])
    #expect(watcher["node-3"]?.annotation(flannel + "backend-data") == #"{"VNI":1,"VtepMAC":"0a:00:00:00:00:01"}"#)
    #expect(watcher.objects.count == 25)
    #expect(watcher.problem == nil)
  }

  @Test func oneConnectionIsEnough() throws {
    let cluster = try Cluster(nodes: 25, pageSize: 5)
    _ = try cluster.watch()
    #expect(cluster.server.connectionCount == 1)
    #expect(cluster.server.requests.count == 6)
  }

  @Test func heartbeatsWakeNobody() throws {
    let cluster = try Cluster()
    let watcher = try cluster.watch()
    let before = cluster.wakes.count
    for i in 10..<60 {
      cluster.server.put(Cluster.node(0, heartbeat: "2026-01-02T03:05:\(i)Z"))
    }
    cluster.server.put(Cluster.node(2, mac: "0a:00:00:00:00:07"))
    try eventually("the change is known") { watcher.takeChanges()?.changed.map(\.name) == ["node-2"] }
    #expect(cluster.wakes.count == before + 1)
  }

  @Test func oneWakeUntilChangesAreTaken() throws {
    let cluster = try Cluster()
    let watcher = try cluster.watch()
    let before = cluster.wakes.count
    for i in 10..<30 { cluster.server.put(Cluster.node(i)) }
    try eventually("all are known") { watcher.count == 23 }
    #expect(cluster.wakes.count == before + 1)
    _ = watcher.takeChanges()
    cluster.server.remove("node-10")
    try eventually("the watcher is woken again") { cluster.wakes.count == before + 2 }
  }

  @Test func deletionsDuringAnOutageAreFound() throws {
    let cluster = try Cluster(nodes: 10)
    let watcher = try cluster.watch()
    cluster.server.stopListening()
    try eventually("the outage is noticed") { watcher.problem != nil }
    let problem = try #require(watcher.problem).description
    #expect(problem.hasPrefix("cannot "))
    #expect(watcher.count == 10)
    #expect(watcher.takeChanges() == nil)
    cluster.server.remove("node-5")
    cluster.server.put(Cluster.node(6, mac: "0a:00:00:00:00:06"))
    cluster.server.compact()
    try cluster.server.listen()
    try eventually("the deletion is found") { watcher.count == 9 }
    let changes = watcher.takeChanges()
    #expect(changes?.removed == ["node-5"])
    #expect(changes?.changed.map(\.name) == ["node-6"])
    try eventually("all is well") { watcher.problem == nil }
  }

  @Test(arguments: [WireFormat.json, .protobuf]) func everyFaultIsSurvived(_ format: WireFormat) throws {
    let cluster = try Cluster(format: format)
    cluster.server.fail(
      "list", .drop, .cut, .status(500, reason: "InternalError"), .status(503, retryAfter: 0),
      .status(429, retryAfter: 0),
      .page(contentType: "text/html", body: "<html>"), .page(contentType: "application/json", body: "{\"items\":["))
    cluster.server.fail(
      "watch", .drop, .errorEvent(410), .status(410, reason: "Expired"), .cut, .errorEvent(500), .status(504),
      .page(contentType: "text/plain", body: "?"))
    let watcher = cluster.start()
    try eventually("all faults have happened", within: 30) {
      cluster.server.pendingFaults == 0 && cluster.server.watchCount == 1
    }
    cluster.server.put(Cluster.node(50))
    try eventually("the watch works") { watcher.count == 4 }
    try eventually("all is well") { watcher.problem == nil }
  }

  @Test func aHalfOpenConnectionIsGivenUp() throws {
    var settings = Cluster.settings(.protobuf)
    settings.listWatch.watchSilence = 1
    let cluster = try Cluster()
    let client = KubeClient(try Cluster.access(cluster.server, cluster.directory), settings: settings)
    defer { client.stop() }
    let watcher: NodeWatcher = client.watch(annotations: .none) {}
    try eventually("the watch is open") { watcher.isSynced && cluster.server.watchCount == 1 }
    cluster.server.freeze()
    cluster.server.put(Cluster.node(77))
    cluster.server.freeze(false)
    // It is found by the next watch.
    try eventually("the node is known") { watcher["node-77"] != nil }
    #expect(cluster.server.requests("watch").count >= 2)
  }

  @Test func aServerThatNeverAnswers() throws {
    var settings = Cluster.settings(.json)
    settings.listWatch.answerSilence = 1
    let cluster = try Cluster()
    cluster.server.fail("list", .silence)
    let client = KubeClient(try Cluster.access(cluster.server, cluster.directory), settings: settings)
    defer { client.stop() }
    let watcher: NodeWatcher = client.watch(annotations: .none) {}
    try eventually("the list is complete") { watcher.isSynced }
  }

  @Test func anotherServerWithAnOlderVersion() throws {
    let cluster = try Cluster(nodes: 5)
    let watcher = try cluster.watch()
    cluster.server.replace(version: 10, nodes: [Cluster.node(1), Cluster.node(20)])
    try eventually("the other server's nodes are known") { watcher.objects.map(\.name) == ["node-1", "node-20"] }
    let changes = watcher.takeChanges()
    #expect(changes?.changed.map(\.name) == ["node-20"])
    #expect(changes?.removed.sorted() == ["node-0", "node-2", "node-3", "node-4"])
    try eventually("the watch is open") { cluster.server.watchCount == 1 }
    cluster.server.put(Cluster.node(21))
    try eventually("its events are followed") { watcher.count == 3 }
  }

  @Test func watchesThatEndGoOn() throws {
    let cluster = try Cluster()
    cluster.server.limitWatches(milliseconds: 50)
    let watcher = try cluster.watch()
    try eventually("several watches") { cluster.server.requests("watch").count > 3 }
    cluster.server.put(Cluster.node(9))
    try eventually("the node is known") { watcher.count == 4 }
    // Not listed again.
    #expect(cluster.server.requests("list").filter { $0.query["limit"] != "1" }.count == 1)
  }

  @Test func aTokenThatExpires() throws {
    let cluster = try Cluster()
    let watcher = try cluster.watch()
    cluster.server.accept(tokens: ["next"])
    cluster.server.closeConnections()
    try eventually("the refusal is named") {
      watcher.problem?.description.hasPrefix(
        "cannot list nodes: \(cluster.server.url) does not accept our credentials (401)") == true
    }
    try cluster.directory.write("next", to: "token")
    try eventually("all is well") { watcher.problem == nil && cluster.server.watchCount == 1 }
  }

  @Test func missingRightsAreNamed() throws {
    let cluster = try Cluster()
    cluster.server.deny("list", "nodes")
    cluster.server.deny("watch", "nodes")
    let watcher = cluster.start()
    try eventually("the refusal is named") {
      watcher.problem?.description.hasSuffix("apiGroups [\"\"], resources [\"nodes\"], verbs [\"list\"]") == true
    }
    cluster.server.deny("list", "nodes", false)
    try eventually("the next refusal is named") {
      watcher.problem?.description.hasSuffix("apiGroups [\"\"], resources [\"nodes\"], verbs [\"watch\"]") == true
    }
    #expect(watcher.count == 3)
    cluster.server.deny("watch", "nodes", false)
    try eventually("all is well") { watcher.problem == nil && cluster.server.watchCount == 1 }
  }

  @Test func bookmarksKeepTheVersionYoung() throws {
    let cluster = try Cluster()
    let watcher = try cluster.watch()
    cluster.server.put([KubeFixtures.pod("p", namespace: "ns", node: "n")], resource: "pods")
    cluster.server.compact()
    cluster.server.sendBookmarks()
    cluster.server.put(Cluster.node(8))
    try eventually("the node is known") { watcher.count == 4 }
    cluster.server.closeConnections()
    try eventually("the watch goes on") {
      cluster.server.requests("watch").count == 2 && cluster.server.watchCount == 1
    }
    #expect(cluster.server.requests("list").filter { $0.query["limit"] != "1" }.count == 1)
  }

  @Test func protobufRefusedForGood() throws {
    let cluster = try Cluster()
    cluster.server.fail("list", .status(406, reason: "NotAcceptable"))
    let watcher = try cluster.watch()
    #expect(watcher.count == 3)
    #expect(cluster.server.requests("watch").first?.headers["accept"] == "application/json")
  }

  @Test func aStoppedWatcherLeavesNothingOpen() throws {
    let cluster = try Cluster()
    let watcher = try cluster.watch()
    watcher.stop()
    try eventually("the connection is closed") { cluster.server.connectionCount == 0 }
    #expect(watcher.count == 3)
  }
}
