import NetTypes
import Netlink
import TestSupport
import Testing

@testable import Firewall

/// Which packets are masqueraded, left alone and forwarded: every class of contract flanneld §10.1 and test-oracles §4.3
/// is sent through every rendering of the rules, and all must do what the table says.
@Suite struct PodNetworkTraceTests {
  /// A node with its pods in a network of four nodes.
  struct Scene {
    let rules: PodNetworkRules
    let host: TracedHost
    /// Addresses by the names of the table.
    let places: [String: IPAddress]
    var family: AddressFamily { rules.family }

    init(_ family: AddressFamily, fullyRandom: Bool = true) throws {
      let four = [
        "net": "10.244.0.0/16", "pods": "10.244.98.0/24", "pod": "10.244.98.2", "sibling": "10.244.98.3",
        "farPod": "10.244.99.2", "overlay": "10.244.98.0", "farOverlay": "10.244.99.0", "bridge": "10.244.98.1",
        "node": "192.168.7.1", "farNode": "192.168.7.2", "world": "203.0.113.9", "group": "224.0.0.251",
        "below": "10.243.255.255", "above": "10.245.0.0",
      ]
      let six = [
        "net": "fd00:10:244::/56", "pods": "fd00:10:244:43::/64", "pod": "fd00:10:244:43::2",
        "sibling": "fd00:10:244:43::3", "farPod": "fd00:10:244:11::2", "overlay": "fd00:10:244:43::",
        "farOverlay": "fd00:10:244:11::", "bridge": "fd00:10:244:43::1", "node": "2001:db8:7::1",
        "farNode": "2001:db8:7::2", "world": "2001:db8:ffff::9", "group": "ff02::fb",
        "below": "fd00:10:243:ffff:ffff:ffff:ffff:ffff", "above": "fd00:10:244:100::",
      ]
      let names = family == .ipv4 ? four : six
      rules = PodNetworkRules(
        network: try #require(names["net"].flatMap { IPPrefix($0) }),
        pods: try #require(names["pods"].flatMap { IPPrefix($0) }), fullyRandom: fullyRandom)
      places = names.compactMapValues { IPAddress($0) }
      host = TracedHost(Set(["overlay", "bridge", "node"].compactMap { names[$0].flatMap { IPAddress($0) } }))
    }
  }

  /// One packet and what is to become of it.
  struct Case: CustomTestStringConvertible {
    var what: String
    var from: String
    var to: String
    var input = ""
    var output = ""
    var mark: UInt32 = 0
    var isMasqueraded: Bool
    /// Some rule of ours accepts it in the forward hook, so that it passes a host whose policy is to drop.
    var isForwarded: Bool

    var testDescription: String { what }
  }

