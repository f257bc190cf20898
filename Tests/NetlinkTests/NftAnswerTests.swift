import Testing

@testable import Netlink

/// Answers of the kernel about rule sets, as it gave them to nft and iptables-nft.
@Suite struct NftAnswerTests {
  let t = NftTable.ID(.inet, "t")

  /// Reads a captured answer message by message.
  private func read<T>(_ hex: String, _ decode: (borrowing Message) -> T?) -> [T] {
    var out: [T] = []
    #expect(forEachMessage(bytes(hex)) { if let value = decode($0) { out.append(value) } }, "well-formed to the end")
    return out
  }

  private func isOf(_ type: UInt16, _ message: borrowing Message) -> Bool { message.type & 0xff == type }

  @Test func tablesAndChains() {
    #expect(
      read(GoldenRules.ruleset) { isOf(NftMessage.newTable, $0) ? NftTable($0) : nil } == [NftTable(t, comment: "c")])
    #expect(
      read(GoldenRules.ruleset) { isOf(NftMessage.newChain, $0) ? NftChain($0) : nil } == [
        NftChain(t, "c"),
        NftChain(t, "p", base: NftChain.Base(type: "nat", hook: .prerouting, priority: -100)),
      ])
  }

  @Test func setsAndElements() {
    #expect(
      Set(read(GoldenRules.ruleset) { isOf(NftMessage.newSet, $0) ? NftSet($0) : nil }) == [
        NftSet(t, "__set0", key: [.inetService], flags: [.anonymous, .constant]),
        NftSet(t, "s", key: [.ipv4Address, .inetService], flags: [.interval, .concatenation]),
        NftSet(t, "m", key: [.inetService], data: [.verdict]),
      ])
    let elements = read(GoldenRules.ruleset) {
      isOf(NftMessage.newElement, $0) ? NftElement.list($0) : nil
    }.flatMap { $0 }
    #expect(
      Set(elements) == [
        NftElement(key: [0, 1]), NftElement(key: [0, 2]),
        NftElement(key: [0, 80], value: .verdict(.jump("c"))),
        NftElement(key: [10, 0, 0, 0, 0, 1, 0, 0], keyEnd: [10, 255, 255, 255, 0, 2, 0, 0]),
      ])
  }

  @Test func rules() throws {
    let rules = read(GoldenRules.ruleset) { isOf(NftMessage.newRule, $0) ? NftRule($0) : nil }
    #expect(rules.map(\.chain) == ["c", "c", "p"] && rules.allSatisfy { $0.table == t && $0.handle > 0 })
    #expect(
      rules.first?.expressions == [
        .meta(.transportProtocol, .r1), .compare(.equal, .r1, [6]), .payload(.transport, offset: 2, length: 2, .r1),
        .lookup(set: "__set0", key: .r1, to: nil, verdict: false, inverted: false), .counter(packets: 0, bytes: 0),
        .masquerade([]),
      ])
    #expect(rules.first?.comment == "x")
    let second = try #require(rules.dropFirst().first?.expressions)
    guard case .other(name: "limit", let limit) = second.first else {
      Issue.record("\(second)")
      return
    }
    #expect(!limit.isEmpty && second.dropFirst() == [.verdict(.drop)])
    #expect(
      rules.last?.expressions == [
        .meta(.transportProtocol, .r1), .compare(.equal, .r1, [6]), .immediate(.r1, [10, 0, 0, 1]),
        .immediate(.r2, [0, 80]), .nat(NftExpression.NAT(.destination, family: 2, address: .r1, port: .r2)),
      ])
  }

  @Test func rulesOfIptables() throws {
    let rule = try #require(read(GoldenRules.iptables) { NftRule($0) }.first)
    #expect(rule.table == NftTable.ID(.ipv4, "filter") && rule.chain == "FORWARD")
    #expect(rule.expressions.map(\.name) == ["meta", "cmp", "match", "match", "counter", "immediate"])
    guard case .compatibility(isTarget: false, name: "multiport", revision: 1, let info) = rule.expressions[2] else {
      Issue.record("\(rule)")
      return
    }
    // XT_MULTIPORT_DESTINATION, two ports: 1 and 2.
    #expect(info.prefix(6) == [1, 2, 1, 0, 2, 0])
  }

  /// Any byte of a real answer may be any other.
  @Test func changedAnswers() {
    for hex in [GoldenRules.ruleset, GoldenRules.iptables] {
      var input = bytes(hex)
      for n in input.indices {
        let before = input[n]
        for value in [0, 1, before &+ 1, before &- 1, 4, 127, 255] {
          input[n] = value
          forEachMessage(input) {
            _ = NftEvent($0)
            _ = NftTable($0)
            _ = NftChain($0)
            _ = NftRule($0)?.comparable
            _ = NftSet($0)?.keyLength
            _ = NftElement.list($0)
          }
        }
        input[n] = before
      }
    }
  }
}
