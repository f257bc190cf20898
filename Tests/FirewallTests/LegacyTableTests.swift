import NetTypes
import Syscalls
import Testing

@testable import Firewall

/// A table of iptables-legacy as the kernel (6.18) handed it out, stored with the inputs of the fuzzer: what is read from
/// it, and that reading stays inside whatever is in it.
@Suite struct LegacyTableTests {
  /// Header and rules of a table `nat` with rules as flannel and portmap make them.
  private static func stored(_ family: AddressFamily) throws -> (info: [UInt8], entries: [UInt8]) {
    let root = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(3).joined(separator: "/")
    let bytes = try Files.read("\(root)/Fuzz/Corpus/Iptables/\(family == .ipv4 ? "ipv4" : "ipv6")").dropFirst(2)
    return (Array(bytes.prefix(84)), Array(bytes.dropFirst(84)))
  }

  @Test(arguments: AddressFamily.allCases) func chains(_ family: AddressFamily) throws {
    let (info, entries) = try Self.stored(family)
    let table = LegacyTable(family, info: info, entries: entries)
    let pod = "CNI-DN-e27677f4fbbc336c8feb9"
    for (chain, jumps) in [
      ("PREROUTING", ["CNI-HOSTPORT-DNAT"]), ("INPUT", []), ("OUTPUT", []), ("POSTROUTING", ["FLANNEL-POSTRTG"]),
      ("FLANNEL-POSTRTG", ["RETURN", "RETURN", "MASQUERADE"]), ("CNI-HOSTPORT-DNAT", [pod]), (pod, ["DNAT", "OTHER"]),
      ("OTHER", []),
    ] { #expect(table.chain(chain)?.map(\.jump) == jumps, "\(chain)") }
    #expect(table.chain("FORWARD") == nil && table.chain("FLANNEL") == nil)

    let jump = try #require(table.chain("POSTROUTING")?.first)
    #expect(jump.isPlain && jump.comment == "flanneld masq")
    #expect(table.chain("PREROUTING")?.first?.isPlain == false)
    let network = IPPrefix(family == .ipv4 ? "10.244.0.0/16" : "fd00:10:244::/56")
    let rules = try #require(table.chain("FLANNEL-POSTRTG"))
    #expect(rules.map(\.source) == [nil, network, network])
    #expect(rules[2].destination == family.multicast && rules[2].isInverted)
    let port = try #require(table.chain(pod))
    #expect(port[0].transport == 6 && port[0].port == 80 && !port[0].isPlain)
    #expect(port[0].translated == IPAddress(family == .ipv4 ? "10.244.101.2" : "fd00:10:244:59::2"))
    #expect(port[1].transport == 17 && port[1].translated == nil && !port[1].isPlain)
  }

  /// Cut anywhere: what is whole is read, the rest is not.
  @Test(arguments: AddressFamily.allCases) func cut(_ family: AddressFamily) throws {
    let (info, entries) = try Self.stored(family)
    let whole = LegacyTable(family, info: info, entries: entries)
    for count in stride(from: 0, to: entries.count, by: 3) {
      let table = LegacyTable(family, info: info, entries: Array(entries.prefix(count)))
      for name in whole.places.keys {
        guard let rules = table.chain(name) else { continue }
        #expect(rules.count <= whole.chain(name)?.count ?? 0)
      }
    }
    for count in 0..<84 {
      _ = LegacyTable(family, info: Array(info.prefix(count)), entries: entries).chain("POSTROUTING")
    }
  }

  /// Every byte wrong, one after the other, in several ways.
  @Test(arguments: AddressFamily.allCases) func damaged(_ family: AddressFamily) throws {
    let (info, entries) = try Self.stored(family)
    for i in entries.indices {
      for change: UInt8 in [0x01, 0x80, 0xff] {
        var bytes = entries
        bytes[i] ^= change
        let table = LegacyTable(family, info: info, entries: bytes)
        for name in table.places.keys { #expect(table.chain(name)?.count == table.places[name]?.count) }
      }
    }
  }
}
