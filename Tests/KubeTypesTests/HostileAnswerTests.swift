import JSON
import KubeTypes
import TestSupport
import Testing

/// Decoders must survive any bytes. A trap would end the test program, so that it cannot pass.
@Suite struct HostileAnswerTests {
  private static let samples: [(WireFormat, ResponseShape, [UInt8])] = [WireFormat.json, .protobuf].flatMap {
    format -> [(WireFormat, ResponseShape, [UInt8])] in
    let node = sampleNode()
    return [
      (format, .object, format == .json ? node.bytes() : TestProtobuf.envelope(node)),
      (format, .list, list([node, sampleNode("b")], version: "9", continue: "t", format)),
      (format, .watch, event("ADDED", node, format) + event("ADDED", node, format)),
      (format, .status, status(500, "InternalError", "x", retryAfter: 1, format)),
    ]
  }

  @Test func truncation() {
    for (format, shape, bytes) in Self.samples where shape != .watch {
      for end in 0..<bytes.count - 1 {
        // In protobuf a message may end between two fields, but an answer without its object is none.
        let result = Result { () throws(WireError) in try decode(Array(bytes[..<end]), format, shape, pieces: 7) }
        if format == .json || end < 20 { #expect(throws: WireError.self) { try result.get() } }
      }
    }
  }

  @Test func truncatedWatch() throws {
    for (format, _, bytes) in Self.samples.filter({ $0.1 == .watch }) {
      let half = bytes.count / 2
      for end in 1..<bytes.count where end != half && !(format == .json && end == bytes.count - 1 || end == half - 1) {
        #expect(throws: WireError.self, "\(format) \(end)") { try decode(Array(bytes[..<end]), format, .watch) }
      }
    }
  }

  @Test func mutations() {
    var random = SplitMix64(seed: 4711)
    for (format, shape, bytes) in Self.samples {
      for _ in 0..<3000 {
        var mutant = bytes
        for _ in 0...Int.random(in: 0...3, using: &random) {
          let i = Int.random(in: 0..<mutant.count, using: &random)
          switch Int.random(in: 0...2, using: &random) {
          case 0: mutant[i] = UInt8.random(in: 0...255, using: &random)
          case 1: mutant.remove(at: i)
          default: mutant.insert(UInt8.random(in: 0...255, using: &random), at: i)
          }
          if mutant.isEmpty { break }
        }
        for node in (try? decode(mutant, format, shape, pieces: Int.random(in: 1...64, using: &random)))?.nodes ?? [] {
          _ = (node.name, node.annotations, node.podCIDRs, node.internalIPs, node.networkUnavailable, node.uid)
        }
      }
    }
  }

  @Test func deepNestingCostsNothing() throws {
    let depth = 1_000_000
    let open = String(repeating: "[", count: depth)
    let close = String(repeating: "]", count: depth)
    let read = try decode(Array("{\"x\":\(open)\(close),\"metadata\":{\"name\":\"n\"}}".utf8), .json, .object)
    #expect(read.nodes.first?.name == "n")
    #expect(throws: WireError.self) { try decode(Array(open.utf8), .json, .object) }
  }

  @Test(arguments: [
    "{\"code\":99999999999999999999999}", "{\"code\":1e400}", "{\"code\":-0.0}",
    "{\"code\":" + String(repeating: "9", count: 100_000) + "}",
  ]) func numbersThatDoNotFitAreNotReported(_ text: String) throws {
    #expect(try decode(Array(text.utf8), .json, .status).reports == [.status(KubeStatus(code: 0))])
  }

  @Test(arguments: [
    "", " ", "{", "{]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{,}", "{\"a\":1 \"b\":2}", "{\"a\":nul}", "{\"a\":tru}",
    "{\"a\":+1}", "{'a':1}", "{\"metadata\":{\"name\":\"\\x\"}}", "{\"metadata\":{\"name\":\"\\u12g4\"}}",
    "{\"metadata\":{\"name\":\"\\u12\"}}", "\u{0}", "{\"metadata\":{\"name\":\"n\"}",
    "{\"metadata\":[{\"name\":\"n\"}}",
    "{\"a\\z\":1}",
  ]) func malformedJSON(_ text: String) {
    #expect(throws: WireError.self) { try decode(Array(text.utf8), .json, .object) }
  }

  @Test func invalidUTF8IsReplaced() throws {
    let bytes = Array("{\"metadata\":{\"name\":\"a".utf8) + [0xff, 0xc0] + Array("\"}}".utf8)
    #expect(try decode(bytes, .json, .object).nodes.first?.name == "a\u{fffd}\u{fffd}")
  }

  @Test func stringsAreBounded() {
    let long = String(repeating: "x", count: 1 << 21)
    #expect(throws: WireError.self) {
      try decode(Array("{\"metadata\":{\"name\":\"\(long)\"}}".utf8), .json, .object, pieces: 65536)
    }
    // Nobody wants this one.
    #expect((try? decode(Array("{\"x\":\"\(long)\"}".utf8), .json, .object, pieces: 65536)) != nil)
    let node: JSONValue = ["kind": "Node", "metadata": ["name": .string(long)]]
    #expect(throws: WireError.self) { try decode(TestProtobuf.envelope(node), .protobuf, .object) }
  }

  @Test(
    arguments: [
      // The wrong magic; an endless number; a length of 2^63; a group; field 0; a length beyond its message.
      [0x7b, 0x22, 0x6b, 0x22],
      [0x6b, 0x38, 0x73, 0, 0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
      [0x6b, 0x38, 0x73, 0, 0x12, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1],
      [0x6b, 0x38, 0x73, 0, 0x0b], [0x6b, 0x38, 0x73, 0, 0x02, 0], [0x6b, 0x38, 0x73, 0, 0x12, 4, 0x0a, 9, 0x0a, 0],
      [0x6b, 0x38, 0x73, 0, 0x12, 2, 0x0a, 0x80, 0x80],
    ] as [[UInt8]]) func malformedProtobuf(_ bytes: [UInt8])
  {
    for size in [1, 100] {
      #expect(throws: WireError.self) { try decode(bytes, .protobuf, .object, pieces: size) }
    }
  }
}
