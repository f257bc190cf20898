import Glibc
import NetTypes
import Syscalls
import TestSupport
import Testing

@testable import Netlink

/// The kernel's table of connections; the oracle is `conntrack`.
@Suite(.needsRoot) struct ConntrackTests {
  /// Entries of every kind, as `conntrack -I` makes them.
  private static let entries = [
    "-p udp -s 10.1.0.1 -d 10.2.0.2 --sport 1000 --dport 53 --mark 0x107 -w 5",
    "-p udp -s 10.1.0.1 -d 10.2.0.2 --sport 1001 --dport 53 --orig-zone 9",
    "-p udp -s 10.1.0.1 -d 10.2.0.2 --sport 1002 --dport 54 --reply-zone 8 --mark 7",
    "-p udp -s 10.1.0.3 -d 10.2.0.2 --sport 1003 --dport 53 --dst-nat 10.9.9.9:5353",
    "-p udp -s fd00::1 -d fd00::2 --sport 1000 --dport 53",
    "-p tcp -s 10.1.0.1 -d 10.2.0.2 --sport 1000 --dport 53 --state ESTABLISHED -u ASSURED,SEEN_REPLY",
    "-p tcp -s fd00::1 -d fd00::2 --sport 1000 --dport 80 --state TIME_WAIT -u SEEN_REPLY",
    "-p icmp -s 10.1.0.1 -d 10.2.0.2 --icmp-type 8 --icmp-code 0 --icmp-id 77",
    "-p icmpv6 -s fd00::1 -d fd00::2 --icmpv6-type 128 --icmpv6-code 0 --icmpv6-id 78",
    "-p sctp -s 10.1.0.1 -d 10.2.0.2 --sport 1000 --dport 53 --state ESTABLISHED --orig-vtag 1 --reply-vtag 2",
    "-p gre -s 10.1.0.1 -d 10.2.0.2 --srckey 0x1 --dstkey 0x2",
    "-p 99 -s 10.1.0.1 -d 10.2.0.2",
  ]

  private func filled(_ tag: String) throws -> ConntrackFixture {
    let table = try ConntrackFixture(tag)
    for entry in Self.entries { try table.conntrack("-I \(entry) -t 3000") }
    return table
  }

  /// Without what goes on changing, and as far as `conntrack` prints it.
  private func comparable(_ entries: [ConntrackEntry]) -> Set<ConntrackEntry> {
    Set(
      entries.map {
        var entry = $0
        entry.timeout = nil
        entry.start = nil
        entry.status.formIntersection([.seenReply, .assured])
        return entry
      })
  }

  @Test func readsWhatConntrackReads() throws {
    let table = try filled("ctread")
    try table.trackTraffic()
    let begin = UInt64(Clock.realtime())
    for (family, address) in [(AddressFamily.ipv4, "127.0.0.1"), (.ipv6, "::1")] {
      let datagrams = try Endpoint("udp", family, stream: false, port: 5300, in: table.ns)
      let streams = try Endpoint("tcp", family, stream: true, port: 5300, in: table.ns)
      #expect(try Client(family, in: table.ns).ask(address, 5300) != nil)
      #expect(try Client.connect(address, 5300, from: table.ns) != nil)
      #expect(try table.ns.run("/usr/bin/ping", ["-c1", "-W5", address]).exit.isSuccess)
      withExtendedLifetime((datagrams, streams)) {}
    }
    // Connections are closed in the background: wait for two equal lists.
    var before = try table.list()
    var ours = try table.ours()
    var after = try table.list()
    for _ in 0..<100 where comparable(before) != comparable(after) {
      Clock.sleep(nanoseconds: 50_000_000)
      before = try table.list()
      ours = try table.ours()
      after = try table.list()
    }
    #expect(comparable(ours) == comparable(after))
    #expect(ours.count == Self.entries.count + 6)
    func timeouts(_ list: [ConntrackEntry]) -> [UInt32: UInt32] {
      Dictionary(list.map { ($0.id, $0.timeout ?? 0) }) { a, _ in a }
    }
    let (earlier, later) = (timeouts(before), timeouts(after))
    for entry in ours {
      let timeout = try #require(entry.timeout)
      #expect(try timeout <= #require(earlier[entry.id]) && timeout >= #require(later[entry.id]))
      #expect(entry.status.contains(.confirmed))
    }
    let counted = ours.filter { $0.originalCounters?.packets ?? 0 > 0 && $0.replyCounters?.bytes ?? 0 > 0 }
    #expect(counted.count == 6)
    #expect(counted.allSatisfy { ($0.start ?? 0) >= begin && ($0.start ?? 0) <= UInt64(Clock.realtime()) })
    let translated = ours.filter { $0.status.contains(.destinationNAT) }
    #expect(translated.map(\.reply.source) == [IPAddress("10.9.9.9")])
  }

