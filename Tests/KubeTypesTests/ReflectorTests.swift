import JSON
import KubeTypes
import TestSupport
import Testing

private let second: Int64 = 1_000_000_000

/// Plays recorded answers to a reflector; time passes only where a test says so.
private final class Player {
  var reflector: Reflector<KubeNode>
  let format: WireFormat
  var now: Int64 = 1000 * second

  init(_ format: WireFormat = .json, settings: ListWatch.Settings = ListWatch.Settings()) {
    reflector = Reflector(settings, format: format, annotations: .prefix(flannel), seed: 1)
    self.format = format
  }

  /// The next request; waits as long as asked.
  func request() -> ListWatch.Request {
    while true {
      switch reflector.next(now: now) {
      case .send(let request): return request
      case .wait(let until): now = until
      }
    }
  }

  /// How long has to be waited, in seconds.
  func delay() -> Double {
    if case .wait(let until) = reflector.next(now: now) { Double(until - now) / 1e9 } else { 0 }
  }

  func head(_ code: Int = 200, retryAfter: Int? = nil, type: String? = nil) {
    reflector.head(status: code, contentType: type ?? format.mediaType, retryAfter: retryAfter)
  }

  @discardableResult
  func body(_ bytes: [UInt8]) -> Bool { reflector.body(bytes.span, now: now) }

  func answer(_ bytes: [UInt8], _ code: Int = 200, retryAfter: Int? = nil) {
    head(code, retryAfter: retryAfter)
    if body(bytes) { reflector.end(now: now) }
  }

  func refuse(_ code: Int, _ reason: String = "", _ message: String = "", retryAfter: Int? = nil) {
    answer(status(code, reason, message, format), code, retryAfter: retryAfter)
  }

  /// Lists these nodes in one page.
  func sync(_ names: String..., version: String = "100") {
    _ = request()
    answer(list(names.map { sampleNode($0) }, version: version, format))
    _ = reflector.store.takeChanges()
  }

  var names: [String] { reflector.store.all.map(\.name) }
}

@Suite struct ReflectorTests {
  @Test(arguments: [WireFormat.json, .protobuf]) func listInPagesThenWatch(_ format: WireFormat) {
    let player = Player(format)
    #expect(player.request() == .list(continue: "", limit: 500))
    player.answer(list([sampleNode("a"), sampleNode("b")], version: "100", continue: "T", format))
    #expect(!player.reflector.machine.isSynced)
    // Nothing is known before the whole list is.
    #expect(player.names.isEmpty)
    #expect(player.reflector.store.takeChanges() == nil)
    #expect(player.request() == .list(continue: "T", limit: 500))
    player.answer(list([sampleNode("c")], version: "100", format))
    #expect(player.reflector.machine.isSynced)
    #expect(player.names == ["a", "b", "c"])
    #expect(player.reflector.store.takeChanges()?.changed.map(\.name).sorted() == ["a", "b", "c"])
    guard case .watch("100", let seconds) = player.request() else {
      Issue.record("expected a watch")
      return
    }
    #expect((300...600).contains(seconds))
  }

  @Test(arguments: [WireFormat.json, .protobuf]) func eventsChangeWhatIsKnown(_ format: WireFormat) {
    let player = Player(format)
    player.sync("a", "b")
    _ = player.request()
    player.head()
    #expect(player.body(event("ADDED", sampleNode("c", version: 101), format)))
    #expect(player.body(event("DELETED", sampleNode("a", version: 102), format)))
    #expect(player.names == ["b", "c"])
    let changes = player.reflector.store.takeChanges()
    #expect(changes?.changed.map(\.name) == ["c"])
    #expect(changes?.removed == ["a"])
    #expect(player.reflector.machine.version == "102")
    #expect(player.reflector.store.takeChanges() == nil)
  }

