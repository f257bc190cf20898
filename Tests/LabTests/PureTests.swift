import JSON
import NetTypes
import Testing

@testable import Lab

@Suite struct TableTests {
  @Test func columns() {
    let table = Table(
      ["NODE", "RTT", "X"], rows: [["n1", "0.10", ""], ["n10", "12.34", "y"], ["short"]], alignments: [.left, .right])
    #expect(table.lines() == ["NODE     RTT  X", "n1      0.10", "n10    12.34  y", "short"])
  }

  @Test func coloursDoNotMoveColumns() {
    let table = Table(["A", "B"], rows: [["1", "2"]], alignments: [.right, .right])
    #expect(table.lines { _, _, s in "<\(s)>" } == ["<A>  <B>", "<1>  <2>"])
    #expect(Palette(isOn: false).bad("x") == "x")
    #expect(Palette(isOn: true).bad("x") == "\u{1b}[31mx\u{1b}[0m")
  }
}

@Suite struct ICMPTests {
  @Test func checksumOfKnownPacket() {
    // RFC 1071 §3: the sum of these bytes is ddf2.
    #expect(ICMPEcho.checksum([0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]) == ~0xddf2)
    #expect(ICMPEcho.checksum([0x01]) == ~0x0100)
    #expect(ICMPEcho.checksum([]) == 0xffff)
  }

  /// An IPv4 header without options in front of a payload.
  private func ipv4(_ payload: [UInt8], to destination: [UInt8] = [10, 0, 0, 2]) -> [UInt8] {
    [0x45, 0, 0, UInt8(20 + payload.count), 0, 0, 0, 0, 64, 1, 0, 0, 10, 0, 0, 1] + destination + payload
  }

  private func withChecksum(_ icmp: [UInt8]) -> [UInt8] {
    var p = icmp
    let sum = ICMPEcho.checksum(p[...])
    p[2] = UInt8(sum >> 8)
    p[3] = UInt8(sum & 255)
    return p
  }

  @Test func replyIPv4() {
    let echo = ICMPEcho(identifier: 0x1234, sequence: 7)
    let request = echo.request(.ipv4)
    #expect(request.count == 8 + ICMPEcho.payloadSize)
    #expect(ICMPEcho.checksum(request[...]) == 0)
    #expect(ICMPEcho.parse(ipv4(request)[...], .ipv4) == nil, "a request is no answer")
    var reply = request
    (reply[0], reply[2], reply[3]) = (0, 0, 0)
    reply = withChecksum(reply)
    #expect(ICMPEcho.parse(ipv4(reply)[...], .ipv4) == .reply(echo))
    reply[20] ^= 1
    #expect(ICMPEcho.parse(ipv4(reply)[...], .ipv4) == nil, "a damaged packet is no answer")
  }

  @Test func replyIPv6() {
    let echo = ICMPEcho(identifier: 65535, sequence: 65535)
    var packet = echo.request(.ipv6)
    #expect(packet[0] == 128)
    packet[0] = 129
    #expect(ICMPEcho.parse(packet[...], .ipv6) == .reply(echo))
  }

