import Firewall
import NetTypes
import Netlink
import TestSupport
import Testing

/// Rules that we write, listed by `nft`, against the same rules loaded by `nft`.
@Suite(.needsRoot) struct NftablesRuleTests {
  typealias E = NftExpression

  /// Writes tables, chains and rules with our codec.
  private func write(_ namespace: TestNamespace, _ body: (inout NftBatch) -> Void) throws {
    var socket = try namespace.nftSocket()
    var batch = NftBatch()
    body(&batch)
    try socket.commit(batch)
  }

  @Test func tablesAndBaseChains() throws {
    let ours = try TestNamespace("nftch")
    let theirs = try TestNamespace("nftch")
    let hooks: [(NftFamily, String, [NftHook])] = [
      (.ipv4, "filter", [.prerouting, .input, .forward, .output, .postrouting]),
      (.ipv6, "filter", [.prerouting, .input, .forward, .output, .postrouting]),
      (.inet, "filter", [.prerouting, .input, .forward, .output, .postrouting]),
      (.bridge, "filter", [.prerouting, .input, .forward, .output, .postrouting]),
      (.arp, "filter", [.prerouting, .input]),
      (.ipv4, "nat", [.prerouting, .input, .output, .postrouting]),
      (.ipv6, "nat", [.prerouting, .input, .output, .postrouting]),
      (.inet, "nat", [.prerouting, .input, .output, .postrouting]),
      (.ipv4, "route", [.output]),
    ]
    var text = ""
    var tables: [NftTable] = []
    var chains: [NftChain] = []
    for (family, type, list) in hooks {
      let table = NftTable(NftTable.ID(family, "t-\(type)"), comment: "of \(type)")
      tables.append(table)
      text += "table \(table.id) {\n comment \"of \(type)\"\n"
      for hook in list {
        for (policy, priority) in [(NftChain.Policy.accept, Int32(-150)), (.drop, 17)] {
          if policy == .drop, type == "nat" { continue }
          // arp has its own numbers: 0 input, 1 output.
          let name = family == .arp ? (hook == .prerouting ? "input" : "output") : "\(hook)"
          let base = NftChain.Base(type: type, hook: hook, priority: priority, policy: policy)
          let chain = NftChain(table.id, "\(name)-\(policy)", base: base, comment: "at \(name)")
          chains.append(chain)
          text += "chain \(chain.name) { comment \"at \(name)\"\n"
          text += "type \(type) hook \(name) priority \(priority); policy \(policy); }\n"
        }
      }
      text += "chain plain { comment \"é, 100 %\"; }\n}\n"
      chains.append(NftChain(table.id, "plain", comment: "é, 100 %"))
    }
    try theirs.nftLoad(text)
    try write(ours) { batch in
      for table in tables { batch.add(table) }
      for chain in chains { batch.add(chain) }
    }
    expectSame(try ours.nftObjects(), try theirs.nftObjects())
    #expect(try ours.nftList() == theirs.nftList())
    // What nft wrote reads back as what we would write.
    var socket = try theirs.nftSocket()
    #expect(try socket.tables() == tables)
    for table in tables { #expect(try socket.chains(table.id) == chains.filter { $0.table == table.id }) }
    #expect(try socket.chain(chains[0].table, chains[0].name) == chains[0])
    #expect(try socket.chain(chains[0].table, "none") == nil)
    #expect(try socket.table(NftTable.ID(.ipv4, "none")) == nil)
    #expect(try socket.tables(.bridge) == tables.filter { $0.id.family == .bridge })
  }

  /// Every prefix length, as source and as destination, plain and inverted.
  @Test(arguments: [AddressFamily.ipv4, .ipv6], [false, true])
  func prefixes(_ family: AddressFamily, isInet: Bool) throws {
    let address = try #require(
      IPAddress(family == .ipv4 ? "203.181.119.255" : "fdab:cdef:1357:9bdf:fedc:ba98:7f5f:3ff"))
    let word = family == .ipv4 ? "ip" : "ip6"
    var rules: [(Rule, String)] = []
    for length in 0...family.bitWidth {
      let prefix = IPPrefix(base: address, length: length).network
      rules.append((Rule([.source(prefix)], .return), "\(word) saddr \(prefix) return"))
      rules.append((Rule([.destination(prefix, inverted: true)], .accept), "\(word) daddr != \(prefix) accept"))
      rules.append(
        (
          Rule([.source(prefix, inverted: true), .destination(prefix)], .drop),
          "\(word) saddr != \(prefix) \(word) daddr \(prefix) drop"
        ))
    }
    try compare(rules, isInet ? .inet : family == .ipv4 ? .ipv4 : .ipv6, type: "filter", hook: .forward)
  }