  private static func prefix(_ text: String) -> IPPrefix { IPPrefix(text) ?? AddressFamily.ipv4.any }

  /// Filters, the arguments of `conntrack` that mean the same, and whether the kernel applies all of it.
  static let filters: [(filter: ConntrackFilter, oracle: String, isExact: Bool)] = [
    (.init(), "", true),
    (.init(family: .ipv6), "-f ipv6", true),
    (.init(family: .ipv4, transport: 17), "-f ipv4 -p udp", true),
    (.init(transport: 17), "-p udp", false),
    (.init(original: .init(source: prefix("10.1.0.3/32"))), "-s 10.1.0.3", true),
    (.init(original: .init(destination: prefix("fd00::2/128"))), "-f ipv6 -d fd00::2", false),
    (.init(original: .init(source: prefix("10.1.0.2/31"))), "-s 10.1.0.2/31", false),
    (.init(reply: .init(source: prefix("10.9.9.9/32"))), "-r 10.9.9.9", true),
    (.init(reply: .init(destination: prefix("10.1.0.1/32"))), "-q 10.1.0.1", true),
    (
      .init(family: .ipv4, transport: 17, original: .init(destinationPorts: [53])), "-f ipv4 -p udp --orig-port-dst 53",
      true
    ),
    (
      .init(family: .ipv4, transport: 6, original: .init(sourcePorts: [1000])), "-f ipv4 -p tcp --orig-port-src 1000",
      true
    ),
    (
      .init(family: .ipv4, transport: 17, reply: .init(sourcePorts: [5353])), "-f ipv4 -p udp --reply-port-src 5353",
      true
    ),
    (
      .init(family: .ipv4, transport: 132, original: .init(destinationPorts: [53])),
      "-f ipv4 -p sctp --orig-port-dst 53",
      false
    ),
    (.init(mark: 7), "-m 7", true),
    (.init(mark: 0xff07, markMask: 0xff), "-m 7/0xff", true),
    (.init(status: .assured), "-u ASSURED", true),
    (.init(zone: 5), "-w 5", true),
    (.init(transport: 6, state: .established), "-p tcp --state ESTABLISHED", false),
  ]