  static let cases: [Case] = [
    Case(
      what: "pod to pod on the same node, between interfaces", from: "pod", to: "sibling", input: "cni0",
      output: "cni0", isMasqueraded: false, isForwarded: true),
    Case(
      what: "pod to pod on another node", from: "pod", to: "farPod", input: "cni0", output: "flannel.1",
      isMasqueraded: false, isForwarded: true),
    Case(
      what: "pod to world", from: "pod", to: "world", input: "cni0", output: "eth0", isMasqueraded: true,
      isForwarded: true),
    Case(
      what: "pod to another node's own address", from: "pod", to: "farNode", input: "cni0", output: "eth0",
      isMasqueraded: true, isForwarded: true),
    Case(
      what: "pod to multicast", from: "pod", to: "group", input: "cni0", output: "eth0", isMasqueraded: false,
      isForwarded: true),
    Case(
      what: "host to remote pod, from the overlay address", from: "overlay", to: "farPod", output: "flannel.1",
      isMasqueraded: false, isForwarded: false),
    Case(
      what: "host to remote pod, from the node's address", from: "node", to: "farPod", output: "flannel.1",
      isMasqueraded: true, isForwarded: false),
    Case(
      what: "host to own pod, from the bridge", from: "bridge", to: "pod", output: "cni0", isMasqueraded: false,
      isForwarded: false),
    Case(
      what: "host to own pod, from the node's address", from: "node", to: "pod", output: "cni0", isMasqueraded: false,
      isForwarded: false),
    Case(
      what: "host to world", from: "node", to: "world", output: "eth0", isMasqueraded: false, isForwarded: false),
    Case(
      what: "host to multicast", from: "node", to: "group", output: "eth0", isMasqueraded: false, isForwarded: false),
    Case(
      what: "remote pod to own pod", from: "farPod", to: "pod", input: "flannel.1", output: "cni0",
      isMasqueraded: false, isForwarded: true),
    Case(
      what: "remote host to own pod, from its overlay address", from: "farOverlay", to: "pod", input: "flannel.1",
      output: "cni0", isMasqueraded: false, isForwarded: true),
    Case(
      what: "remote pod to world through this node", from: "farPod", to: "world", input: "flannel.1", output: "eth0",
      isMasqueraded: true, isForwarded: true),
    Case(
      what: "remote pod to another remote pod through this node", from: "farPod", to: "farOverlay",
      input: "flannel.1", output: "flannel.1", isMasqueraded: true, isForwarded: true),
    Case(
      what: "world to own pod", from: "world", to: "pod", input: "eth0", output: "cni0", isMasqueraded: false,
      isForwarded: true),
    Case(
      what: "world to remote pod via this node", from: "world", to: "farPod", input: "eth0", output: "flannel.1",
      isMasqueraded: true, isForwarded: true),
    Case(
      what: "world to world through this node", from: "world", to: "farNode", input: "eth0", output: "eth1",
      isMasqueraded: false, isForwarded: false),
    Case(
      what: "pod to world, marked by kube-proxy", from: "pod", to: "world", input: "cni0", output: "eth0",
      mark: 0x4000, isMasqueraded: false, isForwarded: true),
    Case(
      what: "pod to world, marked by kube-proxy and another", from: "pod", to: "world", input: "cni0", output: "eth0",
      mark: 0x14000, isMasqueraded: false, isForwarded: true),
    Case(
      what: "pod to world, marked by another", from: "pod", to: "world", input: "cni0", output: "eth0", mark: 0x10000,
      isMasqueraded: true, isForwarded: true),
    Case(
      what: "host to remote pod, marked by kube-proxy and another", from: "node", to: "farPod", output: "flannel.1",
      mark: 0x14000, isMasqueraded: false, isForwarded: false),
    Case(
      what: "world to remote pod, marked by kube-proxy", from: "world", to: "farPod", input: "eth0",
      output: "flannel.1", mark: 0x4000, isMasqueraded: false, isForwarded: true),
    Case(
      what: "pod to the last address before the network", from: "pod", to: "below", input: "cni0", output: "eth0",
      isMasqueraded: true, isForwarded: true),
    Case(
      what: "pod to the first address behind the network", from: "pod", to: "above", input: "cni0", output: "eth0",
      isMasqueraded: true, isForwarded: true),
    Case(
      what: "from just before the network to remote pod", from: "below", to: "farPod", input: "eth0",
      output: "flannel.1", isMasqueraded: true, isForwarded: true),
    Case(
      what: "from just behind the network to own pod", from: "above", to: "pod", input: "eth0", output: "cni0",
      isMasqueraded: false, isForwarded: true),
    Case(
      what: "pod to world, all marks but kube-proxy's", from: "pod", to: "world", input: "cni0", output: "eth0",
      mark: 0xffff_bfff, isMasqueraded: true, isForwarded: true),
    Case(
      what: "pod to world, all marks", from: "pod", to: "world", input: "cni0", output: "eth0", mark: .max,
      isMasqueraded: false, isForwarded: true),
  ]

  // MARK: renderings

