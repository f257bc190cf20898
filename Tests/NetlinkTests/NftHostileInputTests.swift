import NetTypes
import Testing

@testable import Netlink

/// The decoders of nf_tables must survive any bytes, and read back what we write. A trap would end the test program.
@Suite struct NftHostileInputTests {
  static let id = NftTable.ID(.inet, "table")

  /// Every expression that has a case of its own.
  static let expressions: [NftExpression] = [
    .meta(.mark, .r1), .setMeta(.mark, .r2), .payload(.network, offset: 16, length: 4, NftRegister(word: 5)),
    .tracking(.state, direction: nil, .r1), .tracking(.sourceIPv4, direction: 1, .r1), .setTracking(.mark, .r3),
    .fib(.addressType, flags: 2, .r1), .compare(.notEqual, .r1, [1, 2, 3]),
    .range(.equal, .r4, from: [0, 1], to: [0, 9]),
    .bitwise(from: .r1, to: .r2, mask: [255, 255, 0, 0], xor: [0, 0, 0, 1]),
    .byteOrder(from: .r1, to: .r1, operation: 1, length: 4, size: 2),
    .lookup(set: "set", key: .r1, to: nil, verdict: false, inverted: true),
    .lookup(set: "map", key: .r1, to: .r2, verdict: false, inverted: false),
    .lookup(set: "vmap", key: .r1, to: nil, verdict: true, inverted: false),
    .immediate(.r1, [10, 0, 0, 1]),
    .nat(
      NftExpression.NAT(
        .source, family: 2, address: .r1, addressEnd: .r2, port: .r3, portEnd: .r4, flags: [.random, .persistent])),
    .masquerade(.fullyRandom), .redirect(.r1, .random), .redirect(nil, []), .reject(type: 1, code: 0),
    .numberGenerator(random: true, modulus: 7, offset: 1, .r1), .counter(packets: 1 << 40, bytes: 1 << 50),
    .dynamicSet(NftExpression.DynamicSet(.update, set: "set", key: .r1, data: .r2, timeout: 60_000)),
    .compatibility(isTarget: false, name: "multiport", revision: 1, info: [1, 2, 3, 4, 5, 6, 7, 8]),
    .compatibility(isTarget: true, name: "DNAT", revision: 2, info: []),
    .verdict(.drop), .verdict(.accept), .verdict(.next), .verdict(.return), .verdict(.jump("chain")),
    .verdict(.goto("chain")), .verdict(.other(-2)),
  ]

  static let chain = NftChain(
    id, "chain", base: NftChain.Base(type: "nat", hook: .postrouting, priority: -100, policy: .drop), comment: "chain")
  static let set = NftSet(
    id, "vmap", key: [.ipv4Address, .inetProtocol, .inetService], data: [.verdict], flags: [.interval, .dynamic],
    timeout: 5, comment: "a set")
  static let elements = [
    NftElement(
      key: [10, 0, 0, 1], keyEnd: [10, 0, 0, 9], value: .verdict(.goto("chain")), timeout: 9, comment: "one"),
    NftElement(key: [1], value: .data([1, 2, 3, 4]), isIntervalEnd: true),
    NftElement(key: [], value: .verdict(.accept), isCatchAll: true),
  ]

  /// Requests and answers look alike, so our own requests are a good start.
  static let sample: [UInt8] = {
    var batch = NftBatch(generation: 7)
    batch.add(NftTable(id, comment: "table", flags: 1))
    batch.add(chain)
    batch.append(NftRule(id, "chain", expressions, comment: "rule", handle: 9))
    batch.deleteRule(id, "chain", handle: 5)
    batch.add(set)
    batch.add(elements, to: "vmap", of: id)
    batch.delete(elements, from: "vmap", of: id)
    batch.delete(id)
    return array(batch.writer.buffer.bytes)
  }()

  private func decodeAll(_ input: [UInt8]) {
    forEachMessage(input) { message in
      _ = NftTable(message)
      _ = NftChain(message)
      _ = NftRule(message).map { ($0.comparable, $0.targets) }
      _ = NftSet(message).map { ($0.keyLength, $0.dataLength) }
      _ = NftElement.list(message)
      _ = NftEvent(message)?.table
    }
  }

