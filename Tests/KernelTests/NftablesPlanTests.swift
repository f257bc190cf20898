import Firewall
import NetTypes
import Netlink
import TestSupport
import Testing

/// `converge` against a rule set that others change.
@Suite(.needsRoot) struct NftablesPlanTests {
  let ns: TestNamespace
  let four = PodNetworkPlan.table(.ipv4)

  init() throws { ns = try TestNamespace("nftplan") }

  private func plan(masquerades: Bool = true, forwards: Bool = true) throws -> [NftTablePlan] {
    let v4 = PodNetworkRules(
      network: try #require(IPPrefix("10.244.0.0/16")), pods: try #require(IPPrefix("10.244.1.0/24")), fullyRandom: true
    )
    let v6 = PodNetworkRules(
      network: try #require(IPPrefix("fd00:10:244::/56")), pods: try #require(IPPrefix("fd00:10:244:1::/64")),
      fullyRandom: true)
    return PodNetworkPlan(rules: PerFamily(ipv4: v4, ipv6: v6), masquerades: masquerades, forwards: forwards).nftables
  }

  /// The listing of contract flanneld §11.1, without the two defects of §19 no. 22.
  static let golden = """
    table ip flannel-ipv4 {
    \tcomment "rules for flannel-ipv4"
    \tchain postrtg {
    \t\tcomment "chain to manage traffic masquerading by flannel"
    \t\ttype nat hook postrouting priority srcnat; policy accept;
    \t\tmeta mark & 0x00004000 == 0x00004000 return
    \t\tip saddr 10.244.1.0/24 ip daddr 10.244.0.0/16 return
    \t\tip saddr 10.244.0.0/16 ip daddr 10.244.1.0/24 return
    \t\tip saddr != 10.244.0.0/16 ip daddr 10.244.1.0/24 return
    \t\tip saddr 10.244.0.0/16 ip daddr != 224.0.0.0/4 masquerade fully-random
    \t\tip saddr != 10.244.0.0/16 ip daddr 10.244.0.0/16 masquerade fully-random
    \t}

    \tchain forward {
    \t\tcomment "chain to accept flannel traffic"
    \t\ttype filter hook forward priority filter; policy accept;
    \t\tip saddr 10.244.0.0/16 accept
    \t\tip daddr 10.244.0.0/16 accept
    \t}
    }
    table ip6 flannel-ipv6 {
    \tcomment "rules for flannel-ipv6"
    \tchain postrtg {
    \t\tcomment "chain to manage traffic masquerading by flannel"
    \t\ttype nat hook postrouting priority srcnat; policy accept;
    \t\tmeta mark & 0x00004000 == 0x00004000 return
    \t\tip6 saddr fd00:10:244:1::/64 ip6 daddr fd00:10:244::/56 return
    \t\tip6 saddr fd00:10:244::/56 ip6 daddr fd00:10:244:1::/64 return
    \t\tip6 saddr != fd00:10:244::/56 ip6 daddr fd00:10:244:1::/64 return
    \t\tip6 saddr fd00:10:244::/56 ip6 daddr != ff00::/8 masquerade fully-random
    \t\tip6 saddr != fd00:10:244::/56 ip6 daddr fd00:10:244::/56 masquerade fully-random
    \t}

    \tchain forward {
    \t\tcomment "chain to accept flannel traffic"
    \t\ttype filter hook forward priority filter; policy accept;
    \t\tip6 saddr fd00:10:244::/56 accept
    \t\tip6 daddr fd00:10:244::/56 accept
    \t}
    }

    """

