import NetTypes
import Netlink
import Testing

@testable import Firewall

/// What goes to iptables-restore.
@Suite struct IptablesTextTests {
  private let v4 = IPPrefix("10.1.0.0/16") ?? AddressFamily.ipv4.any
  private let v6 = IPAddress("fd00::1") ?? AddressFamily.ipv6.any.address

  /// Matches, comment, target, in this order (contract flanneld §10.1).
  @Test func wordsInFlannelsOrder() {
    let rule = Rule(
      [.source(v4), .destination(AddressFamily.ipv4.multicast, inverted: true)], .masquerade(fullyRandom: true),
      comment: "flanneld masq")
    #expect(
      IptablesTool.line(rule.iptables)
        == #"-s 10.1.0.0/16 ! -d 224.0.0.0/4 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully"#)
  }

  @Test func everyMatchAndTarget() {
    let cases: [(Rule, String)] = [
      (Rule([.mark(0x4000, mask: 0x4000)], .return), "-m mark --mark 0x4000/0x4000 -j RETURN"),
      (Rule([.mark(1, mask: .max, inverted: true)], .drop), "-m mark ! --mark 0x1/0xffffffff -j DROP"),
      (Rule([.transport(.sctp)], .accept), "-p sctp -j ACCEPT"),
      (Rule([.destinationPort(.udp, 53)], .goto("C")), "-p udp -m udp --dport 53 -g C"),
      (
        Rule([.destinationPorts(.tcp, [80, 443])], .jump("C")),
        "-p tcp -m multiport --destination-ports 80,443 -j C"
      ),
      (Rule([.localDestination], .jump("C")), "-m addrtype --dst-type LOCAL -j C"),
      (Rule([.inputInterface("eth0", inverted: true)], .accept), "! -i eth0 -j ACCEPT"),
      (Rule([.outputInterface("eth0")], .accept), "-o eth0 -j ACCEPT"),
      (Rule([.sourceMAC(MACAddress(0x0200_0000_0001))], .accept), "-m mac --mac-source 02:00:00:00:00:01 -j ACCEPT"),
      (Rule([], .masquerade(fullyRandom: false)), "-j MASQUERADE"),
      (Rule([], .dnat(v6, port: 80)), "-j DNAT --to-destination [fd00::1]:80"),
      (Rule([], .setMark(0x2000, mask: 0x2000)), "-j MARK --set-xmark 0x2000/0x2000"),
    ]
    for (rule, text) in cases { #expect(IptablesTool.line(rule.iptables) == text) }
  }

  /// A word from outside stays one word: it can neither end its quotes nor its line.
  @Test(arguments: [
    (#"a "b" c"#, #""a \"b\" c""#), (#"back\slash"#, #""back\\slash""#), ("", #""""#),
    ("two\nCOMMIT\r", #""two COMMIT ""#), ("nul\0", #""nul ""#), ("it's", #""it's""#), ("plain-1.2", "plain-1.2"),
  ])
  func quoting(_ word: String, _ text: String) { #expect(IptablesTool.line([word]) == text) }

  /// The number by which iptables-restore names the line that it refuses.
  @Test(
    arguments: [
      ("iptables-restore: line 3 failed\n", 3),
      ("iptables-restore v1.8.9 (nf_tables): Couldn't load target `X':No such file\n\nError occurred at line: 7\n", 7),
      ("iptables-restore: unable to initialize table 'nat'\n", nil), ("line", nil), ("line x", nil),
    ] as [(String, Int?)])
  func lineNumbers(_ text: String, _ number: Int?) { #expect(IptablesError.lineNumber(in: text) == number) }

  /// What was refused is told with its line, and with what the kernel may lack for it. Texts as iptables 1.8.9 gives them.
  @Test(
    arguments: [
      (
        "Warning: Extension ipvs revision 0 not supported, missing kernel module?\niptables-nft-restore v1.8.9 "
          + "(nf_tables): \nline 3: RULE_APPEND failed (No such file or directory): rule in chain T\n",
        #"(the line is: -A T -m ipvs --ipvs -m comment --comment "a b" -j MASQUERADE)"#
          + "; has the kernel the modules for MASQUERADE, comment, ipvs?"
      ),
      (
        "iptables-restore: line 5 failed\n",
        "(the line is: COMMIT); has the kernel the modules for MASQUERADE, comment, ipvs, mark?"
      ),
      (
        "iptables-restore v1.8.9 (legacy): Couldn't load match `ipvs':No such file or directory\n\nError occurred at "
          + "line: 3\nTry `iptables-restore -h' or 'iptables-restore --help' for more information.\n",
        #"(the line is: -A T -m ipvs --ipvs -m comment --comment "a b" -j MASQUERADE)"#
          + "; this iptables has no such extension: is it installed completely?"
      ),
      (
        "iptables-nft-restore v1.8.9 (nf_tables): \nline 4: RULE_APPEND failed (Invalid argument): rule in chain T\n",
        "(the line is: -A T -m mark --mark 1 -j T)"
      ),
      ("Fehler\n", "exit status 4: Fehler"), ("line 99 failed", "line 99 failed"),
      ("line 9223372036854775807", "line 9223372036854775807"), ("line -9223372036854775808", "5808"),
    ])
  func refusals(_ said: String, _ end: String) {
    let lines = [
      "*nat", ":T - [0:0]", #"-A T -m ipvs --ipvs -m comment --comment "a b" -j MASQUERADE"#,
      "-A T -m mark --mark 1 -j T", "COMMIT",
    ]
    let error = IptablesError("iptables: exit status 4", said: said, about: lines)
    #expect(error.description.hasSuffix(end), "\(error)")
    #expect(error.description.hasPrefix("iptables: exit status 4: ") && !error.description.contains("Try `"))
    #expect(error.isRefusal && !error.isBusy && !error.isMissing)
  }

  /// What calls for a look: our chains, the chains that jump to them, their table; nothing of others.
  @Test func concerns() throws {
    let plans = PodNetworkPlan(rules: PerFamily(), masquerades: true, forwards: true).iptables(.ipv4)
    let nat = NftTable.ID(.ipv4, "nat")
    func isConcerned(_ event: NftEvent) -> Bool { plans.contains { $0.concerns(event, .ipv4) } }
    #expect(isConcerned(.rule(nat, "FLANNEL-POSTRTG", removed: true)))
    #expect(isConcerned(.rule(nat, "POSTROUTING", removed: false)))
    #expect(isConcerned(.table(nat, removed: true)))
    #expect(isConcerned(.chain(NftTable.ID(.ipv4, "filter"), "FLANNEL-FWD", removed: true)))
    #expect(!isConcerned(.rule(nat, "KUBE-SERVICES", removed: false)))
    #expect(!isConcerned(.rule(NftTable.ID(.ipv6, "nat"), "FLANNEL-POSTRTG", removed: true)))
    #expect(!isConcerned(.table(nat, removed: false)))
  }
}
