import Glibc
import JSON
import NetTypes
import Netlink
import Syscalls
import TestSupport
import Testing

/// The agent's packet filter rules, with the system's tools as oracle (contract flanneld §10, §11, §19.20–24).
@Suite(.needsRoot) struct AgentRulesTests {
  /// What flanneld leaves in iptables, word for word (contract test-oracles §4.2).
  @Test(arguments: [RuleMode.iptablesNFT, .iptablesLegacy]) func iptablesAsCaptured(_ mode: RuleMode) throws {
    let n = try RuleNode(mode)
    defer { n.remove() }
    for (family, network, multicast) in [
      (AddressFamily.ipv4, "10.244.0.0/16", "224.0.0.0/4"), (.ipv6, "fd00:10:244::/56", "ff00::/8"),
    ] {
      let pods = try n.pods(family)
      let masq = #"-m comment --comment "flanneld masq" -j"#
      let forward = #"-m comment --comment "flanneld forward" -j"#
      #expect(
        try n.iptables("nat", family).filter { $0.contains("FLANNEL") } == [
          "-N FLANNEL-POSTRTG", "-A POSTROUTING \(masq) FLANNEL-POSTRTG",
          "-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 \(masq) RETURN",
          "-A FLANNEL-POSTRTG -s \(pods) -d \(network) \(masq) RETURN",
          "-A FLANNEL-POSTRTG -s \(network) -d \(pods) \(masq) RETURN",
          "-A FLANNEL-POSTRTG ! -s \(network) -d \(pods) \(masq) RETURN",
          "-A FLANNEL-POSTRTG -s \(network) ! -d \(multicast) \(masq) MASQUERADE --random-fully",
          "-A FLANNEL-POSTRTG ! -s \(network) -d \(network) \(masq) MASQUERADE --random-fully",
        ])
      #expect(
        try n.iptables("filter", family) == [
          "-P INPUT ACCEPT", "-P FORWARD ACCEPT", "-P OUTPUT ACCEPT", "-N FLANNEL-FWD",
          "-A FORWARD \(forward) FLANNEL-FWD", "-A FLANNEL-FWD -s \(network) \(forward) ACCEPT",
          "-A FLANNEL-FWD -d \(network) \(forward) ACCEPT",
        ])
    }
  }

  /// What flanneld leaves in nf_tables but for two lines, which are as iptables mode has them.
  @Test func nftablesAsCaptured() throws {
    let n = try RuleNode(.nftables)
    defer { n.remove() }
    for (family, table, network, multicast) in [
      ("ip", "flannel-ipv4", "10.244.0.0/16", "224.0.0.0/4"), ("ip6", "flannel-ipv6", "fd00:10:244::/56", "ff00::/8"),
    ] {
      let pods = try n.pods(family == "ip" ? .ipv4 : .ipv6)
      #expect(
        try n.sh("nft", "list", "table", family, table) == """
          table \(family) \(table) {
          	comment "rules for \(table)"
          	chain postrtg {
          		comment "chain to manage traffic masquerading by flannel"
          		type nat hook postrouting priority srcnat; policy accept;
          		meta mark & 0x00004000 == 0x00004000 return
          		\(family) saddr \(pods) \(family) daddr \(network) return
          		\(family) saddr \(network) \(family) daddr \(pods) return
          		\(family) saddr != \(network) \(family) daddr \(pods) return
          		\(family) saddr \(network) \(family) daddr != \(multicast) masquerade fully-random
          		\(family) saddr != \(network) \(family) daddr \(network) masquerade fully-random
          	}

          	chain forward {
          		comment "chain to accept flannel traffic"
          		type filter hook forward priority filter; policy accept;
          		\(family) saddr \(network) accept
          		\(family) daddr \(network) accept
          	}
          }

          """)
    }
  }

  /// Whatever is taken away, added to or changed in our chains is put right.
  @Test(arguments: RuleMode.allCases) func repairs(_ mode: RuleMode) throws {
    let n = try RuleNode(mode)
    defer { n.remove() }
    let before = try n.rules()
    let damages: [[String]]
    if mode == .nftables {
      damages = [
        ["nft", "flush ruleset"], ["nft", "delete table ip flannel-ipv4"],
        ["nft", "flush chain ip flannel-ipv4 postrtg"], ["nft", "insert rule ip flannel-ipv4 postrtg accept"],
        ["nft", "add rule ip6 flannel-ipv6 forward drop"],
        ["nft", "add chain ip flannel-ipv4 forward { policy drop; }"],
        ["nft", "add table ip flannel-ipv4 { flags dormant; }"],
      ]
    } else {
      let tool = "iptables-\(mode.variant)"
      damages = [
        [tool, "-t", "nat", "-F"], [tool, "-F"], [tool, "-t", "nat", "-D", "FLANNEL-POSTRTG", "3"],
        [tool, "-t", "nat", "-D", "POSTROUTING", "1"], [tool, "-I", "FLANNEL-FWD", "-j", "DROP"],
        ["ip6\(tool.dropFirst(2))", "-t", "nat", "-F", "FLANNEL-POSTRTG"],
        [
          tool, "-t", "nat", "-A", "POSTROUTING", "-m", "comment", "--comment", "flanneld masq", "-j",
          "FLANNEL-POSTRTG",
        ],
      ]
    }
    for damage in damages {
      let words = damage.first == "nft" ? ["nft", damage[1]] : damage
      let out = try n.node.run("/usr/sbin/\(words[0])", Array(words.dropFirst()))
      #expect(out.exit.isSuccess, "\(words): \(out.errorText)")
      try eventually("\(words) repaired:\n\(try n.rules())\n\(n.agent.log)") { try n.rules() == before }
    }
  }

  /// Rules of docker, ufw and kube-proxy keep their place and their content, whatever is repaired; ours stay behind them.
  @Test(arguments: [RuleMode.iptablesNFT, .iptablesLegacy]) func foreignRulesStay(_ mode: RuleMode) throws {
    let n = try RuleNode(mode)
    defer { n.remove() }
    let foreign = """
      *filter
      :FORWARD DROP [0:0]
      :DOCKER-USER - [0:0]
      :ufw-before-forward - [0:0]
      :KUBE-FORWARD - [0:0]
      -I FORWARD 1 -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
      -I FORWARD 1 -j DOCKER-USER
      -A FORWARD -j ufw-before-forward
      -A DOCKER-USER -j RETURN
      -A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT
      COMMIT
      *nat
      :KUBE-POSTROUTING - [0:0]
      -I POSTROUTING 1 -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
      -A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
      -A KUBE-POSTROUTING -j MASQUERADE
      -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
      COMMIT

      """
    let out = try n.node.run(
      "/usr/sbin/iptables-\(mode.variant)-restore", ["--noflush"], input: Array(foreign.utf8))
    #expect(out.exit.isSuccess, "\(out.errorText)")
    let before = try n.iptables("filter") + n.iptables("nat")
    #expect(before.contains("-P FORWARD DROP"))
    try n.sh("iptables-\(mode.variant)", "-t", "nat", "-F", "FLANNEL-POSTRTG")
    try n.sh("iptables-\(mode.variant)", "-F", "FLANNEL-FWD")
    try eventually("repaired\n\(n.agent.log)") { try n.iptables("filter") + n.iptables("nat") == before }
    // A flush as firewalld does it: our jump comes back behind what is there then.
    try n.sh("iptables-\(mode.variant)", "-F", "FORWARD")
    try n.sh("iptables-\(mode.variant)", "-A", "FORWARD", "-j", "DOCKER-USER")
    try eventually("the jump is back\n\(n.agent.log)") {
      try n.iptables("filter").filter { $0.hasPrefix("-A FORWARD") }.contains { $0.contains("FLANNEL-FWD") }
    }
    #expect(try n.iptables("filter").contains("-A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT"))
  }

  /// From one mode to the next: nothing of the mode before is left.
  @Test func switchingModes() throws {
    let n = try RuleNode(.iptablesNFT)
    defer { n.remove() }
    for mode in [RuleMode.nftables, .iptablesLegacy, .iptablesNFT, .nftables] {
      try n.restart(mode)
      #expect(try n.rules().count > 12, "\(mode)")
      for other in RuleMode.allCases where other != mode {
        let text: String
        switch other {
        case .nftables:
          text = try n.sh("nft", "list", "tables").split(separator: "\n").filter { $0.contains("flannel") }.joined()
        default:
          text = try ["iptables", "ip6tables"].map { try n.sh("\($0)-\(other.variant)-save") }.joined()
            .split(separator: "\n").filter { $0.contains("FLANNEL") }.joined(separator: "\n")
        }
        #expect(text.isEmpty, "after \(mode), \(other) still has:\n\(text)\n\(n.agent.log)")
      }
    }
  }

  /// Connections made while the agent is killed and started again are masqueraded, every one.
  @Test(arguments: RuleMode.allCases) func noGapOverRestarts(_ mode: RuleMode) throws {
    let n = try RuleNode(mode)
    defer { n.remove() }
    // A pod with an address of the node, and the world behind the underlay's router address.
    let pods = try #require(IPPrefix(try n.pods(.ipv4)))
    let pod = try TestNamespace("pod")
    let (podAddress, gateway) = (
      "\(try #require(pods.base.advanced(by: 9)))", "\(try #require(pods.base.advanced(by: 1)))"
    )
    try pod.ipBatch(
      "link add eth0 type veth peer name p0 netns \(n.node.name)\naddr add \(podAddress)/24 dev eth0\nlink set eth0 up\n"
        + "route add default via \(gateway)")
    try n.node.ipBatch("addr add \(gateway)/24 dev p0\nlink set p0 up")
    _ = try n.node.run("/usr/sbin/sysctl", ["-qw", "net.ipv4.ip_forward=1"])
    try n.cluster.lan.ipBatch("addr add 172.31.77.1/24 dev lan")
    let receiver = try UDPProbe(in: n.cluster.lan, port: 9)
    for round in 0..<3 {
      try n.agent.stop(SIGKILL)
      let log = n.agent.log.count
      try n.agent.start()
      for _ in 0..<400 {
        try UDPProbe(in: pod, port: 0).send("172.31.77.1", 9)
        Clock.sleep(nanoseconds: 500_000)
      }
      try eventually("round \(round): ready again\n\(n.agent.log)") {
        n.agent.log.dropFirst(log).contains("flannel is ready")
      }
    }
    let sources = receiver.sources()
    #expect(sources.count > 1000, "packets arrive: \(sources.count)")
    #expect(Set(sources) == ["172.31.77.11"], "all from the node's address")
  }

  /// Without iptables the agent says what is missing and what can be done; nothing is half-done.
  @Test func missingIptables() throws {
    let cluster = try TestCluster(nodes: 1, configuration: RuleNode.configuration(.iptablesNFT))
    defer { cluster.remove() }
    let agent = try cluster.agent(0, flags: ["--ip-masq"], rules: true, path: "/nonexistent")
    #expect(try agent.wait() == .status(1))
    #expect(
      agent.log.contains(#"iptables-restore is not in PATH: install iptables, or set "EnableNFTables": true"#),
      "\(agent.log)")
    #expect(!Files.exists(agent.subnetFile), "no pod gets an address that cannot reach the world")
  }

  /// An iptables from before 1.6.2: the same rules without random ports, and a warning.
  @Test func oldIptables() throws {
    let programs = try TemporaryDirectory("old")
    for name in ["iptables", "ip6tables"] {
      try programs.write(
        """
        #!/bin/sh
        [ "$1" = --version ] && exec /usr/sbin/\(name)-nft-restore --version
        input=$(/usr/bin/cat)
        case "$input" in *--random-fully*)
          echo '\(name)-restore v1.6.1: unknown option "--random-fully"' >&2
          echo 'Error occurred at line: 7' >&2
          exit 2
        esac
        echo "$input" | /usr/sbin/\(name)-nft-restore "$@"

        """, to: "\(name)-restore", mode: 0o755)
    }
    let cluster = try TestCluster(nodes: 1, configuration: RuleNode.configuration(.iptablesNFT))
    defer { cluster.remove() }
    let agent = try cluster.agent(0, flags: ["--ip-masq"], rules: true, path: programs.path)
    defer { _ = try? agent.stop(SIGKILL) }
    try eventually("ready\n\(agent.log)") { agent.log.contains("flannel is ready") }
    #expect(agent.log.contains("source ports cannot be chosen at random here (random-fully)"), "\(agent.log)")
    for name in ["iptables", "ip6tables"] {
      let out = try cluster.nodes[0].run("/usr/sbin/\(name)-nft", ["-t", "nat", "-S", "FLANNEL-POSTRTG"])
      let rules = out.text.split(separator: "\n")
      #expect(rules.count == 7 && rules.count { $0.hasSuffix("-j MASQUERADE") } == 2, "\(out.text)")
    }
  }

  /// A table that another program owns is left alone; the error names it, and the rules come when it is gone.
  @Test func ownedTable() throws {
    let cluster = try TestCluster(nodes: 1, configuration: RuleNode.configuration(.nftables))
    defer { cluster.remove() }
    var owner: NftSocket? = try NftSocket(in: cluster.nodes[0].open())
    var batch = NftBatch()
    batch.add(NftTable(NftTable.ID(.ipv4, "flannel-ipv4"), flags: 2))
    try owner?.commit(batch)
    let agent = try cluster.agent(0, flags: ["--ip-masq"], rules: true)
    #expect(try agent.wait() == .status(1))
    #expect(agent.log.contains("table ip flannel-ipv4 is owned by another program"), "\(agent.log)")
    owner = nil
    try agent.start()
    try eventually("ready\n\(agent.log)") { agent.log.contains("flannel is ready") }
  }

  /// The black hole stands behind the bridge's route, is repaired, and goes when it is not asked for any more.
  @Test func blackhole() throws {
    let n = try RuleNode(.nftables, flags: RuleNode.flags + ["--ip-blackhole-route"])
    defer { n.remove() }
    let (v4, v6) = (try n.pods(.ipv4), try n.pods(.ipv6))
    func there() throws -> Bool {
      try n.node.lines("route", "show", "type", "blackhole").contains { $0.contains(v4) }
        && n.node.lines("-6", "route", "show", "type", "blackhole").contains { $0.contains(v6) }
    }
    try eventually("black holes") { try there() }
    try n.node.ipBatch("route del blackhole \(v4) metric 1024")
    try eventually("repaired\n\(n.agent.log)") { try there() }
    let gateway = "\(try #require(IPPrefix(v4)?.base.advanced(by: 1)))/24"
    try n.node.ipBatch("link add cni0 type bridge\naddr add \(gateway) dev cni0\nlink set cni0 up")
    #expect(try there())
    let pod = "\(try #require(IPPrefix(v4)?.base.advanced(by: 7)))"
    #expect(try n.node.lines("route", "get", pod).first?.contains("dev cni0") == true, "pods are reached all the same")
    try n.restart(.nftables)
    try eventually("gone\n\(n.agent.log)") { try !there() }
  }
}

