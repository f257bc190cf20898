import NetTypes
import Netlink
import Syscalls
import TestSupport
import Testing

@testable import Firewall

/// The same table of packets, sent through what the kernel holds after our agent's rules were loaded: nothing is lost on
/// the way through the codecs and tools.
@Suite(.needsRoot) struct LoadedRulesTraceTests {
  typealias Table = PodNetworkTraceTests

  private func plan(_ scene: Table.Scene) -> PodNetworkPlan {
    var rules = PerFamily<PodNetworkRules>()
    rules[scene.family] = scene.rules
    return PodNetworkPlan(rules: rules, masquerades: true, forwards: true)
  }

  /// The cases that do not come out as the table says.
  private func failing(_ scene: Table.Scene, _ rules: any TracedRules) throws -> [String] {
    try Table.cases.filter { try Table.trace($0, scene, rules).isMasqueraded != $0.isMasqueraded }.map(\.what)
  }

  private func text(_ ns: TestNamespace, _ program: String, _ arguments: [String], _ input: String = "") throws
    -> String
  {
    let output = try ns.run(program, arguments, input: Array(input.utf8))
    try #require(output.exit.isSuccess, "\(program) \(arguments): \(output.errorText)")
    return output.text
  }

  @Test(arguments: AddressFamily.allCases) func nftables(_ family: AddressFamily) throws {
    let ns = try TestNamespace("trnft")
    let scene = try Table.Scene(family)
    var socket = try NftSocket(in: ns.open())
    #expect(try !socket.converge(plan(scene).nftables).isEmpty)
    let rules = try NftRuleSet(reading: &socket)
    #expect(try failing(scene, rules).isEmpty)
    let pod = try #require(Table.cases.first { $0.what == "pod to world" })
    let table = PodNetworkPlan.table(family)
    #expect(try Table.trace(pod, scene, rules).path == ["\(table) forward", "\(table) postrtg"])
  }

  @Test(arguments: AddressFamily.allCases, ["nft", "legacy"]) func iptables(_ family: AddressFamily, _ variant: String)
    throws
  {
    let ns = try TestNamespace("tript")
    let scene = try Table.Scene(family)
    let tool = "/usr/sbin/\(family == .ipv4 ? "iptables" : "ip6tables")-\(variant)"
    var lines: [String] = []
    for plan in plan(scene).iptables(family) {
      lines += ["*\(plan.table)", ":\(plan.chain) - [0:0]"]
      for rule in plan.rules ?? [] { lines.append("-A \(plan.chain) " + IptablesTool.line(rule.iptables)) }
      lines += ["-A \(plan.parent) \(plan.jump)", "COMMIT"]
    }
    _ = try text(ns, "\(tool)-restore", ["--noflush"], lines.joined(separator: "\n") + "\n")
    let saved = try text(ns, "\(tool)-save", [])
    #expect(saved.contains(":FLANNEL-POSTRTG"))
    #expect(try failing(scene, IptablesRuleSet(family, saved)).isEmpty)
  }

  /// What flannel's nftables mode left on a node (captures, vxlan-dual-nft), loaded by nft.
  @Test(arguments: AddressFamily.allCases) func flannelsOwnNftablesRulesFail(_ family: AddressFamily) throws {
    let ns = try TestNamespace("trfln")
    let scene = try Table.Scene(family)
    let (ip, version) = family == .ipv4 ? ("ip", "4") : ("ip6", "6")
    let (net, pods) = (scene.rules.network, scene.rules.pods)
    _ = try text(
      ns, "/usr/sbin/nft", ["-f", "-"],
      """
      table \(ip) flannel-ipv\(version) {
        comment "rules for flannel-ipv\(version)"
        chain postrtg {
          comment "chain to manage traffic masquerading by flannel"
          type nat hook postrouting priority srcnat; policy accept;
          meta mark 0x00004000 return
          \(ip) saddr \(pods) \(ip) daddr \(net) return
          \(ip) saddr \(net) \(ip) daddr \(pods) return
          \(ip) saddr != \(pods) \(ip) daddr \(net) return
          \(ip) saddr \(net) \(ip) daddr != \(family.multicast) masquerade fully-random
          \(ip) saddr != \(net) \(ip) daddr \(net) masquerade fully-random
        }
        chain forward {
          comment "chain to accept flannel traffic"
          type filter hook forward priority filter; policy accept;
          \(ip) saddr \(net) accept
          \(ip) daddr \(net) accept
        }
      }

      """)
    var socket = try NftSocket(in: ns.open())
    let found = try failing(scene, NftRuleSet(reading: &socket))
    for what in [
      "host to remote pod, from the node's address", "world to remote pod via this node",
      "pod to world, marked by kube-proxy and another",
    ] {
      #expect(found.contains(what), "\(found)")
    }
  }