  /// Every match and every action of the model.
  @Test(arguments: [NftFamily.ipv4, .ipv6, .inet])
  func model(_ family: NftFamily) throws {
    let prefix = try #require(IPPrefix(family == .ipv6 ? "fd00:1::/64" : "10.1.0.0/16"))
    let ip = family == .ipv6 ? "ip6" : "ip"
    let mac = try #require(MACAddress("02:00:5e:10:00:7f"))
    var rules: [(Rule, String)] = [
      (Rule([], .accept), "accept"),
      (Rule([], .drop), "drop"),
      (Rule([], .return), "return"),
      (Rule([], .jump("other")), "jump other"),
      (Rule([], .goto("other")), "goto other"),
      (Rule([.mark(0x4000, mask: 0x4000)], .return), "meta mark & 0x4000 == 0x4000 return"),
      (Rule([.mark(0x12, mask: 0xff, inverted: true)], .return), "meta mark & 0xff != 0x12 return"),
      (Rule([.mark(0x4000, mask: .max)], .return), "meta mark 0x4000 return"),
      (Rule([.mark(0, mask: 0x4000)], .return), "meta mark & 0x4000 == 0 return"),
      (Rule([.localDestination], .jump("other")), "fib daddr type local jump other"),
      (Rule([.inputInterface("eth0")], .accept), "iifname eth0 accept"),
      (Rule([.inputInterface("a-name-of-15-ch", inverted: true)], .accept), "iifname != \"a-name-of-15-ch\" accept"),
      (Rule([.outputInterface("cni0")], .accept), "oifname cni0 accept"),
      (Rule([.outputInterface("cni0", inverted: true)], .accept), "oifname != cni0 accept"),
      (Rule([.sourceMAC(mac)], .drop), "ether saddr 02:00:5e:10:00:7f drop"),
      (
        Rule([.source(prefix), .destinationPort(.tcp, 80)], .accept, comment: "a comment"),
        "\(ip) saddr \(prefix) tcp dport 80 accept comment \"a comment\""
      ),
      (Rule([], .setMark(0x2000, mask: 0x2000)), "meta mark set mark or 0x2000"),
      (Rule([], .setMark(0x2000, mask: 0xff00)), "meta mark set mark & 0xffff00ff | 0x2000"),
    ]
    for p in PortProtocol.allCases {
      rules.append((Rule([.transport(p)], .accept), "meta l4proto \(p.name) accept"))
      rules.append((Rule([.destinationPort(p, 65_535)], .accept), "\(p.name) dport 65535 accept"))
      rules.append(
        (
          Rule([.destination(prefix), .destinationPorts(p, [53, 8080])], .accept),
          "\(ip) daddr \(prefix) \(p.name) dport 53 accept\n\(ip) daddr \(prefix) \(p.name) dport 8080 accept"
        ))
    }
    try compare(rules, family, type: "filter", hook: .prerouting, chains: ["other"])
  }