  /// Our rules as nf_tables gets them.
  static func nftables(_ scene: Scene, masquerade: [Rule]? = nil) -> NftRuleSet {
    let table = PodNetworkPlan.table(scene.family)
    var set = NftRuleSet()
    for (name, type, hook, priority, rules) in [
      ("postrtg", "nat", NftHook.postrouting, Int32(100), masquerade ?? scene.rules.masquerade),
      ("forward", "filter", .forward, 0, scene.rules.forward),
    ] {
      let chain = NftChain(table, name, base: NftChain.Base(type: type, hook: hook, priority: priority))
      set.add(chain, rules: rules.flatMap { $0.nftables(table, name) })
    }
    return set
  }

  /// What flannel itself writes (contract flanneld §10.1, §10.2), with the prefixes of the scene.
  static func golden(_ scene: Scene) -> String {
    let (net, pods) = (scene.rules.network, scene.rules.pods)
    let masquerade = "MASQUERADE" + (scene.rules.fullyRandom ? " --random-fully" : "")
    return """
      *filter
      :FORWARD ACCEPT [0:0]
      :FLANNEL-FWD - [0:0]
      -A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD
      -A FLANNEL-FWD -s \(net) -m comment --comment "flanneld forward" -j ACCEPT
      -A FLANNEL-FWD -d \(net) -m comment --comment "flanneld forward" -j ACCEPT
      COMMIT
      *nat
      :POSTROUTING ACCEPT [0:0]
      :FLANNEL-POSTRTG - [0:0]
      -A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
      -A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment "flanneld masq" -j RETURN
      -A FLANNEL-POSTRTG -s \(pods) -d \(net) -m comment --comment "flanneld masq" -j RETURN
      -A FLANNEL-POSTRTG -s \(net) -d \(pods) -m comment --comment "flanneld masq" -j RETURN
      -A FLANNEL-POSTRTG ! -s \(net) -d \(pods) -m comment --comment "flanneld masq" -j RETURN
      -A FLANNEL-POSTRTG -s \(net) ! -d \(scene.family.multicast) -m comment --comment "flanneld masq" -j \(masquerade)
      -A FLANNEL-POSTRTG ! -s \(net) -d \(net) -m comment --comment "flanneld masq" -j \(masquerade)
      COMMIT

      """
  }

  /// Our rules as iptables gets them.
  static func iptables(_ scene: Scene) throws -> IptablesRuleSet {
    var rules = PerFamily<PodNetworkRules>()
    rules[scene.family] = scene.rules
    let plans = PodNetworkPlan(rules: rules, masquerades: true, forwards: true).iptables(scene.family)
    let text = plans.map { plan in
      let jump = "-A \(plan.parent) \(plan.jump)"
      let list = (plan.rules ?? []).map { "-A \(plan.chain) " + IptablesTool.line($0.iptables) }
      return (["*\(plan.table)", jump] + list).joined(separator: "\n")
    }
    return try IptablesRuleSet(scene.family, text.joined(separator: "\n"))
  }

  // MARK: tests

  /// The trace of a case.
  static func trace(_ c: Case, _ scene: Scene, _ rules: any TracedRules) throws -> Trace {
    var tracer = PacketTracer(scene.host, [rules])
    let packet = Packet(
      from: try #require(scene.places[c.from]), to: try #require(scene.places[c.to]), input: c.input, output: c.output,
      mark: c.mark)
    return try tracer.send(packet)
  }

  private func check(_ c: Case, _ scene: Scene, _ rules: any TracedRules, _ name: String) throws {
    let found = try Self.trace(c, scene, rules)
    let expected: Trace.SourceTranslation? =
      c.isMasqueraded ? .masquerade(fullyRandom: scene.rules.fullyRandom) : nil
    #expect(found.source == expected, "\(name): \(c.what): \(found.path)")
    #expect(found.fate == .accepted && found.destination == nil && found.packet.mark == c.mark, "\(name): \(c.what)")
  }