  /// Sets, maps, verdict maps and ranges as nft loads them, in the forms of kube-proxy and portmap.
  @Test func setsOfTheKernel() throws {
    let ns = try TestNamespace("trset")
    _ = try text(
      ns, "/usr/sbin/nft", ["-f", "-"],
      """
      table ip t {
        map service-ips {
          type ipv4_addr . inet_proto . inet_service : verdict
          elements = { 172.30.0.41 . tcp . 80 : goto svc, 172.30.0.41 . udp . 80 : drop }
        }
        set cluster-ips { type ipv4_addr; elements = { 172.30.0.41, 172.30.0.42 } }
        set blocked { type ipv4_addr; flags interval; elements = { 198.51.100.0/24, 192.0.2.10-192.0.2.20 } }
        set wide { type ipv4_addr . inet_service; flags interval; elements = { 10.0.0.0/8 . 1000-2000 } }
        set affinity { type ipv4_addr; flags dynamic,timeout; timeout 10s; }
        chain pre {
          type nat hook prerouting priority dstnat
          ip daddr . meta l4proto . th dport vmap @service-ips
          fib daddr type local tcp dport 8080 dnat to 10.244.1.2:80 comment "host port"
        }
        chain svc {
          ip saddr @affinity goto two
          numgen random mod 2 vmap { 0 : goto one, 1 : goto two }
        }
        chain one { meta l4proto tcp dnat to 10.244.1.1:8080; }
        chain two { update @affinity { ip saddr }; meta l4proto tcp dnat to 10.244.1.2:8080; }
        chain check {
          type filter hook prerouting priority -110
          ip saddr @blocked drop
          ip saddr . tcp dport @wide drop
          meta mark set meta mark or 0x4000
          tcp dport { 22, 23 } reject
          iifname "bad*" drop
          udp dport 1000-2000 drop
        }
        chain rest {
          type filter hook forward priority 0
          ct state established accept
          ip daddr @cluster-ips reject
          ip daddr 10.244.1.0/24 meta mark & 0x4000 == 0x4000 accept
          drop
        }
        chain post { type nat hook postrouting priority srcnat; ip saddr != 10.244.0.0/16 masquerade random; }
      }

      """)
    var socket = try NftSocket(in: ns.open())
    let node = try #require(IPAddress("192.168.0.2"))
    var tracer = PacketTracer(TracedHost([node]), [try NftRuleSet(reading: &socket)])
    func send(_ from: String, _ to: String, port: UInt16 = 80, tcp: Bool = true, input: String = "eth0") throws -> Trace
    {
      let packet = Packet(
        from: try #require(IPAddress(from)), to: try #require(IPAddress(to)), protocolNumber: tcp ? 6 : 17, port: port,
        input: input, output: "cni0")
      return try tracer.send(packet)
    }
    let first = try send("203.0.113.9", "172.30.0.41")
    #expect(first.destination?.description == "10.244.1.1:8080" && first.fate == .accepted)
    #expect(first.source == .masquerade(fullyRandom: false) && first.packet.mark == 0x4000)
    tracer.host.random = { 0.7 }
    #expect(try send("203.0.113.9", "172.30.0.41").destination?.description == "10.244.1.2:8080")
    tracer.host.random = { 0 }
    #expect(try send("203.0.113.9", "172.30.0.41").destination?.description == "10.244.1.2:8080", "affinity")
    #expect(try send("203.0.113.8", "172.30.0.41").destination?.description == "10.244.1.1:8080")
    #expect(try send("203.0.113.9", "172.30.0.41", tcp: false).fate == .dropped)
    #expect(try send("203.0.113.9", "172.30.0.42").fate == .rejected)
    let hostPort = try send("203.0.113.9", "192.168.0.2", port: 8080)
    #expect(hostPort.destination?.description == "10.244.1.2:80" && hostPort.fate == .accepted)
    for (from, port, tcp, input, fate) in [
      ("198.51.100.255", UInt16(80), true, "eth0", Trace.Fate.dropped), ("198.51.101.0", 80, true, "eth0", .accepted),
      ("192.0.2.10", 80, true, "eth0", .dropped), ("192.0.2.20", 80, true, "eth0", .dropped),
      ("192.0.2.21", 80, true, "eth0", .accepted), ("192.0.2.9", 80, true, "eth0", .accepted),
      ("10.1.1.1", 1000, true, "eth0", .dropped), ("10.1.1.1", 2001, true, "eth0", .accepted),
      ("11.1.1.1", 1000, true, "eth0", .accepted), ("11.1.1.1", 23, true, "eth0", .rejected),
      ("11.1.1.1", 2000, false, "eth0", .dropped), ("11.1.1.1", 2001, false, "eth0", .accepted),
      ("11.1.1.1", 80, true, "badge", .dropped), ("11.1.1.1", 80, true, "bd0", .accepted),
    ] {
      #expect(try send(from, "10.244.1.9", port: port, tcp: tcp, input: input).fate == fate, "\(from) \(port) \(input)")
    }
  }
}