  @Test func listingIsTheGoldenText() throws {
    var socket = try ns.nftSocket()
    #expect(
      try socket.converge(try plan()) == [
        "table ip flannel-ipv4", "chain postrtg of table ip flannel-ipv4", "chain forward of table ip flannel-ipv4",
        "table ip6 flannel-ipv6", "chain postrtg of table ip6 flannel-ipv6", "chain forward of table ip6 flannel-ipv6",
      ])
    #expect(try ns.nftList() == Self.golden)
    let generation = try socket.generation()
    #expect(try socket.converge(try plan()).isEmpty)
    #expect(try socket.generation() == generation, "nothing was sent")
  }

  /// What others do to the rules; `converge` names what it repaired and the golden text is back.
  @Test(arguments: [
    ("flush ruleset", 6),
    ("delete table ip flannel-ipv4", 3),
    ("flush chain ip6 flannel-ipv6 postrtg", 1),
    ("flush table ip flannel-ipv4", 2),
    ("insert rule ip flannel-ipv4 forward drop", 1),
    ("add rule ip flannel-ipv4 postrtg ip saddr 10.0.0.1 accept", 1),
    ("add table ip flannel-ipv4 { flags dormant; }", 1),
    ("add chain ip flannel-ipv4 forward { policy drop; }", 1),
    ("delete chain ip6 flannel-ipv6 forward", 1),
    (
      "flush chain ip flannel-ipv4 forward\ndelete chain ip flannel-ipv4 forward\n"
        + "add chain ip flannel-ipv4 forward { type filter hook input priority 0; }", 1
    ),
    (
      "flush chain ip flannel-ipv4 postrtg\ndelete chain ip flannel-ipv4 postrtg\n"
        + "add chain ip flannel-ipv4 postrtg { type nat hook postrouting priority 99; }", 1
    ),
    ("flush chain ip flannel-ipv4 forward\ndelete chain ip flannel-ipv4 forward\nadd chain ip flannel-ipv4 forward", 1),
  ])
  func repairs(_ damage: String, _ changes: Int) throws {
    var socket = try ns.nftSocket()
    _ = try socket.converge(try plan())
    try ns.nftLoad("table ip foreign { chain c { counter; }; }")
    try ns.nftLoad(damage)
    let said = try socket.converge(try plan())
    #expect(said.count == changes, "\(said)")
    #expect(try socket.converge(try plan()).isEmpty)
    try ns.nftLoad("add table ip foreign\ndelete table ip foreign")
    // A chain that was made again stands last; the chains' texts are compared in any order.
    func chains(_ text: String) -> [String] {
      var out: [String] = []
      for line in text.split(separator: "\n") where line != "}" {
        if line.hasPrefix("table") || line.hasPrefix("\tchain") { out.append("") }
        if let last = out.popLast() { out.append(last + line + "\n") }
      }
      return out.sorted()
    }
    expectSame(chains(try ns.nftList()), chains(Self.golden))
  }

  /// Only one rule, deleted by its handle.
  @Test func deletedRuleIsBackInItsPlace() throws {
    var socket = try ns.nftSocket()
    _ = try socket.converge(try plan())
    let victim = try socket.rules(four, chain: "postrtg")[2].handle
    try ns.nftLoad("delete rule ip flannel-ipv4 postrtg handle \(victim)")
    #expect(
      try socket.converge(try plan()) == ["chain postrtg of table ip flannel-ipv4 (its rules were different)"])
    #expect(try ns.nftList() == Self.golden)
  }

  /// Chains of what was switched off go away, those of others in the same table stay.
  @Test func absentChainsAreRemoved() throws {
    var socket = try ns.nftSocket()
    _ = try socket.converge(try plan())
    try ns.nftLoad("add chain ip flannel-ipv4 foreign\nadd rule ip flannel-ipv4 foreign counter")
    #expect(
      try socket.converge(try plan(masquerades: false)) == [
        "chain postrtg of table ip flannel-ipv4 removed", "chain postrtg of table ip6 flannel-ipv6 removed",
      ])
    #expect(try socket.chains(four).map(\.name) == ["forward", "foreign"])
    #expect(try socket.converge(try plan(masquerades: false)).isEmpty)
    #expect(try socket.converge(try plan()).count == 2)
    #expect(try socket.rules(four, chain: "foreign").count == 1)
    #expect(try socket.remove([four, PodNetworkPlan.table(.ipv6)]) == [four, PodNetworkPlan.table(.ipv6)])
    #expect(try ns.nftList().isEmpty)
    #expect(try socket.remove([four]).isEmpty)
  }

  /// A table that belongs to another program cannot be changed; the error says so, and nothing else was changed.
  @Test func ownedTable() throws {
    var owner = try ns.nftSocket()
    var batch = NftBatch()
    batch.add(NftTable(PodNetworkPlan.table(.ipv6), flags: 2))
    try owner.commit(batch)
    var socket = try ns.nftSocket()
    let before = try ns.nftList()
    do {
      _ = try socket.converge(try plan())
      Issue.record("changed a table that is owned")
    } catch let error as NetlinkError {
      #expect(error.errno == .notPermitted)
      #expect(error.description.hasPrefix("table ip6 flannel-ipv6 is owned by another program"), "\(error)")
      #expect(error.description.split(separator: " ").contains("\(owner.portID),"), "\(error)")
    }
    #expect(try ns.nftList() == before)
  }

  /// Everything that contradicts a plan concerns it, and nothing else does.
  @Test func concernsWhatItHolds() throws {
    let plans = try plan(forwards: false)
    let plan = plans[0]
    let other = NftTable.ID(.ipv4, "other")
    #expect(plan.concerns(.table(four, removed: true)))
    #expect(plan.concerns(.chain(four, "postrtg", removed: true)))
    #expect(plan.concerns(.rule(four, "postrtg", removed: false)))
    #expect(plan.concerns(.chain(four, "forward", removed: false)), "it is to be absent")
    #expect(!plan.concerns(.rule(four, "foreign", removed: false)))
    #expect(!plan.concerns(.table(other, removed: true)))
    #expect(!plan.concerns(.rule(other, "postrtg", removed: true)))
    #expect(!plan.concerns(.generation(1, pid: 2, program: "nft")))
  }
}
