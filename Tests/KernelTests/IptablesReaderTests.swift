import Firewall
import NetTypes
import Netlink
import TestSupport
import Testing

/// What we read from the kernel is what `iptables -S` prints.
@Suite(.needsRoot) struct IptablesReaderTests {
  private static let rules = """
    *filter
    :INPUT DROP [0:0]
    :EMPTY - [0:0]
    :ONE - [0:0]
    :twenty-eight-characters-long - [0:0]
    -A INPUT -i lo -j ACCEPT
    -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -m comment --comment "known ones" -j ACCEPT
    -A INPUT -g ONE
    -A FORWARD -j EMPTY
    -A FORWARD -m limit --limit 5/min -j LOG --log-prefix "x "
    -A FORWARD -p udp -m multiport --dports 1,2,3 -j twenty-eight-characters-long
    -A ONE -j REJECT
    -A ONE -j RETURN
    -A twenty-eight-characters-long -m comment --comment "a \\"b\\" \\\\" -j DROP
    COMMIT

    """

  /// Chains in the order of their rules, targets, comments.
  @Test(arguments: IptablesKind.all) func chains(_ kind: IptablesKind) throws {
    let f = try IptablesFixture(kind)
    try f.load(Self.rules)
    for chain in ["INPUT", "FORWARD", "EMPTY", "ONE", "twenty-eight-characters-long"] {
      let printed = try f.listing("filter", chain).filter { $0.hasPrefix("-A ") }
      let read = try #require(try f.read(chain, in: "filter"), "\(chain)")
      let targets = printed.map { line in
        let words = line.split(separator: " ")
        let i = words.firstIndex { $0 == "-j" || $0 == "-g" } ?? 0
        return String(words[i + 1])
      }
      #expect(read.map(\.jump) == targets, "\(chain)")
      #expect(read.map { $0.comment != nil } == printed.map { $0.contains("--comment") })
      let plain = printed.map { line in
        line.contains(" -j ") && !["-i", "-p", "-m conntrack", "-m limit"].contains { line.contains(" \($0) ") }
      }
      #expect(zip(read, plain).allSatisfy { $0.isPlain == $1 || ["LOG", "REJECT"].contains($0.jump) }, "\(chain)")
    }
    #expect(try f.read("twenty-eight-characters-long", in: "filter")?.first?.comment == #"a "b" \"#)
    #expect(try f.read("NONE", in: "filter") == nil && f.read("INPUT", in: "nosuch") == nil)
    #expect(try f.read("POSTROUTING", in: "nat") == nil)
  }

  /// Rules with any difference read differently, equal ones the same, wherever they stand.
  @Test(arguments: IptablesKind.all) func fingerprints(_ kind: IptablesKind) throws {
    let f = try IptablesFixture(kind)
    let (a, b, _) = kind.prefixes
    let icmp = kind.family == .ipv4 ? "icmp" : "icmpv6"
    let different = [
      "-j ACCEPT", "-j DROP", "-j RETURN", "-j A", "-j B", "-g A", "-s \(a) -j ACCEPT", "-d \(a) -j ACCEPT",
      "-s \(b) -j ACCEPT", "! -s \(a) -j ACCEPT", "-i lo -j ACCEPT", "-o lo -j ACCEPT", "-i lo+ -j ACCEPT",
      "-p tcp -j ACCEPT", "-p udp -j ACCEPT", "-p \(icmp) -j ACCEPT", "! -p tcp -j ACCEPT",
      "-p tcp --dport 80 -j ACCEPT", "-p tcp --dport 81 -j ACCEPT", "-p tcp --sport 80 -j ACCEPT",
      "-p tcp --dport 80:81 -j ACCEPT", "-p tcp ! --dport 80 -j ACCEPT", "-m mark --mark 1 -j ACCEPT",
      "-m mark --mark 1/1 -j ACCEPT", "-m mark ! --mark 1 -j ACCEPT", "-m comment --comment a -j ACCEPT",
      "-m comment --comment b -j ACCEPT", "-j MARK --set-mark 1", "-j MARK --set-xmark 1/1", "-j LOG",
      "-j LOG --log-prefix x",
    ]
    for chain in ["ONE", "TWO"] {
      let filling = chain == "ONE" ? "" : "-A FILL -j ACCEPT\n-A FILL -p tcp -j DROP\n"
      try f.load(
        "*filter\n:A - [0:0]\n:B - [0:0]\n:FILL - [0:0]\n:\(chain) - [0:0]\n\(filling)"
          + different.map { "-A \(chain) \($0)\n" }.joined() + "COMMIT\n")
    }
    func read(_ chain: String) throws -> [IptablesRule] {
      try #require(try f.read(chain, in: "filter")).map { rule in
        var rule = rule
        rule.handle = 0
        return rule
      }
    }
    let one = try read("ONE")
    #expect(one.count == different.count)
    #expect(Set(one).count == different.count)
    #expect(try read("TWO").map(\.jump) == one.map(\.jump))
    if kind.variant == .legacy { #expect(try read("TWO") == one) }
  }
}
