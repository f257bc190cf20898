import Firewall
import NetTypes
import Netlink
import Syscalls
import TestSupport
import Testing

/// Chains of ours in iptables are kept as planned, with the system's iptables as oracle (contract flanneld §10,
/// §19.20–24).
@Suite(.needsRoot) struct IptablesKeeperTests {
  /// Both tables byte by byte as flanneld leaves them (contract test-oracles §4.2), by one program.
  @Test(arguments: IptablesKind.all) func asCaptured(_ kind: IptablesKind) throws {
    let f = try IptablesFixture(kind)
    let (network, pods, multicast) = kind.prefixes
    #expect(try f.converge().count == 2)
    #expect(f.calls == 1)
    let masq = #"-m comment --comment "flanneld masq" -j"#
    #expect(
      try f.listing("nat") == [
        "-P PREROUTING ACCEPT", "-P INPUT ACCEPT", "-P OUTPUT ACCEPT", "-P POSTROUTING ACCEPT", "-N FLANNEL-POSTRTG",
        "-A POSTROUTING \(masq) FLANNEL-POSTRTG", "-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 \(masq) RETURN",
        "-A FLANNEL-POSTRTG -s \(pods) -d \(network) \(masq) RETURN",
        "-A FLANNEL-POSTRTG -s \(network) -d \(pods) \(masq) RETURN",
        "-A FLANNEL-POSTRTG ! -s \(network) -d \(pods) \(masq) RETURN",
        "-A FLANNEL-POSTRTG -s \(network) ! -d \(multicast) \(masq) MASQUERADE --random-fully",
        "-A FLANNEL-POSTRTG ! -s \(network) -d \(network) \(masq) MASQUERADE --random-fully",
      ])
    let forward = #"-m comment --comment "flanneld forward" -j"#
    #expect(
      try f.listing("filter") == [
        "-P INPUT ACCEPT", "-P FORWARD ACCEPT", "-P OUTPUT ACCEPT", "-N FLANNEL-FWD",
        "-A FORWARD \(forward) FLANNEL-FWD", "-A FLANNEL-FWD -s \(network) \(forward) ACCEPT",
        "-A FLANNEL-FWD -d \(network) \(forward) ACCEPT",
      ])
  }

  /// What counts packets does not count as a change; nothing is started to see that.
  @Test(arguments: IptablesKind.all) func nothingToDo(_ kind: IptablesKind) throws {
    let f = try IptablesFixture(kind)
    _ = try f.converge()
    try f.namespace.checked("/usr/bin/ping", ["-c", "1", kind.family == .ipv4 ? "127.0.0.1" : "::1"])
    let counted = try f.namespace.checked("/usr/sbin/\(kind.program)", ["-t", "nat", "-vnL", "POSTROUTING"]).text
    #expect(
      counted.split(separator: "\n").contains { $0.contains("FLANNEL-POSTRTG") && $0.split(separator: " ")[0] != "0" })
    try f.iptables("-N", "OTHER")
    try f.iptables("-t", "nat", "-A", "OUTPUT", "-j", "ACCEPT")
    for _ in 0..<3 { #expect(try f.converge().isEmpty) }
    #expect(f.calls == 1)
  }

  /// Whatever is done to our rules: one program puts it right, and then nothing is left to do.
  @Test(arguments: IptablesKind.all) func repairs(_ kind: IptablesKind) throws {
    let f = try IptablesFixture(kind)
    _ = try f.converge()
    let before = try f.listings()
    let jump = #"-m comment --comment "flanneld masq" -j FLANNEL-POSTRTG"#
    let (network, pods, _) = kind.prefixes
    for (table, damage) in [
      ("nat", "-F FLANNEL-POSTRTG"), ("nat", "-D FLANNEL-POSTRTG 3"), ("nat", "-D FLANNEL-POSTRTG 6"),
      ("nat", "-I FLANNEL-POSTRTG 1 -j ACCEPT"), ("nat", "-A FLANNEL-POSTRTG -j RETURN"),
      ("nat", "-R FLANNEL-POSTRTG 1 -m mark --mark 0x4000 -m comment --comment \"flanneld masq\" -j RETURN"),
      (
        "nat",
        "-R FLANNEL-POSTRTG 6 ! -s \(network) -d \(network) -m comment --comment \"flanneld masq\" -j MASQUERADE"
      ),
      ("nat", "-R FLANNEL-POSTRTG 2 -s \(pods) -d \(network) -j RETURN"), ("nat", "-D POSTROUTING \(jump)"),
      ("nat", "-A POSTROUTING \(jump)\n-A POSTROUTING \(jump)"),
      ("nat", "-D POSTROUTING \(jump)\n-F FLANNEL-POSTRTG\n-X FLANNEL-POSTRTG"), ("nat", "-F POSTROUTING"),
      ("filter", "-F"), ("filter", "-I FLANNEL-FWD 1 -j DROP"), ("filter", "-R FLANNEL-FWD 1 -j ACCEPT"),
    ] {
      try f.load("*\(table)\n\(damage)\nCOMMIT\n")
      #expect(try f.listings() != before, "\(damage) does nothing")
      let calls = f.calls
      #expect(try f.converge().count == 1, "\(damage)")
      #expect(f.calls == calls + 1, "\(damage)")
      #expect(try f.listings() == before, "after \(damage)")
      #expect(try f.converge().isEmpty, "\(damage)")
      #expect(f.calls == calls + 1, "\(damage)")
    }
  }

  /// All of nf_tables flushed, the tables with it.
  @Test(arguments: AddressFamily.allCases) func flushedRuleset(_ family: AddressFamily) throws {
    let f = try IptablesFixture(IptablesKind(family: family, variant: .nft))
    _ = try f.converge()
    let before = try f.listings()
    try f.namespace.nftLoad("flush ruleset\n")
    #expect(try f.converge().count == 2)
    #expect(try f.listings() == before)
    #expect(f.calls == 2)
  }

  /// A rule that leads only some packets to our chain, or does not come back, is not our jump: ours is there too, and
  /// theirs stays.
  @Test(arguments: IptablesKind.all) func jumpsWithConditions(_ kind: IptablesKind) throws {
    let f = try IptablesFixture(kind)
    _ = try f.converge()
    let before = try f.listing("nat", "POSTROUTING")
    let comment = #"-m comment --comment "flanneld masq""#
    for rule in [
      "-o lo \(comment) -j FLANNEL-POSTRTG", "-m mark --mark 0x1 \(comment) -j FLANNEL-POSTRTG",
      "\(comment) -g FLANNEL-POSTRTG", "-p tcp \(comment) -j FLANNEL-POSTRTG", "-j FLANNEL-POSTRTG",
    ] {
      try f.load("*nat\n-A POSTROUTING \(rule)\nCOMMIT\n")
      let both = try f.listing("nat", "POSTROUTING")
      #expect(both.count == 3)
      #expect(try f.converge().isEmpty, "\(rule)")
      #expect(try f.listing("nat", "POSTROUTING") == both, "\(rule)")
      // Without ours, theirs does not stand in for it.
      try f.load("*nat\n-D POSTROUTING \(comment) -j FLANNEL-POSTRTG\nCOMMIT\n")
      #expect(try f.converge().count == 1, "\(rule)")
      #expect(try f.listing("nat", "POSTROUTING") == [both[0], both[2], both[1]], "\(rule)")
      try f.load("*nat\n-D POSTROUTING \(rule)\nCOMMIT\n")
      #expect(try f.listing("nat", "POSTROUTING") == before)
    }
  }

  /// Rules of others keep their place and their content.
  @Test(arguments: IptablesKind.all) func foreignRules(_ kind: IptablesKind) throws {
    let f = try IptablesFixture(kind)
    try f.load(
      """
      *filter
      :FORWARD DROP [0:0]
      :DOCKER-USER - [0:0]
      -A FORWARD -j DOCKER-USER
      -A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j ACCEPT
      -A DOCKER-USER -j RETURN
      COMMIT
      *nat
      :KUBE-POSTROUTING - [0:0]
      -A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
      -A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
      COMMIT

      """)
    let foreign = try f.listings()
    _ = try f.converge()
    try f.load("*filter\n-A FORWARD -j ACCEPT\nCOMMIT\n*nat\n-A POSTROUTING -j ACCEPT\nCOMMIT\n")
    let before = try f.listings()
    try f.load("*filter\n-F FLANNEL-FWD\nCOMMIT\n*nat\n-F FLANNEL-POSTRTG\nCOMMIT\n")
    #expect(try f.converge().count == 2)
    #expect(try f.listings() == before)
    try f.keep(.nothing)
    #expect(try f.converge().count == 2)
    #expect(try f.listings() == foreign.flatMap(after(["-A FORWARD -m conntrack", "-A POSTROUTING"])))
  }

  /// Each line, and behind the ones named the rule that the test put there.
  private func after(_ starts: [String]) -> (String) -> [String] {
    { line in
      guard starts.contains(where: line.hasPrefix) else { return [line] }
      return [line, "-A \(line.split(separator: " ")[1]) -j ACCEPT"]
    }
  }

  /// An agent that starts again, with another subnet: the old rules go with the refill, the jump stays where it is.
  @Test(arguments: IptablesKind.all) func otherSubnet(_ kind: IptablesKind) throws {
    let f = try IptablesFixture(kind)
    _ = try f.converge()
    try f.iptables("-t", "nat", "-A", "POSTROUTING", "-j", "ACCEPT")
    let before = try f.listings()
    let pods = kind.family == .ipv4 ? "10.244.7.0/24" : "fd00:10:244:7::/64"
    try f.keep(f.plan(pods: pods))
    #expect(try f.converge().count == 2)
    #expect(f.calls == 2)
    #expect(try f.listings() == before.map { $0.split(separator: kind.prefixes.pods).joined(separator: pods) })
    #expect(try f.listing("nat").count { $0.contains(pods) } == 3)
  }

  /// Nothing of ours there: nothing is started to remove it, and no table is made by looking.
  @Test(arguments: IptablesKind.all) func nothingToRemove(_ kind: IptablesKind) throws {
    let f = try IptablesFixture(kind)
    try f.uninstall()
    try f.keep(.nothing)
    #expect(try f.converge().isEmpty)
    #expect(try f.read("POSTROUTING", in: "nat") == nil && f.read("FORWARD", in: "filter") == nil)
    #expect(f.calls == 0)
    #expect(try f.namespace.nftList().isEmpty)
    let names = "/proc/net/\(kind.family == .ipv4 ? "ip" : "ip6")_tables_names"
    #expect(try f.namespace.run("/usr/bin/cat", [names]).stdout.isEmpty)
  }

  /// Removal leaves nothing, jumps included, however many there are.
  @Test(arguments: IptablesKind.all) func removal(_ kind: IptablesKind) throws {
    let f = try IptablesFixture(kind)
    _ = try f.converge()
    let jump = #"-m comment --comment "flanneld forward" -j FLANNEL-FWD"#
    try f.load("*filter\n-I FORWARD 1 \(jump)\nCOMMIT\n")
    try f.keep(.nothing)
    #expect(try f.converge().count == 2)
    #expect(f.calls == 2)
    #expect(try f.listings().allSatisfy { $0.hasPrefix("-P ") })
    #expect(try f.converge().isEmpty)
    #expect(f.calls == 2)
  }

  /// Without the program: said so, and what is there stays.
  @Test(arguments: IptablesKind.all) func missingProgram(_ kind: IptablesKind) throws {
    let f = try IptablesFixture(kind)
    _ = try f.converge()
    try f.iptables("-t", "nat", "-D", "FLANNEL-POSTRTG", "1")
    let before = try f.listings()
    try f.uninstall()
    let error = #expect(throws: IptablesError.self) { try f.converge() }
    #expect(error?.isMissing == true && error?.isRefusal == false)
    let words = kind.program.split(separator: "-")
    #expect(error?.description == "no \(words[1]) variant of \(words[0])-restore in PATH")
    #expect(try f.listings() == before)
    try f.install()
    #expect(try f.converge().count == 1)
  }

  /// Somebody changes our chain between our change and our look at it: that is not taken for ours.
  @Test(arguments: IptablesKind.all) func overtaken(_ kind: IptablesKind) throws {
    let f = try IptablesFixture(kind)
    try f.install(after: "/usr/sbin/\(kind.program) -I FLANNEL-FWD 1 -j DROP")
    _ = try f.converge()
    #expect(try f.listing("filter").contains("-A FLANNEL-FWD -j DROP"))
    try f.install()
    #expect(try f.converge().count == 1)
    #expect(try f.listing("filter", "FLANNEL-FWD").count == 3)
    #expect(try f.converge().isEmpty)
  }
}