  @Test func errors() {
    let echo = ICMPEcho(identifier: 9, sequence: 3)
    let unreachable = withChecksum([3, 1, 0, 0, 0, 0, 0, 0] + ipv4(echo.request(.ipv4), to: [10, 9, 8, 7]))
    #expect(
      ICMPEcho.parse(ipv4(unreachable)[...], .ipv4)
        == .failure(echo, destination: IPAddress(.ipv4, 0x0a09_0807), "destination host unreachable"))
    let inner = [UInt8](repeating: 0, count: 24) + IPAddress(.ipv6, 5).bytes + echo.request(.ipv6)
    #expect(
      ICMPEcho.parse(([1, 0, 0, 0, 0, 0, 0, 0] + inner)[...], .ipv6)
        == .failure(echo, destination: IPAddress(.ipv6, 5), "no route to the destination"))
  }

  @Test func truncatedInput() {
    let reply = withChecksum([0] + ICMPEcho(identifier: 1, sequence: 1).request(.ipv4).dropFirst())
    let whole = ipv4(reply)
    for n in 0..<28 { #expect(ICMPEcho.parse(whole[..<n], .ipv4) == nil) }
    let error6 = [1, 0, 0, 0, 0, 0, 0, 0] + [UInt8](repeating: 0, count: 40) + [128, 0, 0, 0, 0, 1, 0, 1]
    for n in 0..<error6.count { #expect(ICMPEcho.parse(error6[..<n], .ipv6) == nil) }
    #expect(ICMPEcho.parse(error6[...], .ipv6) != nil)
  }
}

@Suite struct PingReportTests {
  @Test func matrixAndSummary() throws {
    let a = try PodName(node: "n1", name: "p1")
    let b = try PodName(node: "n2", name: "p1")
    var ab = PingPair(from: a, to: b, destination: IPAddress(.ipv4, 1))
    (ab.sent, ab.roundTrips) = (3, [300_000, 100_000, 2_000_000])
    var ba = PingPair(from: b, to: a, destination: IPAddress(.ipv4, 2))
    (ba.sent, ba.roundTrips, ba.cause) = (3, [50_000], "node n2: flannel.1 is down")
    let report = PingReport(pairs: [ab, ba])
    #expect(ab.median == 300_000)
    #expect(report.matrix(.ipv6) == nil)
    #expect(
      report.matrix(.ipv4)?.lines() == [
        "FROM \\ TO     n1-p1      n2-p1", "n1-p1             .  0.30/2.00", "n2-p1      66% lost          .",
      ])
    #expect(!report.isComplete)
    #expect(report.failures == ["node n2: flannel.1 is down (n2-p1 to n1-p1)"])
    #expect(
      report.summary == "6 packets sent, 4 answered, 2 lost (33%), round trip median 0.10 ms, max 2.00 ms")
    let json = report.json.objectValue
    #expect(json?["lost"] == 2)
    #expect(json?["maxMicroseconds"] == 2000)
    #expect(json?.names == ["sent", "received", "lost", "medianMicroseconds", "maxMicroseconds", "problems", "pairs"])
  }

  @Test func noPacketIsNoSuccess() throws {
    let a = try PodName(node: "n1", name: "p1")
    #expect(!PingReport(pairs: [PingPair(from: a, to: a, destination: IPAddress(.ipv4, 1))]).isComplete)
  }
}

@Suite struct RecordTests {
  @Test func processes() {
    #expect(ProcessIdentity(record: "12 345\n") != nil)
    for bad in ["", "12", "12 x", "-1 5", "0 5", "1 2 3", "99999999999 1"] {
      #expect(ProcessIdentity(record: bad) == nil, "\(bad)")
    }
    let line = "42 (a) b (c)) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 7777 1 2"
    let parsed = ProcessIdentity.parse(stat: line)
    #expect(parsed?.state == "S")
    #expect(parsed?.start == 7777)
    #expect(ProcessIdentity.parse(stat: "42 (x S 1") == nil)
    #expect(ProcessIdentity(record: "1 1")?.isRunning == false, "another start time is another process")
  }

  @Test func pods() throws {
    let pod = try PodName(node: "n1", name: "p1")
    let id = PodRecord.newContainerID()
    #expect(id.utf8.count == 64)
    let prefix = try #require(IPPrefix("10.244.1.2/24"))
    let ports = [HostPort(host: 5353, container: 53, transport: .udp)]
    let record = PodRecord(pod: pod, containerID: id, addresses: [prefix], ports: ports)
    #expect(PodRecord(pod: pod, json: record.json) == record)
    let earlier: JSONValue = ["containerID": "x", "addresses": ["10.244.1.2/24"]]
    #expect(PodRecord(pod: pod, json: earlier) == PodRecord(pod: pod, containerID: "x", addresses: [prefix]))
    #expect(PodRecord(pod: pod, json: ["containerID": ""]) == nil)
    #expect(PodRecord(pod: pod, json: []) == nil)
  }

  @Test func errorText() {
    #expect(LabError("a", advice: "b", details: ["c", "d"]).description == "a — b\n  c\n  d")
    #expect(LabError("a").description == "a")
  }
}