  @Test(arguments: cases, AddressFamily.allCases)
  func masquerading(_ c: Case, _ family: AddressFamily) throws {
    for fullyRandom in [true, false] {
      let scene = try Scene(family, fullyRandom: fullyRandom)
      try check(c, scene, Self.nftables(scene), "nf_tables")
      try check(c, scene, Self.iptables(scene), "iptables")
      try check(c, scene, IptablesRuleSet(family, Self.golden(scene)), "flannel's iptables")
    }
  }

  /// On a host that drops what it does not know, only what our rules accept passes.
  @Test(arguments: cases, AddressFamily.allCases)
  func forwarding(_ c: Case, _ family: AddressFamily) throws {
    let scene = try Scene(family)
    let expected: Trace.Fate = c.isForwarded || c.input.isEmpty ? .accepted : .dropped
    let text = Self.golden(scene).replacing(":FORWARD ACCEPT", with: ":FORWARD DROP")
    #expect(try Self.trace(c, scene, IptablesRuleSet(family, text)).fate == expected, "iptables: \(c.what)")
    // A table of another program cannot be overruled by an accept in ours: the same rules in one chain that drops.
    let table = PodNetworkPlan.table(family)
    var set = NftRuleSet()
    let base = NftChain.Base(type: "filter", hook: .forward, priority: 0, policy: .drop)
    set.add(
      NftChain(table, "forward", base: base), rules: scene.rules.forward.flatMap { $0.nftables(table, "forward") })
    #expect(try Self.trace(c, scene, set).fate == expected, "nf_tables: \(c.what)")
  }

  /// The two lines in which flannel's nf_tables rules differ from its iptables rules (contract flanneld §11.1, rules 1
  /// and 4; §19 no. 22) fail the table, in exactly the cases that ours are different for.
  @Test(arguments: AddressFamily.allCases)
  func flannelsOwnNftablesRulesFail(_ family: AddressFamily) throws {
    let scene = try Scene(family)
    var rules = scene.rules.masquerade
    rules[0] = Rule([.mark(PodNetworkRules.kubeProxyMark, mask: .max)], .return)
    rules[3] = Rule([.source(scene.rules.pods, inverted: true), .destination(scene.rules.network)], .return)
    let upstream = Self.nftables(scene, masquerade: rules)
    let failing = try Self.cases.filter { try Self.trace($0, scene, upstream).isMasqueraded != $0.isMasqueraded }
    #expect(
      failing.map(\.what) == [
        "host to remote pod, from the node's address", "remote pod to another remote pod through this node",
        "world to remote pod via this node", "pod to world, marked by kube-proxy and another",
        "from just before the network to remote pod", "pod to world, all marks",
      ])
  }

  /// The table is complete: no rule can be left out, and no test of a rule turned round, without a case that fails.
  @Test(arguments: AddressFamily.allCases)
  func everyRuleCounts(_ family: AddressFamily) throws {
    let scene = try Scene(family)
    func isNoticed(_ change: (inout [Rule]) -> Void) throws -> Bool {
      var rules = scene.rules.masquerade
      change(&rules)
      let changed = Self.nftables(scene, masquerade: rules)
      return try Self.cases.contains { try Self.trace($0, scene, changed).isMasqueraded != $0.isMasqueraded }
    }
    for (i, rule) in scene.rules.masquerade.enumerated() {
      #expect(try isNoticed { $0.remove(at: i) }, "without rule \(i + 1)")
      for (j, match) in rule.matches.enumerated() {
        let turned: Match? =
          switch match {
          case .source(let prefix, let inverted): .source(prefix, inverted: !inverted)
          case .destination(let prefix, let inverted): .destination(prefix, inverted: !inverted)
          case .mark(let value, let mask, let inverted): .mark(value, mask: mask, inverted: !inverted)
          default: nil
          }
        let other = try #require(turned, "a match that this test does not know")
        #expect(try isNoticed { $0[i].matches[j] = other }, "rule \(i + 1), test \(j + 1) turned round")
      }
    }
  }
}
