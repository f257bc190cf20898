import NetTypes
import Netlink
import TestSupport
import Testing

/// The table of connections changes under a pass over it.
@Suite(.needsRoot) struct ConntrackChangeTests {
  /// 16,384 connections that stay and 3,616 that vanish, all to port 53.
  private func filled(_ tag: String) throws -> ConntrackFixture {
    let table = try ConntrackFixture(tag)
    try table.load(udp: 20_000)
    return table
  }

  /// What others do in the middle of our pass.
  private func change(_ table: ConntrackFixture) throws {
    try table.conntrack("-D -s 10.1.1.1")
    try table.load(udp: 1_000, port: 54)
  }

  @Test func listsWhatStays() throws {
    let table = try filled("ctchls")
    let stays = Set(try table.list("-s 10.1.0.1").map(\.id))
    var seen: Set<UInt32> = []
    var isFirst = true
    var socket = try table.socket()
    try socket.dump(.init(original: .init(destinationPorts: [53]))) {
      if isFirst { #expect(throws: Never.self) { try change(table) } }
      isFirst = false
      seen.insert($0.id)
    }
    #expect(stays.count == 16_384 && seen.isSuperset(of: stays))
  }

  @Test func deletesAndCountsWhatIsStillThere() throws {
    let table = try filled("ctchde")
    var isFirst = true
    var socket = try table.socket()
    let filter = ConntrackFilter(
      family: .ipv4, transport: TransportProtocol.udp, original: .init(destinationPorts: [53]))
    let removed = try socket.delete(matching: filter) { _ in
      if isFirst { #expect(throws: Never.self) { try change(table) } }
      isFirst = false
      return true
    }
    #expect(removed == 16_384, "those that others removed are no error, and not ours")
    #expect(try table.list().map(\.original.destinationPort) == Array(repeating: 54, count: 1_000))
  }

  // The kernel's own filter takes addresses of IPv6 for their opposite.
  @Test func flushesOneAddressOfBothFamilies() throws {
    let table = try ConntrackFixture("ctaddr")
    let cases = [(AddressFamily.ipv4, "10.2.0.", "10.1.0.1"), (.ipv6, "fd00::", "fd00::1")]
    for (_, net, source) in cases {
      for host in [2, 3] {
        for port in [53, 54] {
          try table.conntrack("-I -t 3000 -p udp -s \(source) -d \(net)\(host) --sport 1000 --dport \(port)")
        }
      }
    }
    var socket = try table.socket()
    for (family, net, _) in cases {
      let address = try #require(IPAddress("\(net)2"))
      #expect(try socket.flushUDP(destinationPorts: [53], family: family, destination: address) == 1)
      let left = try table.list("-f \(family == .ipv4 ? "ipv4" : "ipv6")")
      #expect(left.count == 3)
      #expect(left.allSatisfy { $0.original.destination != address || $0.original.destinationPort == 54 })
    }
  }
}