  /// What is written reads back as it was.
  @Test func roundTrip() {
    var found: [String] = []
    forEachMessage(Self.sample) { message in
      switch message.type & 0xff {
      case NftMessage.newTable where message.type >> 8 == Netfilter.nftables:
        #expect(NftTable(message) == NftTable(Self.id, comment: "table", flags: 1))
      case NftMessage.newChain: #expect(NftChain(message) == Self.chain)
      case NftMessage.newRule: #expect(NftRule(message) == NftRule(Self.id, "chain", Self.expressions, comment: "rule"))
      case NftMessage.newSet:
        var wanted = Self.set
        wanted.flags.insert(.concatenation)
        #expect(NftSet(message) == wanted)
      case NftMessage.newElement, NftMessage.deleteElement: #expect(NftElement.list(message) == Self.elements)
      default: return
      }
      found.append("\(message.type & 0xff)")
    }
    #expect(found == ["0", "3", "6", "9", "12", "14"])
  }

  @Test func anyTruncation() {
    for n in 0..<Self.sample.count { decodeAll(Array(Self.sample[..<n])) }
    // Each message cut to any length that its header agrees with.
    for (start, length) in messages(Self.sample) {
      for n in stride(from: 16, to: length, by: 1) {
        var part = Array(Self.sample[start..<start + n])
        for k in 0..<4 { part[k] = UInt8(truncatingIfNeeded: n >> (8 * k)) }
        decodeAll(part)
      }
    }
  }

  @Test func anyByteChanged() {
    for (start, length) in messages(Self.sample) {
      var message = Array(Self.sample[start..<start + length])
      for n in message.indices {
        let before = message[n]
        for value in [UInt8(0), 1, 3, 4, 127, 128, 255] {
          message[n] = value
          decodeAll(message)
        }
        message[n] = before
      }
    }
  }

  @Test func randomMutations() {
    var seed = SplitMix(state: 7)
    let parts = messages(Self.sample)
    for _ in 0..<20_000 {
      guard let (start, length) = parts.randomElement(using: &seed) else { return }
      var message = Array(Self.sample[start..<start + length])
      for _ in 0..<Int.random(in: 1...8, using: &seed) {
        let at = Int.random(in: 16..<max(17, message.count), using: &seed)
        guard at < message.count else { continue }
        message[at] =
          Bool.random(using: &seed) ? UInt8.random(in: 0...40, using: &seed) : .random(in: 0 ... .max, using: &seed)
      }
      // The message type: any of nf_tables.
      if Int.random(in: 0..<4, using: &seed) == 0 { message[4] = UInt8.random(in: 0...25, using: &seed) }
      decodeAll(message)
    }
  }

  /// Names in a refusal are read from the batch, whatever its sequence number.
  @Test func refusalsOfAnyMessageAreDescribed() {
    var batch = NftBatch()
    batch.append(NftRule(Self.id, "chain", Self.expressions, comment: "rule"))
    batch.flushSet(Self.id, "vmap")
    #expect(batch.describe(sequence: 1) == ("change the rule set", ""))
    #expect(batch.describe(sequence: 2).operation == "add rule")
    #expect(batch.describe(sequence: 2).object.hasPrefix("inet table chain (\"rule\") [meta meta payload ct"))
    #expect(batch.describe(sequence: 3) == ("delete elements", "inet table vmap"))
    #expect(batch.describe(sequence: 4) == ("change the rule set", ""))
    #expect(batch.describe(sequence: .max) == ("change the rule set", ""))
  }

  /// Start and length of each message.
  private func messages(_ bytes: [UInt8]) -> [(Int, Int)] {
    var out: [(Int, Int)] = []
    var at = 0
    while at + 16 <= bytes.count {
      let length = Int(bytes[at]) | Int(bytes[at + 1]) << 8 | Int(bytes[at + 2]) << 16
      guard length >= 16, at + length <= bytes.count else { break }
      out.append((at, length))
      at += (length + 3) & ~3
    }
    return out
  }
}