  @Test func heartbeatsAreNotNoticed() {
    let player = Player()
    player.sync("a")
    _ = player.request()
    player.head()
    for version in 101...110 {
      var node = sampleNode("a", version: version)
      if let object = node.objectValue, var inner = object["status"]?.objectValue,
        var conditions = inner["conditions"]?.arrayValue, var outer = node.objectValue
      {
        conditions[0] = [
          "type": "Ready", "status": "True", "lastHeartbeatTime": .string("2026-01-02T03:04:\(version % 60)Z"),
        ]
        inner["conditions"] = .array(conditions)
        outer["status"] = .object(inner)
        node = .object(outer)
      }
      player.body(event("MODIFIED", node, .json))
    }
    #expect(!player.reflector.store.hasChanges)
    #expect(player.reflector.machine.version == "110")
  }

  @Test func aNodeThatChangesSeveralTimesIsOneChange() {
    let player = Player()
    player.sync("a", "b")
    _ = player.request()
    player.head()
    player.body(event("DELETED", sampleNode("a", version: 101), .json))
    player.body(event("ADDED", sampleNode("a", version: 102), .json))
    player.body(event("ADDED", sampleNode("x", version: 103), .json))
    player.body(event("DELETED", sampleNode("x", version: 104), .json))
    let changes = player.reflector.store.takeChanges()
    #expect(changes?.changed.map(\.name) == ["a"])
    #expect(changes?.removed == ["x"])
  }

  @Test func bookmarksMoveTheVersion() {
    let player = Player()
    player.sync("a")
    _ = player.request()
    player.head()
    player.body(event("BOOKMARK", ["kind": "Node", "metadata": ["resourceVersion": "250"]], .json))
    player.now += 400 * second
    player.reflector.end(now: player.now)
    player.now += 700 * second
    #expect(player.reflector.machine.version == "250")
    #expect(player.names == ["a"])
  }

  @Test func aWatchThatLastedAsAskedGoesOnAtOnce() {
    let player = Player()
    player.sync("a")
    guard case .watch(_, let seconds) = player.request() else { return }
    player.head()
    player.now += Int64(seconds) * second
    player.reflector.end(now: player.now)
    #expect(player.delay() == 0)
    guard case .watch("100", _) = player.request() else {
      Issue.record("expected a watch")
      return
    }
  }

  @Test func aWatchThatEndsEarlyLooksAtTheServerFirst() {
    let player = Player()
    player.sync("a")
    _ = player.request()
    player.head()
    player.now += 20 * second
    player.reflector.end(now: player.now)
    #expect(player.request() == .probe)
    player.answer(list([sampleNode("a")], version: "180", .json))
    // The answer to the probe is one object of many: it changes nothing.
    #expect(!player.reflector.store.hasChanges)
    guard case .watch("100", _) = player.request() else {
      Issue.record("expected a watch")
      return
    }
  }

  @Test func aServerWithAnOlderVersionIsListed() {
    let player = Player()
    player.sync("a", "b")
    _ = player.request()
    player.head()
    player.reflector.failed(.connection("reset"), now: player.now)
    #expect(player.request() == .probe)
    player.answer(list([sampleNode("b")], version: "7", continue: "more", .json))
    #expect(player.names == ["a", "b"])
    #expect(player.request() == .list(continue: "", limit: 500))
    player.answer(list([sampleNode("b"), sampleNode("c")], version: "7", .json))
    let changes = player.reflector.store.takeChanges()
    #expect(changes?.removed == ["a"])
    #expect(changes?.changed.map(\.name) == ["c"])
    guard case .watch("7", _) = player.request() else {
      Issue.record("expected a watch")
      return
    }
  }

  @Test func anOlderEventEndsTheWatch() {
    let player = Player()
    player.sync("a")
    _ = player.request()
    player.head()
    let stale =
      event("DELETED", sampleNode("a", version: 50), .json) + event("ADDED", sampleNode("x", version: 51), .json)
    #expect(!player.body(stale))
    #expect(player.names == ["a"])
    #expect(player.request() == .list(continue: "", limit: 500))
  }