/// A UDP socket in a namespace.
private final class UDPProbe {
  private let descriptor: FileDescriptor

  init(in namespace: TestNamespace, port: UInt16) throws {
    let number = try namespace.open().run { () throws(SystemError) in
      try retrying("socket") { socket(AF_INET, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0) }
    }
    descriptor = FileDescriptor(adopting: number)
    var size: Int32 = 4 << 20
    _ = setsockopt(number, SOL_SOCKET, SO_RCVBUF, &size, 4)
    guard port != 0 else { return }
    var a = Self.address("0.0.0.0", port)
    let rc = withUnsafePointer(to: &a) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(number, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    guard rc == 0 else { throw SystemError("bind") }
  }

  func send(_ to: String, _ port: UInt16) {
    var a = Self.address(to, port)
    withUnsafePointer(to: &a) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        _ = sendto(descriptor.number, "x", 1, 0, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
  }

  /// The senders of everything that has arrived.
  func sources() -> [String] {
    var out: [String] = []
    var byte: UInt8 = 0
    var a = sockaddr_in()
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    while withUnsafeMutablePointer(
      to: &a,
      {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { recvfrom(descriptor.number, &byte, 1, 0, $0, &size) }
      }) > 0
    {
      out.append("\(IPAddress(.ipv4, UInt128(UInt32(bigEndian: a.sin_addr.s_addr))))")
    }
    return out
  }

  private static func address(_ text: String, _ port: UInt16) -> sockaddr_in {
    var a = sockaddr_in()
    a.sin_family = sa_family_t(AF_INET)
    a.sin_port = port.bigEndian
    if let ip = IPAddress(text) { a.sin_addr.s_addr = UInt32(truncatingIfNeeded: ip.value).bigEndian }
    return a
  }
}