  @Test(arguments: filters.indices) func filtersAsConntrackDoes(_ i: Int) throws {
    let (filter, oracle, isExact) = Self.filters[i]
    let table = try filled("ctfilt")
    let expected = comparable(try table.list(oracle))
    let ours = comparable(try table.ours(filter))
    #expect(ours == expected)
    #expect(!expected.isEmpty)
    // What the kernel sends before the filter is applied again.
    var socket = try table.socket()
    var sent = 0
    #expect(
      try socket.reader.ask("list", ConntrackMessage.get, flags: MessageFlags.dump) {
        filter.encodeRequest(into: &$0)
      } each: { _ in
        sent += 1
      })
    #expect(isExact ? sent == expected.count : sent >= expected.count)
  }

  @Test func filtersWhatConntrackCannotSay() throws {
    let table = try filled("ctfil2")
    let all = try table.list()
    func expect(_ filter: ConntrackFilter, _ isMeant: (ConntrackEntry) -> Bool) throws {
      let meant = all.filter(isMeant)
      #expect(!meant.isEmpty)
      #expect(comparable(try table.ours(filter)) == comparable(meant))
    }
    try expect(.init(excludedStatus: .seenReply)) { !$0.status.contains(.seenReply) }
    try expect(.init(zone: 9)) { $0.original.zone == 9 }
    try expect(.init(zone: 8)) { $0.reply.zone == 8 }
    try expect(.init(zone: 0)) { $0.zone == 0 && $0.original.zone == 0 && $0.reply.zone == 0 }
    try expect(.init(original: .init(destinationPorts: [53, 80]))) { [53, 80].contains($0.original.destinationPort) }
    // The two families exclude each other.
    let six = Self.prefix("fd00::1/128")
    let four = Self.prefix("10.1.0.1/32")
    #expect(try table.ours(.init(family: .ipv4, original: .init(source: six))).isEmpty)
    #expect(try table.ours(.init(family: .ipv6, original: .init(source: four))).isEmpty)
    #expect(try table.ours(.init(original: .init(source: six), reply: .init(source: four))).isEmpty)
  }

  @Test func deletesOneByOne() throws {
    let table = try filled("ctdel")
    var socket = try table.socket()
    let all = try table.ours()
    var renumbered = try #require(all.first)
    renumbered.id ^= 1
    #expect(try !socket.delete(renumbered), "the same tuple, but another connection")
    #expect(try table.list().count == all.count)
    for (i, entry) in all.enumerated() {
      #expect(try socket.delete(entry), "\(entry.original)")
      #expect(try !socket.delete(entry), "gone is no error")
      #expect(comparable(try table.list()) == comparable(Array(all[(i + 1)...])))
    }
    #expect(try socket.count() == 0)
  }

  @Test func namesTheConnectionThatIsRefused() throws {
    let table = try ConntrackFixture("ctrefu")
    try table.load(udp: 3)
    var socket = try table.socket()
    var entry = try #require(try table.ours().first)
    entry.original.selector = .none
    let error = #expect(throws: NetlinkError.self) { try socket.delete(entry) }
    #expect(error?.description == "delete connection \(entry.original): invalid argument")
    #expect(try table.list().count == 3)
  }

  @Test func deletesManyInOnePass() throws {
    let table = try ConntrackFixture("ctmany")
    try table.load(udp: 20_000)
    try table.load(udp: 1_000, port: 54)
    try table.load(udp: 50, to: "10.2.0.3")
    var socket = try table.socket()
    #expect(try socket.count() == 21_050)
    var asked = 0
    let filter = ConntrackFilter(
      family: .ipv4, transport: TransportProtocol.udp, original: .init(destinationPorts: [53]))
    let kept = IPAddress("10.2.0.3")
    let removed = try socket.delete(matching: filter) {
      asked += 1
      return $0.original.destination != kept
    }
    #expect(removed == 20_000)
    #expect(asked >= 20_050)
    #expect(try table.list("-p udp --orig-port-dst 54").count == 1_000)
    #expect(try table.list("-d 10.2.0.3").count == 50)
    #expect(try table.list().count == 1_050)
    #expect(try socket.delete(matching: filter) { $0.original.destination != kept } == 0)
    #expect(try socket.delete(matching: .init()) == 1_050)
    #expect(try table.list().isEmpty)
  }

  @Test func countsWhatTheKernelCounts() throws {
    let table = try ConntrackFixture("ctstat")
    try table.load(udp: 123)
    var socket = try table.socket()
    let stats = try socket.stats()
    #expect(try stats.count == 123 && socket.count() == 123)
    #expect(try table.conntrack("-C") == "123\n")
    let limit = try table.ns.run("/usr/sbin/sysctl", ["-n", "net.netfilter.nf_conntrack_max"]).text
    #expect(stats.limit.map { "\($0)\n" } == limit)
    // cpu=0   	found=0 invalid=0 insert=4 …
    let oracle = try table.conntrack("-S").split(separator: "\n").map {
      Dictionary(
        $0.split { $0 == " " || $0 == "\t" }.map { $0.split(separator: "=") }.map { ($0[0], UInt32($0[1])) }
      ) { a, _ in a }
    }
    #expect(stats.processors.map { UInt32($0.number) } == oracle.map { $0["cpu"] })
    #expect(stats.processors.map(\.insert) == oracle.map { $0["insert"] })
    #expect(stats.processors.reduce(0) { $0 + $1.insert } == 123)
    #expect(stats.processors.map(\.found) == oracle.map { $0["found"] })
    #expect(stats.processors.map(\.drop) == oracle.map { $0["drop"] })
  }

  @Test func flushesOnlyWhatIsAsked() throws {
    let table = try ConntrackFixture("ctflus")
    try table.trackTraffic()
    try table.ns.ip("address", "add", "10.77.0.1/32", "dev", "lo")
    var servers: [Endpoint] = []
    var clients: [Client] = []
    // Servers of both families.
    let ports: [UInt16] = [5300, 5301, 5302]
    for port in ports { servers.append(try Endpoint("udp", .ipv6, stream: false, port: port, in: table.ns)) }
    servers.append(try Endpoint("tcp", .ipv6, stream: true, port: 5300, in: table.ns))
    for (family, address) in [(AddressFamily.ipv4, "127.0.0.1"), (.ipv6, "::1")] {
      for port in ports {
        let client = try Client(family, in: table.ns)
        #expect(client.ask(address, port) != nil)
        clients.append(client)
      }
      #expect(try Client.connect(address, 5300, from: table.ns) != nil)
    }
    let elsewhere = try Client(.ipv4, in: table.ns)
    #expect(elsewhere.ask("10.77.0.1", 5300) != nil)
    func left(_ arguments: String) throws -> [UInt16] {
      try table.list(arguments).compactMap(\.original.destinationPort).sorted()
    }
    #expect(try left("-f ipv4 -p udp") == [5300, 5300, 5301, 5302])

    var socket = try table.socket()
    #expect(try socket.flushUDP(destinationPorts: [], family: .ipv4) == 0)
    #expect(try socket.flushUDP(destinationPorts: [5300], family: .ipv4, destination: IPAddress("10.77.0.1")) == 1)
    #expect(try left("-f ipv4 -p udp") == [5300, 5301, 5302])
    #expect(try socket.flushUDP(destinationPorts: [5300, 5302, 9], family: .ipv4) == 2)
    #expect(try left("-f ipv4 -p udp") == [5301])
    #expect(try left("-f ipv4 -p tcp") == [5300])
    #expect(try left("-f ipv6 -p udp") == [5300, 5301, 5302])
    #expect(try socket.flushUDP(destinationPorts: [5301], family: .ipv6) == 1)
    #expect(try left("-f ipv6 -p udp") == [5300, 5302])
    #expect(clients.first?.ask("127.0.0.1", 5300) != nil, "the next packet is a new connection")
    #expect(try left("-f ipv4 -p udp") == [5300, 5301])
    withExtendedLifetime((servers, clients, elsewhere)) {}
  }

  @Test func looksIntoItsOwnNamespaceOnly() throws {
    let table = try ConntrackFixture("ctns1")
    let other = try ConntrackFixture("ctns2")
    try table.load(udp: 2)
    try other.load(udp: 5)
    #expect(try table.ours().count == 2)
    let inside = try table.ns.open().run { () throws(SystemError) -> Int in
      do throws(NetlinkError) {
        var socket = try ConntrackSocket()
        return try socket.count()
      } catch {
        throw SystemError(error.operation, error.object, error.errno)
      }
    }
    #expect(inside == 2)
    var socket = try table.socket()
    #expect(try socket.delete(matching: .init()) == 2)
    #expect(try other.list().count == 5)
  }
}