  @Test func goneInTheAnswer() {
    let player = Player()
    player.sync("a")
    _ = player.request()
    player.refuse(410, "Expired", "too old resource version")
    #expect(player.delay() == 0)
    #expect(player.request() == .list(continue: "", limit: 500))
    #expect(player.names == ["a"])
  }

  @Test(arguments: [WireFormat.json, .protobuf]) func goneInTheStream(_ format: WireFormat) {
    let player = Player(format)
    player.sync("a")
    _ = player.request()
    player.head()
    let gone: JSONValue = ["kind": "Status", "reason": "Expired", "code": 410, "message": "too old"]
    #expect(!player.body(event("ADDED", sampleNode("b", version: 101), format) + event("ERROR", gone, format)))
    #expect(player.names == ["a", "b"])
    #expect(player.request() == .list(continue: "", limit: 500))
    // Found missing by the list: removed.
    player.answer(list([sampleNode("b")], version: "200", format))
    #expect(player.reflector.store.takeChanges()?.removed == ["a"])
  }

  @Test func goneAgainAndAgainIsSlowedDown() {
    let player = Player()
    var delays: [Double] = []
    for _ in 0..<6 {
      player.sync("a")
      _ = player.request()
      player.refuse(410, "Expired")
      delays.append(player.delay())
    }
    #expect(delays[0] == 0)
    for i in 2..<6 { #expect(delays[i] > delays[i - 1] * 0.99) }
  }

  @Test func aTokenThatExpiresStartsTheListAgain() {
    let player = Player()
    for _ in 0..<2 {
      #expect(player.request() == .list(continue: "", limit: 500))
      player.answer(list([sampleNode("old")], version: "100", continue: "T", .json))
      #expect(player.request() == .list(continue: "T", limit: 500))
      player.refuse(410, "Expired", "The provided continue parameter is too old")
    }
    // Pages are too slow: all at once.
    #expect(player.request() == .list(continue: "", limit: nil))
    player.answer(list([sampleNode("a")], version: "300", .json))
    // Nothing is left of the pages that were void.
    #expect(player.names == ["a"])
  }

  @Test func aListGoesOnWhereTheConnectionBroke() {
    let player = Player()
    _ = player.request()
    player.answer(list([sampleNode("a")], version: "100", continue: "T", .json))
    _ = player.request()
    player.head()
    player.body(Array(list([sampleNode("b")], version: "100", .json).prefix(200)))
    player.reflector.failed(.connection("reset"), now: player.now)
    #expect(player.reflector.machine.problem == .connection("reset"))
    #expect(player.request() == .list(continue: "T", limit: 500))
    player.answer(list([sampleNode("b")], version: "100", .json))
    #expect(player.names == ["a", "b"])
    #expect(player.reflector.machine.problem == nil)
  }

  @Test func anOutageKeepsWhatIsKnown() {
    let player = Player()
    player.sync("a", "b")
    for _ in 0..<50 {
      _ = player.request()
      player.reflector.failed(.connection("refused"), now: player.now)
    }
    #expect(player.names == ["a", "b"])
    #expect(!player.reflector.store.hasChanges)
    #expect(player.delay() <= 30)
    #expect(player.delay() >= 15)
  }

  @Test func backoffGrowsAndDiffersBySeed() {
    func delays(seed: UInt64) -> [Double] {
      var machine = ListWatch(format: .json, seed: seed)
      var now: Int64 = 0
      return (0..<12).map { _ in
        _ = machine.next(now: now)
        _ = machine.failed(.connection("x"), now: now)
        guard case .wait(let until) = machine.next(now: now) else { return 0 }
        defer { now = until }
        return Double(until - now) / 1e9
      }
    }
    let first = delays(seed: 1)
    for (i, delay) in first.enumerated() {
      let longest = min(0.2 * Double(1 << i), 30)
      #expect((longest / 2...longest).contains(delay))
    }
    #expect(first == delays(seed: 1))
    #expect(first != delays(seed: 2))
  }

  @Test(arguments: [429, 503, 500]) func retryAfterIsKept(_ code: Int) {
    let player = Player()
    _ = player.request()
    player.refuse(code, "TooManyRequests", "slow down", retryAfter: 20)
    #expect((20...22).contains(player.delay()))
    #expect(
      player.reflector.machine.problem
        == .refused(
          KubeStatus(code: code, reason: "TooManyRequests", message: "slow down", retryAfter: 20)))
  }