  @Test(arguments: [NftFamily.ipv4, .ipv6, .inet])
  func translation(_ family: NftFamily) throws {
    let four = try #require(IPAddress("10.1.2.3"))
    let six = try #require(IPAddress("fd00::23"))
    var sources: [(Rule, String)] = []
    for p in PortProtocol.allCases {
      if family != .ipv6 {
        let prefix = IPPrefix(host: four)
        sources.append(
          (
            Rule([.destination(prefix), .destinationPort(p, 80)], .dnat(four, port: 8080)),
            "ip daddr 10.1.2.3 \(p.name) dport 80 dnat \(family == .inet ? "ip " : "")to 10.1.2.3:8080"
          ))
      }
      if family != .ipv4 {
        let prefix = IPPrefix(host: six)
        sources.append(
          (
            Rule([.destination(prefix), .destinationPort(p, 80)], .dnat(six, port: 8080)),
            "ip6 daddr fd00::23 \(p.name) dport 80 dnat \(family == .inet ? "ip6 " : "")to [fd00::23]:8080"
          ))
      }
    }
    try compare(sources, family, type: "nat", hook: .prerouting)
    try compare(
      [
        (Rule([], .masquerade(fullyRandom: false)), "masquerade"),
        (Rule([.transport(.tcp)], .masquerade(fullyRandom: true)), "meta l4proto tcp masquerade fully-random"),
      ], family, type: "nat", hook: .postrouting)
  }

  /// Loads the texts with nft, writes the rules with our codec, and compares both listings and, expression by
  /// expression, what the kernel holds.
  private func compare(
    _ rules: [(Rule, String)], _ family: NftFamily, type: String, hook: NftHook, chains: [String] = []
  ) throws {
    let ours = try TestNamespace("nftrl")
    let theirs = try TestNamespace("nftrl")
    let id = NftTable.ID(family, "t")
    let chain = NftChain(id, "c", base: NftChain.Base(type: type, hook: hook, priority: 5))
    try write(ours) { batch in
      batch.add(NftTable(id))
      for name in chains { batch.add(NftChain(id, name)) }
      batch.add(chain)
      for (rule, _) in rules { for rule in rule.nftables(id, "c") { batch.append(rule) } }
    }
    let text = rules.map(\.1).joined(separator: "\n")
    try theirs.nftLoad(
      """
      table \(id) {
        \(chains.map { "chain \($0) { }" }.joined(separator: "\n"))
        chain c { type \(type) hook \(hook) priority 5; policy accept;
        \(text)
        }
      }
      """)
    expectSame(try ours.nftObjects(), try theirs.nftObjects(), "\(family)")
    let ourText = try ours.nftList().split(separator: "\n").map(String.init)
    expectSame(ourText, try theirs.nftList().split(separator: "\n").map(String.init), "\(family)")
    var socket = try theirs.nftSocket()
    let read = try socket.rules(id, chain: "c").map(\.comparable)
    let wanted = rules.flatMap { $0.0.nftables(id, "c") }
    expectSame(wanted.map { "\($0)" }, read.map { "\($0)" }, "\(family)")
  }

  /// Comments of any length and alphabet; a long one is cut at the limit of nft, never in the middle of a character.
  @Test func comments() throws {
    let ours = try TestNamespace("nftcm")
    let id = NftTable.ID(.ipv4, "t")
    let texts = [
      "x", "ünï – ☂", String(repeating: "y", count: 127), String(repeating: "z", count: 400),
      String(repeating: "☂", count: 60),
    ]
    let kept = texts.enumerated().map { i, text in String(text.prefix(i == 4 ? 42 : 128)) }
    try write(ours) { batch in
      batch.add(NftTable(id))
      batch.add(NftChain(id, "c"))
      for text in texts { batch.append(NftRule(id, "c", [.counter(packets: 3, bytes: 4)], comment: text)) }
    }
    let listed = try ours.nftObjects().filter { $0.hasPrefix(#"{"rule"#) }
    #expect(listed.count == texts.count)
    for (line, text) in zip(listed, kept) {
      #expect(line.split(separator: "\"").contains(Substring(text)), "\(line)")
    }
    var socket = try ours.nftSocket()
    #expect(try socket.rules(id).map(\.comment) == kept)
  }
}
