import NetTypes
import Testing

@testable import CNI
@testable import Firewall

/// The legacy variant's table is a block of memory: whatever is in it, reading stays inside.
@Suite struct NATTableTests {
  @Test func damaged() {
    var random = HostileInputTests.Random(state: 7)
    for family in AddressFamily.allCases {
      for _ in 0..<2000 {
        let info = (0..<84).map { _ in UInt8.random(in: 0...3, using: &random) }
        var entries = (0..<Int.random(in: 0...600, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random)
        }
        // Lengths that lead somewhere, most of the time.
        for at in [88, 140] where entries.count > at + 4 {
          entries[at] = UInt8.random(in: 100...200, using: &random)
          entries[at + 1] = 0
          entries[at + 2] = UInt8.random(in: 130...255, using: &random)
          entries[at + 3] = UInt8.random(in: 0...1, using: &random)
        }
        let table = LegacyTable(family, info: info, entries: entries)
        for name in ["PREROUTING", "OUTPUT", "POSTROUTING", ""] { _ = table.chain(name) }
      }
      #expect(LegacyTable(family, info: [], entries: []).chain("OUTPUT") == nil)
    }
  }

  @Test func matchesAndTargets() {
    var r = IptablesRule()
    r.match("tcp", [0, 0, 255, 255, 80, 0, 80, 0, 0])
    #expect(r.port == 80)
    r.match("udp", [0, 0, 255, 255, 80, 0, 81, 0])
    #expect(r.port == nil)
    r.match("sctp", [1, 2, 1, 2])
    #expect(r.port == 0x201)
    r.match("tcp", [1, 2])
    #expect(r.port == nil)
    r.target("DNAT", revision: 2, [3, 0, 0, 0, 10, 0, 0, 2] + [UInt8](repeating: 0, count: 30), .ipv4)
    #expect(r.translated == IPAddress("10.0.0.2"))
    r.target("DNAT", revision: 0, [1, 0, 0, 0, 3, 0, 0, 0, 10, 0, 0, 3], .ipv4)
    #expect(r.translated == IPAddress("10.0.0.3"))
    r.target("DNAT", revision: 2, [1], .ipv6)
    #expect(r.translated == nil)
  }
}
