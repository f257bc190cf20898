import Firewall
import JSON
import NetTypes
import Netlink
import Testing

@testable import CNI

/// Parsing and the rules of both back ends as the reference test suite pins them (test-oracles §13.1, §13.2, §13.4).
@Suite struct PortmapPlanTests {
  static let id =
    "icee6giejonei6sohng6ahngee7laquohquee9shiGo7fohferakah3Feiyoolu2pei7ciPhoh7shaoX6vai3vuf0ahfaeng8yohb9ceu0daez5hashee8ooYai5wa3y"
  static let mappings = #"""
    [{"hostPort":8080,"containerPort":80,"protocol":"tcp"},{"hostPort":8081,"containerPort":80,"protocol":"tcp"},
    {"hostPort":8080,"containerPort":81,"protocol":"udp"},{"hostPort":8082,"containerPort":82,"protocol":"udp"},
    {"hostPort":8083,"containerPort":83,"protocol":"tcp","hostIP":"192.168.0.2"},
    {"hostPort":8084,"containerPort":84,"protocol":"tcp","hostIP":"0.0.0.0"},
    {"hostPort":8085,"containerPort":85,"protocol":"tcp","hostIP":"2001:db8:a::1"},
    {"hostPort":8086,"containerPort":86,"protocol":"tcp","hostIP":"::"}]
    """#

  func parse(
    _ members: String = "", mappings: String = Self.mappings, path: String = "/usr/sbin"
  ) throws -> PortmapConfiguration {
    let text = #"{"name":"test","runtimeConfig":{"portMappings":\#(mappings)}\#(members)}"#
    let o = try #require(try JSONValue(parsing: Array(text.utf8)).objectValue)
    return try PortmapConfiguration(o, ["PATH": path])
  }

  func refusal(_ members: String = "", mappings: String = "[]") throws -> CNIError {
    try #require(throws: CNIError.self) { _ = try self.parse(members, mappings: mappings) }
  }

  func plan(_ c: PortmapConfiguration, _ target: String, id: String = Self.id) throws -> PortmapPlan {
    try #require(PortmapPlan(c, network: "test", containerID: id, target: IPPrefix(target)!))
  }

  // MARK: parsing

  @Test func mappingsAreRead() throws {
    let c = try parse(#","backend":"nftables","masqAll":true,"snat":false"#)
    #expect(c.backend == .nftables && c.masqueradesAll && !c.snat && c.markBit == 13 && c.mark == 0x2000)
    #expect(c.mappings.map(\.hostPort) == [8080, 8081, 8080, 8082, 8083, 8084, 8085, 8086])
    #expect(c.mappings.map(\.transport) == [.tcp, .tcp, .udp, .udp, .tcp, .tcp, .tcp, .tcp])
    #expect(c.mappings.map { $0.applies(to: .ipv4) } == [true, true, true, true, true, true, false, false])
    #expect(c.mappings.map { $0.applies(to: .ipv6) } == [true, true, true, true, false, false, true, true])
  }

  @Test(arguments: [
    (#"[{"hostPort":0,"containerPort":80,"protocol":"tcp"}]"#, "Invalid host port number: 0"),
    (#"[{"hostPort":70000,"containerPort":80,"protocol":"tcp"}]"#, "Invalid host port number: 70000"),
    (#"[{"hostPort":80,"containerPort":-1,"protocol":"tcp"}]"#, "Invalid container port number: -1"),
    (#"[{"hostPort":80,"containerPort":65536,"protocol":"tcp"}]"#, "Invalid container port number: 65536"),
    (
      #"[{"hostPort":80,"containerPort":80,"protocol":"icmp"}]"#,
      #"Invalid protocol "icmp" of host port 80: expected tcp, udp or sctp"#
    ),
    (
      #"[{"hostPort":80,"containerPort":80,"protocol":"tcp","hostIP":"localhost"}]"#,
      #"Invalid hostIP "localhost" of host port 80: expected an IPv4 or IPv6 address"#
    ),
  ])
  func invalidMappings(_ mappings: String, _ text: String) throws {
    let e = try refusal(mappings: mappings)
    #expect(e.message == "failed to parse config: \(text)")
    #expect(e.code == .invalidConfiguration)
  }

  @Test(arguments: [
    (#""markMasqBit":32"#, "MasqMarkBit must be between 0 and 31"),
    (#""markMasqBit":-1"#, "MasqMarkBit must be between 0 and 31"),
    (#""markMasqBit":5,"externalSetMarkChain":"X""#, "Cannot specify externalSetMarkChain and markMasqBit"),
    (#""backend":"ebtables""#, #"unrecognized backend "ebtables""#),
    (
      #""backend":"iptables","conditionsV4":["ip","saddr"],"conditionsV6":["ip6","saddr"]"#,
      "iptables backend was requested but configuration contains nftables-specific options [conditionsV4 conditionsV6]"
    ),
    (
      #""backend":"nftables","externalSetMarkChain":"X","conditionsV4":["-s","1"],"conditionsV6":["!","-s"]"#,
      "nftables backend was requested but configuration contains iptables-specific options "
        + "[externalSetMarkChain conditionsV4 conditionsV6]"
    ),
    (
      #""externalSetMarkChain":"a\nb""#,
      #"Invalid externalSetMarkChain "a\nb": expected the name of a chain, 1 to 28 characters"#
    ),
  ])
  func invalidMembers(_ members: String, _ text: String) throws {
    #expect(try refusal("," + members).message == "failed to parse config: \(text)")
  }

  @Test func wrongTypes() throws {
    let e = try refusal(#","snat":"yes""#)
    #expect(e.code == .decodingFailure)
    #expect(e.message == #"failed to parse config: cannot read "snat": found string, expected bool"#)
  }

  @Test func automaticBackend() throws {
    #expect(try parse(path: "/nowhere").backend == .nftables)
    #expect(try parse(#","backend":"iptables""#, path: "/nowhere").backend == .iptables)
  }

  /// Those of the container's interface with a sandbox, and those of no interface; the first of each family.
  @Test func containerAddresses() throws {
    func ip(_ text: String, _ i: Int?) throws -> CNIResult.IP {
      CNIResult.IP(address: try #require(IPPrefix(text)), interface: i)
    }
    let interfaces = [
      CNIResult.Interface(name: "eth0"), .init(name: "eth0", sandbox: "/x"), .init(name: "e", sandbox: "/x"),
    ]
    let result = CNIResult(
      interfaces: interfaces,
      ips: [
        try ip("10.0.0.1/24", 0), try ip("10.0.0.3/24", 2), try ip("10.0.0.9/24", 7), try ip("10.0.0.2/24", 1),
        try ip("10.0.0.4/24", 1), try ip("fd00::2/64", nil),
      ])
    #expect(result.addresses(ofContainer: "eth0") == [.ipv4: IPPrefix("10.0.0.2/24")!, .ipv6: IPPrefix("fd00::2/64")!])
    #expect(result.addresses(ofContainer: "x") == [.ipv6: IPPrefix("fd00::2/64")!])
  }

  // MARK: iptables

  func text(_ rules: [[String]]) -> [String] { rules.map { $0.joined(separator: " ") } }

  @Test func entriesOfIptables() throws {
    let c = try parse(#","backend":"iptables","conditionsV4":["-a","b"],"conditionsV6":["-c","d"]"#)
    for (target, words) in [("10.0.0.2/24", "-a b"), ("2001:db8::2/64", "-c d")] {
      let chain = "CNI-DN-67e92b96e692a494b6b85"
      #expect(
        text(try plan(c, target).entries) == [
          #"-m comment --comment dnat name: "test" id: "\#(Self.id)" -m multiport -p tcp --destination-ports "#
            + "8080,8081,8083,8084,8085,8086 \(words) -j \(chain)",
          #"-m comment --comment dnat name: "test" id: "\#(Self.id)" -m multiport -p udp --destination-ports "#
            + "8080,8082 \(words) -j \(chain)",
        ])
    }
  }

  @Test func rulesOfIptables() throws {
    let four = try plan(try parse(#","backend":"iptables""#), "10.0.0.2/24")
    let ports = [
      ("tcp", "8080", 80), ("tcp", "8081", 80), ("udp", "8080", 81), ("udp", "8082", 82),
      ("tcp", "8083 -d 192.168.0.2", 83), ("tcp", "8084", 84),
    ]
    #expect(
      text(four.chainRules)
        == ports.flatMap { p, port, to in
          [
            "-p \(p) --dport \(port) -s 10.0.0.2/24 -j CNI-HOSTPORT-SETMARK",
            "-p \(p) --dport \(port) -s 127.0.0.1 -j CNI-HOSTPORT-SETMARK",
            "-p \(p) --dport \(port) -j DNAT --to-destination 10.0.0.2:\(to)",
          ]
        })
    let six = try plan(try parse(#","backend":"iptables""#), "2001:db8::2/64")
    #expect(
      text(six.chainRules.suffix(4)) == [
        "-p tcp --dport 8085 -d 2001:db8:a::1 -s 2001:db8::2/64 -j CNI-HOSTPORT-SETMARK",
        "-p tcp --dport 8085 -d 2001:db8:a::1 -j DNAT --to-destination [2001:db8::2]:85",
        "-p tcp --dport 8086 -s 2001:db8::2/64 -j CNI-HOSTPORT-SETMARK",
        "-p tcp --dport 8086 -j DNAT --to-destination [2001:db8::2]:86",
      ])
    #expect(six.chainRules.count == 12)
  }

  @Test func variationsOfIptables() throws {
    let one = #"[{"hostPort":1,"containerPort":2,"protocol":"TCP"}]"#
    func rules(_ members: String) throws -> [String] {
      text(try plan(try parse(#","backend":"iptables""# + members, mappings: one), "10.0.0.2/24").chainRules)
    }
    #expect(try rules(#","snat":false"#) == ["-p tcp --dport 1 -j DNAT --to-destination 10.0.0.2:2"])
    #expect(
      try rules(#","externalSetMarkChain":"PLZ-SET-MARK""#)[0] == "-p tcp --dport 1 -s 10.0.0.2/24 -j PLZ-SET-MARK")
    #expect(
      try rules(#","masqAll":true"#) == [
        "-p tcp --dport 1 -s 0.0.0.0/0 -j CNI-HOSTPORT-SETMARK", "-p tcp --dport 1 -j DNAT --to-destination 10.0.0.2:2",
      ])
    let bit5 = try plan(try parse(#","backend":"iptables","markMasqBit":5"#, mappings: one), "10.0.0.2/24")
    #expect(bit5.commonChains.map(\.name) == ["CNI-HOSTPORT-SETMARK", "CNI-HOSTPORT-MASQ"])
    #expect(
      bit5.commonChains.flatMap { text($0.rules) } == [
        "-m comment --comment CNI portfwd masquerade mark -j MARK --set-xmark 0x20/0x20",
        "-m mark --mark 0x20/0x20 -j MASQUERADE",
      ])
    for members in [#","externalSetMarkChain":"X""#, #","snat":false"#] {
      #expect(try plan(try parse(#","backend":"iptables""# + members), "10.0.0.2/24").commonChains.isEmpty)
    }
  }

  /// iptables takes fifteen ports in a rule.
  @Test func manyPorts() throws {
    let list = (1...31).map { #"{"hostPort":\#($0),"containerPort":1,"protocol":"tcp"}"# }.joined(separator: ",")
    let entries = try plan(try parse(#","backend":"iptables""#, mappings: "[\(list)]"), "10.0.0.2/24").entries
    #expect(entries.map { $0[9].split(separator: ",").count } == [15, 15, 1])
    #expect(entries[2][9] == "31")
  }

  @Test func quoting() {
    #expect(IptablesProgram.line(["--comment", #"a "b" \c"#, "-j", "X", ""]) == #"--comment "a \"b\" \\c" -j X """#)
    let long = PortmapPlan.entryComment("n", String(repeating: "x", count: 300))
    #expect(long.utf8.count == 255 && long.hasSuffix("xxx..."))
  }

  // MARK: nftables

  @Test func conditions() throws {
    let c = try parse(
      #","backend":"nftables","conditionsV4":["ip","saddr","!=","{","10.0.0.0/8,","192.0.2.0/24","}"],"conditionsV6":["c","d"]"#
    )
    let lines = try plan(c, "10.0.0.2/24", id: "x").conditionalScript().split(separator: "\n")
    #expect(lines.count == 6)
    #expect(
      lines[4] == "add rule ip cni_hostport hostports ip saddr != { 10.0.0.0/8, 192.0.2.0/24 } ip daddr 192.168.0.2 "
        + #"tcp dport 8083 dnat to 10.0.0.2:83 comment "x""#)
    let six = try plan(c, "2001:db8::2/64", id: "x").conditionalScript().split(separator: "\n")
    #expect(six[5] == #"add rule ip6 cni_hostport hostports c d tcp dport 8086 dnat to [2001:db8::2]:86 comment "x""#)
  }

  @Test(arguments: [
    ["ip", "saddr\n1"], ["a;", "b"], ["{", "a"], ["a", "}"], ["\"a"], ["#x"], ["a\\"], ["$x"], ["}", "{"], ["\u{7f}"],
  ])
  func conditionsThatLeaveTheirRule(_ words: [String]) {
    #expect(throws: CNIError.self) { try PortmapPlan.check(words) }
  }

  @Test func masqueradeRules() throws {
    func sources(_ members: String, _ target: String) throws -> [String] {
      try plan(try parse(#","backend":"nftables""# + members), target).masqueradeRules.map { rule in
        guard case .source(let p, false) = rule.matches[0] else { return "?" }
        return "\(p)"
      }
    }
    #expect(try sources("", "10.0.0.2/24") == ["10.0.0.2/32", "127.0.0.1/32"])
    #expect(try sources("", "2001:db8::2/64") == ["2001:db8::2/128"])
    #expect(try sources(#","masqAll":true"#, "10.0.0.2/24") == ["0.0.0.0/0"])
    #expect(try sources(#","masqAll":true"#, "2001:db8::2/64") == ["::/0"])
    #expect(try sources(#","snat":false"#, "10.0.0.2/24") == [])
  }

  /// What was written is understood when it is read again.
  @Test func rulesReadBack() throws {
    let p = try plan(try parse(#","backend":"nftables""#), "10.0.0.2/24", id: "x")
    let table = PortmapNftables.table(.ipv4)
    let rules = p.portRules.flatMap { $0.nftables(table, HostPortTable.ports) }.compactMap(HostPortRule.init)
    #expect(rules.compactMap(\.port) == p.mappings.map(HostPort.init))
    #expect(rules.allSatisfy { $0.target == p.target.address && $0.owner == "x" })
    let masquerading = p.masqueradeRules.flatMap { $0.nftables(table, HostPortTable.masquerading) }
    #expect(masquerading.compactMap(HostPortRule.init).map(\.target) == [p.target.address, p.target.address])
  }

  @Test func localRouting() throws {
    func needs(_ hostIP: String, _ members: String = "", _ target: String = "10.0.0.2/24") throws -> Bool {
      let m = #"[{"hostPort":1,"containerPort":1,"protocol":"tcp","hostIP":"\#(hostIP)"}]"#
      return try plan(try parse(members, mappings: m), target).needsLocalRouting
    }
    #expect(try needs("") && needs("0.0.0.0") && needs("127.0.0.1"))
    #expect(try !needs("192.0.2.1") && !needs("", #","snat":false"#) && !needs("", "", "fd00::2/64"))
  }
}

/// Two containers, one port (contract cni §C 18).
@Suite struct PortConflictTests {
  static let table = PortmapNftables.table(.ipv4)

  func plan(_ id: String, _ address: String, hostIP: String = "") throws -> PortmapPlan {
    let text =
      #"{"backend":"nftables","runtimeConfig":{"portMappings":[{"hostPort":80,"containerPort":8080,"#
      + #""protocol":"tcp","hostIP":"\#(hostIP)"}]}}"#
    let o = try #require(try JSONValue(parsing: Array(text.utf8)).objectValue)
    return try #require(
      PortmapPlan(
        try PortmapConfiguration(o, [:]), network: "n", containerID: id, target: IPPrefix(address)!))
  }

  func rules(_ p: PortmapPlan, from handle: UInt64) -> [HostPortRule] {
    let all =
      p.portRules.flatMap { $0.nftables(Self.table, HostPortTable.ports) }
      + p.masqueradeRules.flatMap { $0.nftables(Self.table, HostPortTable.masquerading) }
    return all.compactMap(HostPortRule.init).enumerated().map {
      var r = $1
      r.handle = handle + UInt64($0)
      return r
    }
  }

  func obsolete(_ present: [HostPortRule], _ p: PortmapPlan, gone: Bool = false) throws -> [UInt64] {
    try PortConflict.obsolete(present, for: p, isGone: { _ in gone }).map(\.handle)
  }

  @Test func inUse() throws {
    let present = rules(try plan("old", "10.0.0.2/24"), from: 1)
    let e = try #require(throws: CNIError.self) { _ = try self.obsolete(present, try self.plan("new", "10.0.0.3/24")) }
    #expect(e.code == .tryAgainLater)
    #expect(e.message == "host tcp port 80 is in use by container old (10.0.0.2): only one container can have it")
  }

  @Test func replaced() throws {
    let present =
      rules(try plan("old", "10.0.0.2/24"), from: 1)
      + rules(try plan("third", "10.0.0.7/24", hostIP: "192.0.2.1"), from: 9)
    #expect(try obsolete(present, try plan("new", "10.0.0.3/24"), gone: true) == [1, 2, 3])
    // The same container again, with another address or the same one.
    #expect(try obsolete(present, try plan("old", "10.0.0.3/24")) == [1, 2, 3])
    #expect(try obsolete(present, try plan("old", "10.0.0.2/24")) == [1, 2, 3])
    // The address is somebody else's now.
    #expect(try obsolete(present, try plan("new", "10.0.0.2/24")) == [1, 2, 3])
  }

  /// A specific address and the wildcard may have one port.
  @Test func disjointAddresses() throws {
    let present = rules(try plan("old", "10.0.0.2/24"), from: 1)
    #expect(try obsolete(present, try plan("new", "10.0.0.3/24", hostIP: "192.0.2.1")).isEmpty)
  }
}
