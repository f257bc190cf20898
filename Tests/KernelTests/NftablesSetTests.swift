import NetTypes
import Netlink
import TestSupport
import Testing

/// Named sets, maps and rules that use them, as `nft` lists them.
@Suite(.needsRoot) struct NftablesSetTests {
  typealias E = NftExpression
  let id = NftTable.ID(.ipv4, "t")

  private func write(_ namespace: TestNamespace, _ body: (inout NftBatch) -> Void) throws {
    var socket = try namespace.nftSocket()
    var batch = NftBatch()
    body(&batch)
    try socket.commit(batch)
  }

  private func four(_ text: String) throws -> [UInt8] { try #require(IPAddress(text)).bytes }

  @Test func setsAndMaps() throws {
    let ours = try TestNamespace("nftst")
    let theirs = try TestNamespace("nftst")
    let a = try four("10.0.0.1")
    let b = try four("10.0.0.2")
    let six = try four("fd00::5")
    let end = try four("10.0.1.0")
    let mac: [UInt8] = [2, 0, 0, 0, 0, 9]
    let tcp80: [UInt8] = [6, 0, 0, 0, 0, 80, 0, 0]
    let name = Array("eth0".utf8) + [UInt8](repeating: 0, count: 12)
    let sets: [(NftSet, [NftElement], String)] = [
      (
        NftSet(id, "s4", key: [.ipv4Address], comment: "some hosts"),
        [NftElement(key: a, comment: "first"), NftElement(key: b)],
        #"set s4 { type ipv4_addr; comment "some hosts"; elements = { 10.0.0.1 comment "first", 10.0.0.2 } }"#
      ),
      (
        NftSet(id, "s6", key: [.ipv6Address]), [NftElement(key: six)],
        "set s6 { type ipv6_addr; elements = { fd00::5 } }"
      ),
      (
        NftSet(id, "smac", key: [.etherAddress]), [NftElement(key: mac)],
        "set smac { type ether_addr; elements = { 02:00:00:00:00:09 } }"
      ),
      (
        NftSet(id, "sport", key: [.inetService], flags: .constant), [NftElement(key: [0, 80])],
        "set sport { type inet_service; flags constant; elements = { 80 } }"
      ),
      (
        NftSet(id, "sproto", key: [.inetProtocol]), [NftElement(key: [17])],
        "set sproto { type inet_proto; elements = { udp } }"
      ),
      (
        NftSet(id, "smark", key: [.mark]), [NftElement(key: [0, 0x40, 0, 0])],
        "set smark { type mark; elements = { 0x4000 } }"
      ),
      (
        NftSet(id, "sname", key: [.interfaceName]), [NftElement(key: name)],
        "set sname { type ifname; elements = { eth0 } }"
      ),
      (
        NftSet(id, "spairs", key: [.ipv4Address, .inetProtocol, .inetService]), [NftElement(key: a + tcp80)],
        "set spairs { type ipv4_addr . inet_proto . inet_service; elements = { 10.0.0.1 . tcp . 80 } }"
      ),
      (
        NftSet(id, "sint", key: [.ipv4Address], flags: .interval),
        [NftElement(key: try four("10.0.0.0")), NftElement(key: end, isIntervalEnd: true)],
        "set sint { type ipv4_addr; flags interval; elements = { 10.0.0.0/24 } }"
      ),
      (
        NftSet(id, "scint", key: [.ipv4Address, .inetService], flags: .interval),
        [NftElement(key: try four("10.0.0.0") + [0, 80, 0, 0], keyEnd: try four("10.0.0.255") + [0, 90, 0, 0])],
        "set scint { type ipv4_addr . inet_service; flags interval; elements = { 10.0.0.0/24 . 80-90 } }"
      ),
      (
        NftSet(id, "stime", key: [.ipv4Address], timeout: 3_600_000),
        [NftElement(key: a), NftElement(key: b, timeout: 7_200_000)],
        "set stime { type ipv4_addr; timeout 1h; elements = { 10.0.0.1, 10.0.0.2 timeout 2h } }"
      ),
      (
        NftSet(id, "sdyn", key: [.ipv4Address], flags: [.dynamic, .timeout], timeout: 10_800_000), [],
        "set sdyn { type ipv4_addr; flags dynamic,timeout; timeout 3h; }"
      ),
      (
        NftSet(id, "maddr", key: [.ipv4Address], data: [.ipv4Address], comment: "map"),
        [NftElement(key: a, value: .data(b), comment: "one")],
        #"map maddr { type ipv4_addr : ipv4_addr; comment "map"; elements = { 10.0.0.1 comment "one" : 10.0.0.2 } }"#
      ),
      (
        NftSet(id, "mmark", key: [.inetService], data: [.mark]),
        [NftElement(key: [0, 80], value: .data([1, 0, 0, 0]))],
        "map mmark { type inet_service : mark; elements = { 80 : 0x1 } }"
      ),
      (
        NftSet(id, "mdnat", key: [.ipv4Address, .inetProtocol, .inetService], data: [.ipv4Address, .inetService]),
        [NftElement(key: a + tcp80, value: .data(b + [0x1f, 0x90, 0, 0]))],
        """
        map mdnat { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service
        elements = { 10.0.0.1 . tcp . 80 : 10.0.0.2 . 8080 } }
        """
      ),
      (
        NftSet(id, "vm", key: [.ipv4Address, .inetProtocol, .inetService], data: [.verdict]),
        [
          NftElement(key: a + tcp80, value: .verdict(.goto("other")), comment: "ns/svc:http"),
          NftElement(key: b + tcp80, value: .verdict(.jump("other"))),
        ],
        """
        map vm { type ipv4_addr . inet_proto . inet_service : verdict
        elements = { 10.0.0.1 . tcp . 80 comment "ns/svc:http" : goto other, 10.0.0.2 . tcp . 80 : jump other } }
        """
      ),
      (
        NftSet(id, "vany", key: [.ipv4Address], data: [.verdict]),
        [NftElement(key: a, value: .verdict(.accept)), NftElement(key: [], value: .verdict(.drop), isCatchAll: true)],
        "map vany { type ipv4_addr : verdict; elements = { 10.0.0.1 : accept, * : drop } }"
      ),
    ]
    try write(ours) { batch in
      batch.add(NftTable(id))
      batch.add(NftChain(id, "other"))
      for (set, elements, _) in sets {
        batch.add(set)
        batch.add(elements, to: set.name, of: id)
      }
    }
    try theirs.nftLoad("table ip t {\n chain other { }\n\(sets.map(\.2).joined(separator: "\n"))\n}")
    expectSame(try ours.nftObjects(), try theirs.nftObjects())
    #expect(try ours.nftList().count == theirs.nftList().count)

    // Read back, what nft wrote is what we wrote.
    var socket = try theirs.nftSocket()
    let read = try socket.sets(id)
    for (set, elements, text) in sets {
      var wanted = set
      if set.key.count > 1, set.flags.contains(.interval) { wanted.flags.insert(.concatenation) }
      #expect(read.first { $0.name == set.name } == wanted, "\(text)")
      var found = try socket.elements(of: set.name, id)
      for i in found.indices { found[i].expiration = 0 }
      if set.flags == .interval, set.key.count == 1 { found.removeAll { $0.isIntervalEnd && $0.key == [0, 0, 0, 0] } }
      if set.timeout > 0 { for i in found.indices where found[i].timeout == set.timeout { found[i].timeout = 0 } }
      #expect(Set(found) == Set(elements), "\(text)")
    }
    #expect(try socket.elements(of: "none", id).isEmpty)
    #expect(try socket.sets(NftTable.ID(.ipv4, "none")).isEmpty)

    // Elements can be removed, sets emptied and removed.
    try write(ours) { batch in
      batch.delete([NftElement(key: a)], from: "s4", of: id)
      batch.flushSet(id, "vm")
      batch.deleteSet(id, "s6")
    }
    try theirs.nftLoad("delete element ip t s4 { 10.0.0.1 }\nflush map ip t vm\ndelete set ip t s6\n")
    expectSame(try ours.nftObjects(), try theirs.nftObjects())
  }

  /// Rules of the kind that a service proxy writes, and each expression that we encode.
  @Test func expressions() throws {
    let ours = try TestNamespace("nftex")
    let theirs = try TestNamespace("nftex")
    let tcp: [E] = [.meta(.transportProtocol, .r1), .compare(.equal, .r1, [6])]
    let word1 = NftRegister(word: 1)
    let word2 = NftRegister(word: 2)
    let triple: [E] = [
      .payload(.network, offset: 16, length: 4, .r1), .meta(.transportProtocol, word1),
      .payload(.transport, offset: 2, length: 2, word2),
    ]
    let rules: [([E], String)] = [
      (
        triple + [.lookup(set: "vm", key: .r1, to: nil, verdict: true, inverted: false)],
        "ip daddr . meta l4proto . th dport vmap @vm"
      ),
      (
        [
          .payload(.network, offset: 12, length: 4, .r1),
          .lookup(set: "s", key: .r1, to: nil, verdict: false, inverted: true),
          .verdict(.drop),
        ], "ip saddr != @s drop"
      ),
      (
        [
          .payload(.network, offset: 12, length: 4, .r1),
          .lookup(set: "m", key: .r1, to: .r1, verdict: false, inverted: false),
          .setMeta(.mark, .r1),
        ], "meta mark set ip saddr map @m"
      ),
      (
        [.numberGenerator(random: false, modulus: 2, offset: 5, .r1), .setMeta(.mark, .r1)],
        "meta mark set numgen inc mod 2 offset 5"
      ),
      (
        [
          .tracking(.state, direction: nil, .r1), .bitwise(from: .r1, to: .r1, mask: [6, 0, 0, 0], xor: [0, 0, 0, 0]),
          .compare(.notEqual, .r1, [0, 0, 0, 0]), .verdict(.accept),
        ], "ct state established,related accept"
      ),
      (
        [
          .tracking(.status, direction: nil, .r1),
          .bitwise(from: .r1, to: .r1, mask: [32, 0, 0, 0], xor: [0, 0, 0, 0]),
          .compare(.notEqual, .r1, [0, 0, 0, 0]), .verdict(.accept),
        ], "ct status dnat accept"
      ),
      ([.tracking(.mark, direction: nil, .r1), .setMeta(.mark, .r1)], "meta mark set ct mark"),
      ([.immediate(.r1, [7, 0, 0, 0]), .setTracking(.mark, .r1)], "ct mark set 0x7"),
      (
        [
          .tracking(.sourceIPv4, direction: 0, .r1), .compare(.equal, .r1, [10, 0, 0, 1]),
          .counter(packets: 0, bytes: 0),
        ],
        "ct original ip saddr 10.0.0.1 counter"
      ),
      (
        tcp + [
          .payload(.transport, offset: 2, length: 2, .r1), .range(.notEqual, .r1, from: [0, 80], to: [0, 90]),
          .verdict(.drop),
        ], "tcp dport != 80-90 drop"
      ),
      (
        tcp + [
          .payload(.transport, offset: 2, length: 2, .r1), .compare(.greaterOrEqual, .r1, [0x04, 0]),
          .verdict(.return),
        ], "tcp dport >= 1024 return"
      ),
      ([.reject(type: 0, code: 3)], "reject"),
      (tcp + [.reject(type: 1, code: 0)], "reject with tcp reset"),
      (
        [.fib(.addressType, flags: 1 | 8, .r1), .compare(.equal, .r1, [2, 0, 0, 0]), .verdict(.drop)],
        "fib saddr . iif type local drop"
      ),
      (
        [.fib(.outputIndex, flags: 1 | 8 | 32, .r1), .compare(.equal, .r1, [0, 0, 0, 0]), .verdict(.drop)],
        "fib saddr . iif oif missing drop"
      ),
      (
        [
          .payload(.network, offset: 12, length: 4, .r1),
          .dynamicSet(E.DynamicSet(.update, set: "dyn", key: .r1, timeout: 60_000)),
        ], "update @dyn { ip saddr timeout 1m }"
      ),
      (
        [.payload(.network, offset: 12, length: 4, .r1), .dynamicSet(E.DynamicSet(.add, set: "dyn", key: .r1))],
        "add @dyn { ip saddr }"
      ),
      (
        [.meta(.inputIndex, .r1), .compare(.equal, .r1, [1, 0, 0, 0]), .counter(packets: 5, bytes: 99)],
        "iif lo counter packets 5 bytes 99"
      ),
      (
        [
          .payload(.network, offset: 12, length: 4, .r1),
          .bitwise(from: .r1, to: .r1, mask: [255, 255, 240, 0], xor: [0, 0, 0, 0]),
          .compare(.equal, .r1, [10, 0, 16, 0]), .verdict(.next),
        ], "ip saddr 10.0.16.0/20 continue"
      ),
    ]
    let nat: [([E], String)] = [
      (
        triple + [
          .lookup(set: "md", key: .r1, to: .r1, verdict: false, inverted: false),
          .nat(E.NAT(.destination, family: 2, address: .r1, port: word1)),
        ],
        "dnat to ip daddr . meta l4proto . th dport map @md"
      ),
      (
        tcp + [
          .immediate(.r1, [10, 9, 8, 7]), .immediate(.r2, [0, 10]), .immediate(.r3, [0, 20]),
          .nat(E.NAT(.destination, family: 2, address: .r1, port: .r2, portEnd: .r3, flags: .persistent)),
        ],
        "meta l4proto tcp dnat to 10.9.8.7:10-20 persistent"
      ),
      (tcp + [.immediate(.r1, [0x1f, 0x90]), .redirect(.r1, [])], "meta l4proto tcp redirect to :8080"),
      ([.redirect(nil, [])], "redirect"),
      (
        [
          .immediate(.r1, [10, 9, 8, 0]), .immediate(.r2, [10, 9, 8, 9]),
          .nat(E.NAT(.destination, family: 2, address: .r1, addressEnd: .r2, flags: .random)),
        ],
        "dnat to 10.9.8.0-10.9.8.9 random"
      ),
    ]
    let snat: [([E], String)] = [
      (
        [.immediate(.r1, [10, 9, 8, 7]), .nat(E.NAT(.source, family: 2, address: .r1, flags: .fullyRandom))],
        "snat to 10.9.8.7 fully-random"
      ),
      ([.masquerade([.random, .persistent])], "masquerade random,persistent"),
    ]
    let sets = [
      NftSet(id, "vm", key: [.ipv4Address, .inetProtocol, .inetService], data: [.verdict]),
      NftSet(id, "md", key: [.ipv4Address, .inetProtocol, .inetService], data: [.ipv4Address, .inetService]),
      NftSet(id, "s", key: [.ipv4Address]), NftSet(id, "m", key: [.ipv4Address], data: [.mark]),
      NftSet(id, "dyn", key: [.ipv4Address], flags: [.dynamic, .timeout], timeout: 3_600_000),
    ]
    let chains = [
      ("c", "filter", NftHook.input, rules), ("pre", "nat", .prerouting, nat), ("post", "nat", .postrouting, snat),
    ]
    try write(ours) { batch in
      batch.add(NftTable(id))
      for set in sets { batch.add(set) }
      for (name, type, hook, rules) in chains {
        batch.add(NftChain(id, name, base: NftChain.Base(type: type, hook: hook, priority: 0)))
        for (expressions, _) in rules { batch.append(NftRule(id, name, expressions)) }
      }
    }
    let text = chains.map { name, type, hook, rules in
      "chain \(name) { type \(type) hook \(hook) priority 0; \n\(rules.map(\.1).joined(separator: "\n"))\n}"
    }.joined(separator: "\n")
    try theirs.nftLoad(
      """
      table ip t {
        map vm { type ipv4_addr . inet_proto . inet_service : verdict; }
        map md { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }
        set s { type ipv4_addr; }
        map m { type ipv4_addr : mark; }
        set dyn { type ipv4_addr; flags dynamic,timeout; timeout 1h; }
        \(text)
      }
      """)
    expectSame(try ours.nftObjects(), try theirs.nftObjects())
    var socket = try theirs.nftSocket()
    let read = try socket.rules(id).map { "\($0.expressions)" }
    expectSame(chains.flatMap { $0.3.map { "\($0.0)" } }, read, "(read back)")
  }
}
