import Glibc
import NetTypes
import Netlink
import Syscalls
import TestSupport
import Testing

/// Events of connections, caused by `conntrack` and by packets.
@Suite(.needsRoot) struct ConntrackMonitorTests {
  /// Reads until `isWanted` accepts an event, or 20 seconds have passed.
  private func wait(
    _ monitor: inout ConntrackMonitor, for isWanted: (ConntrackEvent) -> Bool
  ) throws -> Bool {
    let end = Clock.monotonic() + 20_000_000_000
    var found = false
    while !found, Clock.monotonic() < end {
      var set = [pollfd(fd: monitor.descriptor, events: Int16(POLLIN), revents: 0)]
      _ = poll(&set, 1, 500)
      try monitor.read { if isWanted($0) { found = true } }
    }
    return found
  }

  private static let udp = "-p udp -s 10.1.0.1 -d 10.2.0.2 --sport 1000 --dport 53"

  private func isMeant(_ entry: ConntrackEntry) -> Bool {
    entry.transport == TransportProtocol.udp && entry.original.source == IPAddress("10.1.0.1")
      && entry.original.selector == .ports(source: 1000, destination: 53)
  }

  @Test func tellsOfEveryChange() throws {
    let table = try ConntrackFixture("ctmon")
    var monitor = try ConntrackMonitor(groups: Set(ConntrackMonitor.Group.allCases), in: table.ns.open())
    try table.conntrack("-I \(Self.udp) -t 3000")
    var id: UInt32 = 0
    #expect(
      try wait(&monitor) {
        guard case .created(let entry) = $0, isMeant(entry) else { return false }
        id = entry.id
        return entry.timeout == 3000
      })
    #expect(try table.list().map(\.id) == [id])
    try table.conntrack("-U \(Self.udp) -m 9")
    #expect(
      try wait(&monitor) { if case .updated(let entry) = $0 { isMeant(entry) && entry.mark == 9 } else { false } })
    try table.conntrack("-D \(Self.udp)")
    #expect(try wait(&monitor) { if case .destroyed(let entry) = $0 { entry.id == id } else { false } })
  }

  @Test func tellsOfPackets() throws {
    let table = try ConntrackFixture("ctmonp")
    try table.trackTraffic()
    var monitor = try ConntrackMonitor(groups: [.new, .update], in: table.ns.open())
    let server = try Endpoint("tcp", stream: true, port: 5300, in: table.ns)
    #expect(try Client.connect("127.0.0.1", 5300, from: table.ns) != nil)
    var created = false
    #expect(
      try wait(&monitor) {
        switch $0 {
        case .created(let entry): created = entry.original.destinationPort == 5300
        case .updated(let entry): return created && entry.state == .established && entry.status.contains(.assured)
        default: break
        }
        return false
      })
    withExtendedLifetime(server) {}
  }

  @Test func hearsOnlyItsGroupsAndNotItself() throws {
    let table = try ConntrackFixture("ctmong")
    var socket = try table.socket()
    var deaf = try ConntrackMonitor(groups: [.destroy], in: table.ns.open())
    deaf.ignore(port: socket.portID)
    var all = try ConntrackMonitor(groups: [.destroy], in: table.ns.open())
    try table.load(udp: 3)
    let entries = try table.list()
    #expect(try socket.delete(entries[0]))
    try table.conntrack("-D -p udp --orig-port-src \(entries[1].original.sourcePort ?? 0)")
    var heard: [UInt32] = []
    var heardByAll: [UInt32] = []
    func destroyed(_ event: ConntrackEvent, _ list: inout [UInt32]) -> Bool {
      guard case .destroyed(let entry) = event else {
        Issue.record("\(event)")
        return true
      }
      list.append(entry.id)
      return entry.id == entries[1].id
    }
    #expect(try wait(&deaf) { destroyed($0, &heard) })
    #expect(try wait(&all) { destroyed($0, &heardByAll) })
    #expect(heard == [entries[1].id])
    #expect(heardByAll == [entries[0].id, entries[1].id])
  }

  @Test func reportsOverflow() throws {
    let table = try ConntrackFixture("ctmono")
    var monitor = try ConntrackMonitor(groups: [.new], in: table.ns.open(), receiveBuffer: 65_536)
    try table.load(udp: 5_000)
    var overflows = 0
    var others = 0
    try monitor.read { if $0 == .overflow { overflows += 1 } else { others += 1 } }
    #expect(overflows >= 1 && others > 0 && others < 5_000)
    try table.conntrack("-I \(Self.udp) -t 3000 -w 7")
    #expect(
      try wait(&monitor) { if case .created(let entry) = $0 { entry.zone == 7 } else { false } },
      "goes on after an overflow")
  }
}
