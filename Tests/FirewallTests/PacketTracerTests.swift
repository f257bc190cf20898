import NetTypes
import Netlink
import TestSupport
import Testing

/// The tracer itself, on rules in the forms that kube-proxy and portmap use.
@Suite struct PacketTracerTests {
  typealias E = NftExpression

  let client: IPAddress
  let service: IPAddress
  let node: IPAddress
  let pods: [IPAddress]
  let table = NftTable.ID(.ipv4, "t")

  init() throws {
    client = try #require(IPAddress("203.0.113.9"))
    service = try #require(IPAddress("172.30.0.41"))
    node = try #require(IPAddress("192.168.0.2"))
    pods = try ["10.180.0.1", "10.180.0.2", "10.180.0.3"].map { try #require(IPAddress($0)) }
  }

  private func packet(_ to: IPAddress, port: UInt16 = 80, from: IPAddress? = nil, tcp: Bool = true) -> Packet {
    Packet(
      from: from ?? client, to: to, protocolNumber: tcp ? 6 : 17, port: port, input: "eth0", output: "cni0")
  }

  /// Balanced over `pods` with affinity: what kube-proxy writes in iptables mode (contract kube-proxy §4.4).
  private func iptablesService() throws -> IptablesRuleSet {
    try IptablesRuleSet(
      .ipv4,
      """
      *filter
      :INPUT ACCEPT [0:0]
      :FORWARD ACCEPT [0:0]
      -A FORWARD -m conntrack --ctstate INVALID -j DROP
      -A FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 -j ACCEPT
      -A INPUT -d 172.30.0.42/32 -p udp -m comment --comment "ns2/svc2:p80 has no endpoints" -m udp --dport 80 -j REJECT --reject-with icmp-port-unreachable
      COMMIT
      *nat
      :PREROUTING ACCEPT [0:0]
      :POSTROUTING ACCEPT [0:0]
      :KUBE-SERVICES - [0:0]
      :KUBE-SVC - [0:0]
      -A PREROUTING -m comment --comment "kubernetes \\"service\\" portals" -j KUBE-SERVICES
      -A POSTROUTING -j KUBE-POSTROUTING
      -A KUBE-MARK-MASQ -j MARK --or-mark 0x4000
      -A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
      -A KUBE-POSTROUTING -j MARK --xor-mark 0x4000
      -A KUBE-POSTROUTING -j MASQUERADE --random-fully
      -A KUBE-SERVICES -d 172.30.0.41/32 -p tcp -m comment --comment "ns1/svc1:p80 cluster IP" -m tcp --dport 80 -j KUBE-SVC
      -A KUBE-SERVICES -m addrtype --dst-type LOCAL ! -d 127.0.0.0/8 -j KUBE-NODEPORTS
      -A KUBE-NODEPORTS -p tcp -m multiport --dports 3001:3003,4000 -g KUBE-EXT
      -A KUBE-EXT -j KUBE-MARK-MASQ
      -A KUBE-EXT -j KUBE-SVC
      -A KUBE-SVC ! -s 10.0.0.0/8 -d 172.30.0.41/32 -p tcp -m tcp --dport 80 -j KUBE-MARK-MASQ
      -A KUBE-SVC -m recent --rcheck --seconds 10 --reap --name SEP1 --mask 255.255.255.255 --rsource -j SEP1
      -A KUBE-SVC -m recent --rcheck --seconds 10 --reap --name SEP2 --mask 255.255.255.255 --rsource -j SEP2
      -A KUBE-SVC -m statistic --mode random --probability 0.33333333349 -j SEP1
      -A KUBE-SVC -m statistic --mode random --probability 0.50000000000 -j SEP2
      -A KUBE-SVC -j SEP3
      -A SEP1 -s 10.180.0.1/32 -j KUBE-MARK-MASQ
      -A SEP1 -p tcp -m recent --set --name SEP1 --mask 255.255.255.255 --rsource -m tcp -j DNAT --to-destination 10.180.0.1:8080
      -A SEP2 -p tcp -m recent --set --name SEP2 --mask 255.255.255.255 --rsource -m tcp -j DNAT --to-destination 10.180.0.2:8080
      -A SEP3 -p tcp -m tcp -j DNAT --to-destination 10.180.0.3:8080
      COMMIT
      """)
  }

  @Test func iptablesServices() throws {
    let rules = try iptablesService()
    for (random, pod) in [(0.1, 0), (0.4, 1), (0.9, 2)] {
      var tracer = PacketTracer(TracedHost([node], random: { random }), [rules])
      let outside = try tracer.send(packet(service))
      #expect(outside.destination == Trace.Endpoint(pods[pod], 8080))
      #expect(outside.source == .masquerade(fullyRandom: true), "from outside the pod network")
      #expect(outside.packet.mark == 0, "the mark is taken away again")
      #expect(outside.path.contains("nat SEP\(pod + 1)") && outside.path.contains("filter FORWARD"))
      let hairpin = try tracer.send(packet(service, from: pods[0]))
      #expect(hairpin.isMasqueraded == (pod == 0))
    }
    let other = try #require(IPAddress("172.30.0.42"))
    var tracer = PacketTracer(TracedHost([node, other]), [rules])
    #expect(try tracer.send(packet(service, port: 81)).destination == nil)
    #expect(try tracer.send(packet(service, tcp: false)).destination == nil)
    for (port, isOurs) in [(3000, false), (3001, true), (3003, true), (3004, false), (4000, true)] {
      let trace = try tracer.send(packet(node, port: UInt16(port)))
      #expect((trace.destination != nil) == isOurs && trace.isMasqueraded == isOurs, "\(port)")
    }
    #expect(try tracer.send(packet(other, tcp: false)).fate == .rejected)
    var odd = packet(pods[0])
    odd.state = .invalid
    #expect(try tracer.send(odd).fate == .dropped)
    var later = packet(service)
    later.state = .established
    #expect(try tracer.send(later).destination == nil, "translation is decided by the first packet")
  }

  @Test func iptablesAffinity() throws {
    var tracer = PacketTracer(TracedHost([node], random: { 0.4 }), [try iptablesService()])
    #expect(try tracer.send(packet(service)).destination?.address == pods[1])
    tracer.host.random = { 0.9 }
    tracer.host.now = 9_000
    #expect(try tracer.send(packet(service)).destination?.address == pods[1], "still the same one")
    #expect(try tracer.send(packet(service, from: node)).destination?.address == pods[2], "another client")
    tracer.host.now = 30_000
    #expect(try tracer.send(packet(service)).destination?.address == pods[2], "forgotten")
  }

  /// The same in the forms of nftables mode (contract kube-proxy §5.3): a verdict map of services, a random number that
  /// chooses, a set of clients for each endpoint.
  private func nftablesService() -> NftRuleSet {
    var set = NftRuleSet()
    let nat = NftChain.Base(type: "nat", hook: .prerouting, priority: -100)
    let key: [E] = [
      .payload(.network, offset: 16, length: 4, .r1), .meta(.transportProtocol, NftRegister(word: 1)),
      .payload(.transport, offset: 2, length: 2, NftRegister(word: 2)),
    ]
    func rule(_ chain: String, _ steps: [E]) -> NftRule { NftRule(table, chain, steps) }
    set.add(
      NftChain(table, "nat-prerouting", base: nat),
      rules: [
        rule("nat-prerouting", key + [.lookup(set: "service-ips", key: .r1, to: nil, verdict: true, inverted: false)])
      ])
    set.add(
      NftSet(table, "service-ips", key: [.ipv4Address, .inetProtocol, .inetService], data: [.verdict]),
      [
        NftElement(key: service.bytes + [6, 0, 0, 0, 0, 80, 0, 0], value: .verdict(.goto("service"))),
        NftElement(key: node.bytes + [17, 0, 0, 0, 0, 53, 0, 0], value: .verdict(.drop)),
      ])
    var balance: [NftElement] = []
    var affinity: [NftRule] = []
    for (i, pod) in pods.enumerated() {
      let clients = "affinity-\(i)"
      let chain = "endpoint-\(i)"
      set.add(NftSet(table, clients, key: [.ipv4Address], flags: [.dynamic, .timeout], timeout: 10_000))
      let source = E.payload(.network, offset: 12, length: 4, .r1)
      affinity.append(
        rule(
          "service",
          [
            source, .lookup(set: clients, key: .r1, to: nil, verdict: false, inverted: false), .verdict(.goto(chain)),
          ]))
      set.add(
        NftChain(table, chain),
        rules: [
          rule(chain, [source, .compare(.equal, .r1, pod.bytes), .verdict(.jump("mark"))]),
          rule(chain, [source, .dynamicSet(E.DynamicSet(.update, set: clients, key: .r1))]),
          rule(
            chain,
            [
              .immediate(.r1, pod.bytes), .immediate(.r2, [0x1f, 0x90]),
              .nat(E.NAT(.destination, family: 2, address: .r1, port: .r2)),
            ]),
        ])
      balance.append(NftElement(key: [UInt8(i), 0, 0, 0], value: .verdict(.goto(chain))))
    }
    set.add(NftSet(table, "__map0", key: [.mark], data: [.verdict], flags: [.anonymous, .constant]), balance)
    set.add(
      NftChain(table, "service"),
      rules: affinity + [
        rule(
          "service",
          [
            .numberGenerator(random: true, modulus: 3, offset: 0, .r1),
            .lookup(set: "__map0", key: .r1, to: nil, verdict: true, inverted: false),
          ])
      ])
    set.add(
      NftChain(table, "mark"),
      rules: [
        rule(
          "mark",
          [
            .meta(.mark, .r1), .bitwise(from: .r1, to: .r1, mask: [255, 0xbf, 255, 255], xor: [0, 0x40, 0, 0]),
            .setMeta(.mark, .r1),
          ])
      ])
    return set
  }

  @Test func nftablesServices() throws {
    let rules = nftablesService()
    for (random, pod) in [(0.1, 0), (0.4, 1), (0.9, 2)] {
      var tracer = PacketTracer(TracedHost([node], random: { random }), [rules])
      #expect(try tracer.send(packet(service)).destination == Trace.Endpoint(pods[pod], 8080))
      let hairpin = try tracer.send(packet(service, from: pods[0]))
      #expect(hairpin.packet.mark == (pod == 0 ? 0x4000 : 0))
    }
    var tracer = PacketTracer(TracedHost([node]), [rules])
    #expect(try tracer.send(packet(service, port: 81)).destination == nil)
    #expect(try tracer.send(packet(service, tcp: false)).destination == nil)
    #expect(try tracer.send(packet(node, port: 53, tcp: false)).fate == .dropped)
  }

  @Test func nftablesAffinity() throws {
    var tracer = PacketTracer(TracedHost([node], random: { 0.4 }), [nftablesService()])
    #expect(try tracer.send(packet(service)).destination?.address == pods[1])
    tracer.host.random = { 0.9 }
    tracer.host.now = 9_000
    #expect(try tracer.send(packet(service)).destination?.address == pods[1], "still the same one")
    #expect(try tracer.send(packet(service, from: node)).destination?.address == pods[2], "another client")
    tracer.host.now = 18_000
    #expect(try tracer.send(packet(service)).destination?.address == pods[1], "the time counts from the last packet")
    tracer.host.now = 28_001
    #expect(try tracer.send(packet(service)).destination?.address == pods[2], "forgotten")
  }

  @Test func intervals() throws {
    var set = NftRuleSet()
    let base = NftChain.Base(type: "filter", hook: .prerouting, priority: 0)
    func look(_ name: String, _ steps: [E], _ verdict: NftVerdict) -> NftRule {
      NftRule(
        table, "c", steps + [.lookup(set: name, key: .r1, to: nil, verdict: false, inverted: false), .verdict(verdict)])
    }
    let source = E.payload(.network, offset: 12, length: 4, .r1)
    set.add(
      NftChain(table, "c", base: base),
      rules: [
        look("ranges", [source], .drop),
        look(
          "both", [source, .payload(.transport, offset: 2, length: 2, NftRegister(word: 1))], .return),
        NftRule(table, "c", [.reject(type: 0, code: 3)]),
      ])
    set.add(
      NftSet(table, "ranges", key: [.ipv4Address], flags: .interval),
      [
        NftElement(key: [0, 0, 0, 0], isIntervalEnd: true), NftElement(key: [203, 0, 113, 0]),
        NftElement(key: [203, 0, 113, 128], isIntervalEnd: true),
      ])
    set.add(
      NftSet(table, "both", key: [.ipv4Address, .inetService], flags: .interval),
      [
        NftElement(key: [10, 0, 0, 0, 0, 80, 0, 0], keyEnd: [10, 255, 255, 255, 0, 90, 0, 0])
      ])
    var tracer = PacketTracer(TracedHost([node]), [set])
    for (address, port, fate) in [
      ("203.0.113.0", 80, Trace.Fate.dropped), ("203.0.113.127", 80, .dropped), ("203.0.113.128", 80, .rejected),
      ("203.0.112.255", 80, .rejected), ("10.180.0.1", 80, .accepted), ("10.180.0.1", 90, .accepted),
      ("10.180.0.1", 91, .rejected), ("10.180.0.1", 79, .rejected), ("11.0.0.0", 80, .rejected),
    ] {
      let from = try #require(IPAddress(address))
      #expect(try tracer.send(packet(service, port: UInt16(port), from: from)).fate == fate, "\(address) \(port)")
    }
  }

  /// Several programs' rules on one host: the lower number first, a drop is final, an accept is not; the first that
  /// translates wins.
  @Test func severalRuleSets() throws {
    func chain(_ name: String, _ type: String, _ hook: NftHook, _ priority: Int32, _ steps: [E]) -> NftRuleSet {
      var set = NftRuleSet()
      let id = NftTable.ID(.inet, name)
      set.add(
        NftChain(id, "c", base: NftChain.Base(type: type, hook: hook, priority: priority)),
        rules: [NftRule(id, "c", steps)])
      return set
    }
    let iptables = try IptablesRuleSet(.ipv4, "-P FORWARD DROP\n-A FORWARD -i eth0 -o cni+ -j ACCEPT\n")
    var tracer = PacketTracer(TracedHost([node]), [iptables, chain("a", "filter", .forward, 5, [.verdict(.accept)])])
    #expect(try tracer.send(packet(service)).fate == .accepted)
    tracer.rules.append(chain("b", "filter", .forward, 6, [.verdict(.drop)]))
    let dropped = try tracer.send(packet(service))
    #expect(dropped.fate == .dropped && dropped.path == ["filter FORWARD", "inet a c", "inet b c"])
    var other = packet(service)
    other.output = "eth1"
    #expect(try tracer.send(other).path == ["filter FORWARD"])

    tracer.rules = [
      chain("late", "nat", .postrouting, 101, [.masquerade([])]),
      chain("early", "nat", .postrouting, 99, [.masquerade(.fullyRandom)]),
    ]
    #expect(try tracer.send(packet(service)).source == .masquerade(fullyRandom: true))
  }

  @Test func whatIsNotKnownIsAnError() throws {
    #expect(throws: TraceError.self) { try IptablesRuleSet(.ipv4, "-A FORWARD -m u32 --u32 0 -j DROP") }
    #expect(throws: TraceError.self) { try IptablesRuleSet(.ipv4, "-A FORWARD --tcp-flags SYN SYN -j DROP") }
    var tracer = PacketTracer(TracedHost([]), [try IptablesRuleSet(.ipv4, ":FORWARD ACCEPT\n-A FORWARD -j NONE")])
    #expect(throws: TraceError.self) { try tracer.send(packet(service)) }
    var set = NftRuleSet()
    let base = NftChain.Base(type: "filter", hook: .forward, priority: 0)
    set.add(NftChain(table, "c", base: base), rules: [NftRule(table, "c", [.other(name: "limit", [])])])
    tracer.rules = [set]
    #expect(throws: TraceError.self) { try tracer.send(packet(service)) }
  }
}
