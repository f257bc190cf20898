import NetTypes
import Testing

@testable import Netlink

/// Connections as the kernel tells them, and requests about them.
@Suite struct ConntrackTests {
  private func address(_ text: String) throws -> IPAddress { try #require(IPAddress(text)) }

  private func tuple(
    _ source: String, _ destination: String, _ transport: UInt8, _ selector: ConntrackTuple.Selector, zone: UInt16 = 0
  ) throws -> ConntrackTuple {
    ConntrackTuple(
      source: try address(source), destination: try address(destination), transport: transport, selector: selector,
      zone: zone)
  }

  private func entries(_ hex: String) -> [ConntrackEntry] {
    var out: [ConntrackEntry] = []
    #expect(forEachMessage(bytes(hex)) { if let entry = ConntrackEntry($0) { out.append(entry) } })
    return out
  }

  @Test func readsEntries() throws {
    let expected = [
      ConntrackEntry(
        id: 0x7822_1138,
        original: try tuple("10.1.0.1", "10.2.0.2", 17, .ports(source: 1001, destination: 53), zone: 9),
        reply: try tuple("10.2.0.2", "10.1.0.1", 17, .ports(source: 53, destination: 1001)), status: .confirmed,
        timeout: 99, use: 1),
      ConntrackEntry(
        id: 0x43c4_7e0b, original: try tuple("fd00::1", "fd00::2", 58, .icmp(type: 128, code: 0, id: 78)),
        reply: try tuple("fd00::2", "fd00::1", 58, .icmp(type: 129, code: 0, id: 78)), status: .confirmed, timeout: 99,
        use: 1),
      ConntrackEntry(
        id: 0x37c1_7de6, original: try tuple("10.1.0.1", "10.2.0.2", 132, .ports(source: 1000, destination: 53)),
        reply: try tuple("10.2.0.2", "10.1.0.1", 132, .ports(source: 53, destination: 1000)), status: .confirmed,
        timeout: 99, use: 1, state: ConntrackState(.sctp, named: "ESTABLISHED")),
      ConntrackEntry(
        id: 0xd009_d493, original: try tuple("10.1.0.1", "10.2.0.2", 17, .ports(source: 1000, destination: 53)),
        reply: try tuple("10.2.0.2", "10.1.0.1", 17, .ports(source: 53, destination: 1000)), status: .confirmed,
        timeout: 99, mark: 7, use: 1, zone: 5),
    ]
    #expect(entries(GoldenConntrack.dump) == expected)
    #expect(expected[2].state?.number == 4)
  }

  private func connection() throws -> ConntrackEntry {
    ConntrackEntry(
      id: 0x99d9_f141, original: try tuple("127.0.0.1", "127.0.0.1", 6, .ports(source: 40001, destination: 8080)),
      reply: try tuple("127.0.0.1", "127.0.0.1", 6, .ports(source: 8080, destination: 40001)),
      status: [.seenReply, .assured, .confirmed], timeout: 0x6977f, use: 1, state: .established,
      originalCounters: .init(packets: 3, bytes: 169), replyCounters: .init(packets: 2, bytes: 112),
      start: 0x18eb_7566_8062_f49c)
  }

  @Test func readsCountersAndTimes() throws {
    let read = entries(GoldenConntrack.tcp)
    #expect(read == [try connection()])
    #expect(read.first?.state?.name == "ESTABLISHED")
    #expect(read.first?.original.description == "tcp 127.0.0.1:40001 to 127.0.0.1:8080")
  }

  @Test func readsEvents() throws {
    var first = try connection()
    first.use = nil
    first.originalCounters = nil
    first.replyCounters = nil
    first.start = nil
    var third = first
    first.status = .confirmed
    first.timeout = 120
    first.state = ConntrackState(.tcp, named: "SYN_SENT")
    third.timeout = 432_000
    var last = try connection()
    last.use = nil
    last.status.insert(.dying)
    last.stop = 0x18eb_7566_92dd_5f01
    var read: [ConntrackEvent] = []
    forEachMessage(bytes(GoldenConntrack.events)) { if let event = ConntrackEvent($0) { read.append(event) } }
    #expect(read == [.created(first), .updated(third), .destroyed(last)])
  }

  @Test func readsStatistics() {
    var processors: [ConntrackStatistics.Processor] = []
    var sizes: [ConntrackStatistics] = []
    forEachMessage(bytes(GoldenConntrack.statistics)) {
      if let processor = ConntrackStatistics.Processor($0) { processors.append(processor) }
      if let size = ConntrackStatistics($0) { sizes.append(size) }
    }
    #expect(processors == [.init(number: 0, insert: 4), .init(number: 1, insert: 10)])
    #expect(sizes == [ConntrackStatistics(count: 4, limit: 262_144)])
  }

  // An entry without a direction, or of two families, is none: a request to delete it could mean another one.
  @Test func refusesHalfAnEntry() throws {
    let whole = try connection()
    func decode(_ body: (inout MessageWriter) -> Void) -> ConntrackEntry? {
      var writer = MessageWriter()
      writer.message(ConntrackMessage.new, 0, sequence: 1) {
        $0.header(Netfilter.header(family: 2))
        body(&$0)
      }
      var read: ConntrackEntry?
      forEachMessage(array(writer.buffer.bytes)) { read = ConntrackEntry($0) }
      return read
    }
    let six = try tuple("fd00::2", "fd00::1", 6, .ports(source: 8080, destination: 40001))
    #expect(decode { whole.original.encode(ConntrackAttribute.original, into: &$0) } == nil)
    #expect(decode { whole.reply.encode(ConntrackAttribute.reply, into: &$0) } == nil)
    #expect(
      decode {
        whole.original.encode(ConntrackAttribute.original, into: &$0)
        six.encode(ConntrackAttribute.reply, into: &$0)
      } == nil)
    #expect(
      decode {
        // In an order the kernel does not use today.
        $0.big(ConntrackAttribute.mark, UInt32(9))
        whole.reply.encode(ConntrackAttribute.reply, into: &$0)
        whole.original.encode(ConntrackAttribute.original, into: &$0)
        $0.big(999, UInt32(1))
      } == ConntrackEntry(original: whole.original, reply: whole.reply, mark: 9))
  }

  // conntrack -D -p udp -s 10.1.0.1 -d 10.2.0.2 --sport 1000 --dport 53 -w 5 --id … sends the same tuple.
  @Test func namesAnEntryByItsOriginalDirection() throws {
    let entry = try #require(entries(GoldenConntrack.dump).last)
    var writer = MessageWriter()
    writer.message(ConntrackMessage.delete, 0, sequence: 1) { entry.encodeKey(into: &$0) }
    #expect(
      array(writer.buffer.bytes)
        == bytes(
          """
          58000000 0201 0100 01000000 00000000 02000000
          34000180 14000180 080001000a010001 080002000a020002
          1c000280 0500010011000000 0600020003e80000 0600030000350000
          0600120000050000 08000c00d009d493
          """))
  }

  @Test func filtersByEveryField() throws {
    let all = entries(GoldenConntrack.dump) + entries(GoldenConntrack.tcp)
    func count(_ filter: ConntrackFilter) -> Int { all.filter(filter.matches).count }
    func prefix(_ text: String) throws -> IPPrefix { try #require(IPPrefix(text)) }
    #expect(count(.init()) == 5)
    #expect(count(.init(family: .ipv6)) == 1 && count(.init(family: .ipv4)) == 4)
    #expect(count(.init(transport: 17)) == 2)
    #expect(count(.init(original: .init(source: try prefix("10.0.0.0/8")))) == 3)
    #expect(count(.init(original: .init(destination: try prefix("fd00::/16")))) == 1)
    #expect(count(.init(reply: .init(source: try prefix("10.2.0.2/32"), destinationPorts: [1000]))) == 2)
    #expect(count(.init(original: .init(destinationPorts: [53, 8080]))) == 4)
    #expect(count(.init(original: .init(sourcePorts: [1001]))) == 1)
    #expect(count(.init(original: .init(sourcePorts: []))) == 0)
    #expect(count(.init(mark: 7)) == 1 && count(.init(mark: 0xff, markMask: 2)) == 1)
    #expect(count(.init(mark: 0, markMask: 8)) == 5)
    #expect(count(.init(status: .assured)) == 1 && count(.init(excludedStatus: .assured)) == 4)
    #expect(count(.init(state: .established)) == 1)
    #expect(count(.init(zone: 9)) == 1 && count(.init(zone: 5)) == 1 && count(.init(zone: 0)) == 3)
  }

  @Test func namesOfProtocolsAndStates() {
    #expect(TransportProtocol.name(17) == "udp" && TransportProtocol.name(99) == "99")
    #expect(TransportProtocol.number("icmpv6") == 58 && TransportProtocol.number("99") == 99)
    #expect(TransportProtocol.number("x") == nil && TransportProtocol.number("256") == nil)
    #expect(ConntrackState(.tcp, named: "TIME_WAIT")?.number == 7)
    #expect(ConntrackState(.tcp, named: "OPEN") == nil && ConntrackState(.dccp, named: "OPEN")?.number == 4)
    #expect(ConntrackState(.tcp, 200).name == "200")
  }
}
