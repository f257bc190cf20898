@testable import Firewall

/// A table of iptables-legacy as the kernel hands it out: the family as `4` or `6`, the header, the rules. Every chain is
/// read.
func fuzzIptables(_ input: [UInt8]) {
  guard let family = input.first, family == UInt8(ascii: "4") || family == UInt8(ascii: "6") else { return }
  let info = Array(input.dropFirst().prefix(84))
  let entries = Array(input.dropFirst(85))
  let table = LegacyTable(family == UInt8(ascii: "4") ? .ipv4 : .ipv6, info: info, entries: entries)
  for name in table.places.keys { precondition(table.chain(name)?.count == table.places[name]?.count) }
}