  @Test func aServerCannotSendUsAwayForEver() {
    let player = Player()
    _ = player.request()
    player.refuse(503, retryAfter: 1_000_000_000)
    #expect(player.delay() <= 330)
  }

  @Test func forbiddenIsTriedSlowly() {
    let player = Player()
    var delays: [Double] = []
    for _ in 0..<5 {
      _ = player.request()
      player.refuse(403, "Forbidden", "nodes is forbidden")
      delays.append(player.delay())
    }
    #expect(delays.allSatisfy { (5...60).contains($0) })
    #expect(delays[4] >= 30)
    // Once it is allowed, all is forgotten.
    player.sync("a")
    #expect(player.reflector.machine.problem == nil)
  }

  @Test func unauthorizedIsTriedAgainSoonOnce() {
    let player = Player()
    _ = player.request()
    player.refuse(401, "Unauthorized")
    #expect(player.delay() < 1)
    _ = player.request()
    player.refuse(401, "Unauthorized")
    #expect(player.delay() >= 5)
  }

  @Test(arguments: [406, 415]) func protobufRefused(_ code: Int) {
    let player = Player(.protobuf)
    _ = player.request()
    player.refuse(code, "NotAcceptable")
    #expect(player.reflector.machine.format == .json)
    #expect(player.delay() == 0)
    _ = player.request()
    player.head(type: "application/json")
    player.body(list([sampleNode("a")], version: "9", .json))
    player.reflector.end(now: player.now)
    #expect(player.names == ["a"])
  }

  @Test func jsonInPlaceOfProtobufIsRead() {
    let player = Player(.protobuf)
    _ = player.request()
    player.head(type: "application/json")
    player.body(list([sampleNode("a")], version: "9", .json))
    player.reflector.end(now: player.now)
    #expect(player.names == ["a"])
  }

  @Test func protobufThatCannotBeReadBecomesJSON() {
    let player = Player(.protobuf)
    _ = player.request()
    player.answer([1, 2, 3, 4, 5])
    #expect(player.reflector.machine.format == .json)
  }

  @Test func aPageOfAProxyIsNoList() {
    let player = Player()
    _ = player.request()
    player.head(200, type: "text/html")
    #expect(!player.body(Array("<html>".utf8)))
    #expect(player.reflector.machine.problem == .malformed("it is neither JSON nor protobuf"))
    _ = player.request()
    player.head(502, type: "text/html")
    player.body(Array("<html>".utf8))
    player.reflector.end(now: player.now)
    #expect(player.reflector.machine.problem == .refused(KubeStatus(code: 502)))
  }

  @Test func aVersionTooLargeForTheServer() {
    let player = Player()
    player.sync("a")
    _ = player.request()
    player.refuse(504, "Timeout", "Too large resource version: 100, current: 7")
    #expect(player.request() == .list(continue: "", limit: 500))
  }

  @Test func silenceLimits() {
    let machine = ListWatch(format: .json, seed: 1)
    #expect(machine.silence(of: .watch(version: "1", seconds: 300)) == 90)
    #expect(machine.silence(of: .list(continue: "", limit: 500)) == 30)
  }

  @Test func anEmptyClusterIsSyncedToo() {
    let player = Player()
    player.sync(version: "3")
    #expect(player.reflector.machine.isSynced)
    let other = Player()
    _ = other.request()
    other.answer(list([], version: "3", .json))
    #expect(other.reflector.store.takeChanges() != nil)
  }
}
