import Glibc
import JSON
import Syscalls
import TestSupport
import Testing

/// The rules themselves: as the reference leaves them, repeated, damaged, left over, in the way of each other.
@Suite(.needsRoot) struct PortmapRuleTests {
  typealias Backend = PortmapFixture.Backend

  /// As captured from the reference plugin (captures/portmap-nftables-ruleset.txt, contract cni §B5).
  @Test func tableAsCaptured() throws {
    let f = try PortmapFixture("prc", .nftables)
    let pod = try f.pod("cnitool-e814646c1f09fccf34e0")
    let ports = ["18080:80/tcp", "127.0.0.1:18053:53/udp"]
    for _ in 0..<2 {
      try f.add(pod, ports)
      #expect(
        try f.table() == """
          table ip cni_hostport {
          \tcomment "CNI portmap plugin"
          \tchain hostports {
          \t\ttcp dport 18080 dnat to 10.1.2.2:80 comment "cnitool-e814646c1f09fccf34e0"
          \t\tip daddr 127.0.0.1 udp dport 18053 dnat to 10.1.2.2:53 comment "cnitool-e814646c1f09fccf34e0"
          \t}

          \tchain hostip_hostports {
          \t}

          \tchain hostports_all {
          \t\tjump hostip_hostports
          \t\tjump hostports
          \t}

          \tchain prerouting {
          \t\ttype nat hook prerouting priority dstnat; policy accept;
          \t\tfib daddr type local jump hostports_all
          \t}

          \tchain output {
          \t\ttype nat hook output priority -100; policy accept;
          \t\tfib daddr type local jump hostports_all
          \t}

          \tchain masquerading {
          \t\ttype nat hook postrouting priority srcnat; policy accept;
          \t\tip saddr 10.1.2.2 ip daddr 10.1.2.2 masquerade comment "cnitool-e814646c1f09fccf34e0"
          \t\tip saddr 127.0.0.1 ip daddr 10.1.2.2 masquerade comment "cnitool-e814646c1f09fccf34e0"
          \t}
          }

          """)
    }
    // What netlink wrote is what nft would have written: it loads its own print and prints the same.
    let printed = try f.said("nft", "-j", "list", "table", "ip6", "cni_hostport")
    #expect(printed.contains("fd00:1::2") && !printed.contains("18053"))
    try f.del(pod, ports)
    #expect(try f.table().contains("jump hostports_all"))
  }

  /// The rules that Debian's plugin makes are those that ours makes.
  @Test(arguments: [Backend.iptablesNFT, .iptablesLegacy]) func sameAsDebian(_ backend: Backend) throws {
    var saved: [[String]] = []
    for theirs in [true, false] {
      let f = try PortmapFixture("prd", backend)
      let pod = try f.pod("same-id")
      let ports = ["18080:80/tcp", "18053:53/udp", "192.0.2.9:18443:443/tcp"] + (1...20).map { "\(20000 + $0):9/tcp" }
      if theirs {
        try debian("ADD", f, pod, ports)
      } else {
        try f.add(pod, ports)
      }
      // `ip6tables-legacy -C` of Debian 12 finds rules that are not there, and Debian's plugin leaves some out.
      let families = backend == .iptablesLegacy ? ["ip"] : ["ip", "ip6"]
      saved.append(try families.flatMap { try f.natRules("-", family: $0) }.filter { $0.hasPrefix("-A") })
    }
    // The common jumps and chains come in another order.
    #expect(saved[0].sorted() == saved[1].sorted())
    #expect(saved[0].filter { $0.contains("-A CNI-DN") } == saved[1].filter { $0.contains("-A CNI-DN") })
    #expect(saved[0].count > 70)
  }

  static let debianPlugin = "/usr/lib/cni/portmap"

  func debian(_ command: String, _ f: PortmapFixture, _ pod: BridgeFixture.Pod, _ ports: [String]) throws {
    let environment = f.bridge.environment(command, pod, f.variant)
    let out = try f.host.run(
      Self.debianPlugin, environment: environment, input: f.configuration(pod, ports).bytes())
    guard out.exit.isSuccess else { throw TestFailure("Debian's portmap \(command): \(out.text)\(out.errorText)") }
  }

  /// Each removes what the other made.
  @Test(arguments: [Backend.iptablesNFT, .iptablesLegacy], [true, false])
  func deletedByTheOther(_ backend: Backend, _ oursFirst: Bool) throws {
    let f = try PortmapFixture("pro", backend)
    let pod = try f.pod()
    let kept = try f.pod()
    let ports = ["18080:80/tcp", "18053:53/udp"]
    try f.add(kept, ["19999:80/tcp"])
    if oursFirst { try f.add(pod, ports) } else { try debian("ADD", f, pod, ports) }
    #expect(try f.natRules("18080").count == 4)
    if oursFirst { try debian("DEL", f, pod, ports) } else { try f.del(pod, ports) }
    #expect(try f.natRules("18080").isEmpty && f.natRules("18080", family: "ip6").isEmpty)
    for family in ["ip", "ip6"] {
      #expect(try f.natRules(":CNI-DN-", family: family).count == 1)
      #expect(try f.natRules("19999", family: family).count == (family == "ip" ? 4 : 3))
    }
    // Ours beside theirs doubles nothing.
    try debian("ADD", f, pod, ports)
    try f.add(pod, ports)
    #expect(try f.natRules("18080").count == 4)
    for chain in ["-j CNI-HOSTPORT-DNAT", "-j CNI-HOSTPORT-MASQ"] {
      #expect(try f.natRules(chain).count == (chain.hasSuffix("DNAT") ? 2 : 1))
    }
    #expect(try f.natRules("-A CNI-HOSTPORT-SETMARK").count == 1)
  }

  /// DEL finds rules whichever program the host used for them, twice, and without anything but the id.
  @Test(arguments: Backend.allCases) func deleteIsThorough(_ backend: Backend) throws {
    let f = try PortmapFixture("prt", backend)
    let pod = try f.pod()
    try f.add(pod, ["18080:80/tcp"])
    #expect(try !f.rules(of: pod).isEmpty)
    let bare: JSONValue = ["cniVersion": "0.3.1", "name": .string(f.bridge.network), "type": "portmap"]
    for _ in 0..<2 {
      // With the usual PATH, where iptables is the other variant, and another back end.
      let answer = try f.bridge.call("DEL", bare, pod, plugin: "portmap", environment: ["CNI_NETNS="])
      #expect(answer.isSuccess, "\(answer.text)")
      #expect(try f.rules(of: pod).isEmpty)
    }
  }

  /// What old releases left: rules with a host address in a chain of their own, and a chain for masquerading.
  @Test func obsoleteChains() throws {
    let f = try PortmapFixture("prl", .nftables)
    let pod = try f.pod()
    try f.add(pod, ["18080:80/tcp"])
    for arguments in [
      [
        "add", "rule", "ip", "cni_hostport", "hostip_hostports", "ip", "daddr", "192.0.2.1", "tcp", "dport", "1",
        "dnat",
        "to", "10.1.2.2:1", "comment", "\"\(pod.id)\"",
      ]
    ] { #expect(try f.host.run("/usr/sbin/nft", arguments).exit.isSuccess) }
    // The name that the old releases gave the chain of this container.
    let chain = "CNI-SN-\(try chainHash(f.bridge.network + pod.id))"
    for arguments in [["-N", chain], ["-A", chain, "-j", "RETURN"], ["-A", "POSTROUTING", "-j", chain]] {
      #expect(try f.host.run("/usr/sbin/iptables", ["-t", "nat"] + arguments).exit.isSuccess)
    }
    try f.del(pod, ["18080:80/tcp"])
    #expect(try f.rules(of: pod).isEmpty)
    #expect(try !f.said("iptables-save", "-t", "nat").contains("CNI-SN"))
  }

  /// The digits of a chain's name, by the oracle.
  func chainHash(_ text: String) throws -> String {
    let out = try ChildProcess.run("/usr/bin/sha512sum", input: Array(text.utf8))
    return String(out.text.prefix(21))
  }

  @Test(arguments: Backend.allCases) func checkAfterTampering(_ backend: Backend) throws {
    let f = try PortmapFixture("prk", backend)
    let pod = try f.pod()
    let ports = ["18080:80/tcp", "18081:81/tcp"]
    #expect(try f.call("CHECK", pod, ports).code == 999)
    let tampering: [[String]] =
      switch backend {
      case .nftables:
        [
          ["nft", "flush", "chain", "ip", "cni_hostport", "hostports"],
          ["nft", "flush", "chain", "ip6", "cni_hostport", "hostports"],
          ["nft", "flush", "chain", "ip", "cni_hostport", "masquerading"],
          ["nft", "flush", "chain", "ip", "cni_hostport", "prerouting"],
          ["nft", "flush", "chain", "ip", "cni_hostport", "hostports_all"],
        ]
      default:
        [
          ["-F", "CNI-HOSTPORT-DNAT"], ["-F", "CNI-HOSTPORT-SETMARK"], ["-F", "CNI-HOSTPORT-MASQ"],
          ["-F", "PREROUTING"], ["-F", "OUTPUT"], ["-F", "POSTROUTING"],
          ["-D", "CNI-DN-\(try chainHash(f.bridge.network + pod.id))", "3"],
        ].map { [backend.rawValue, "-t", "nat"] + $0 }
      }
    for command in tampering {
      try f.add(pod, ports)
      #expect(try f.call("CHECK", pod, ports).isSuccess)
      #expect(try f.host.run("/usr/sbin/\(command[0])", Array(command.dropFirst())).exit.isSuccess)
      let answer = try f.call("CHECK", pod, ports)
      #expect(answer.code == 999 && answer.message.contains("missing"), "\(command): \(answer.text)")
    }
    // ADD again puts all of it right.
    try f.add(pod, ports)
    #expect(try f.call("CHECK", pod, ports).isSuccess)
  }

  /// The port of a container that is there is refused, naming the container; that of one that is gone is taken over.
  @Test(arguments: Backend.allCases) func portInUse(_ backend: Backend) throws {
    let f = try PortmapFixture("pri", backend)
    let old = try f.pod("the-old-one")
    let new = try f.pod()
    let ports = ["18080:80/tcp"]
    try f.add(old, ports)
    let before = try f.rules(of: old)
    let answer = try f.call("ADD", new, ports)
    #expect(answer.code == 11)
    #expect(
      answer.message
        == "host tcp port 18080 is in use by container the-old-one (10.1.2.2): only one container can have it")
    #expect(try f.rules(of: old) == before)
    // Another protocol and another address are other ports.
    try f.add(new, ["18080:80/udp"])
    // Gone without DEL.
    old.namespace.remove()
    while try f.bridge.hostLinks().filter({ $0.hasPrefix("veth") }).count > 1 { usleep(10_000) }
    try f.add(new, ports)
    let web = try Endpoint("new", stream: true, port: 80, in: new.namespace)
    #expect(try Client.connect("192.0.2.1", 18080, from: f.outside) == "new 192.0.2.2")
    // Its DEL, which comes late, takes nothing from the new one.
    try f.del(old, ports)
    #expect(try Client.connect("192.0.2.1", 18080, from: f.outside) == "new 192.0.2.2")
    withExtendedLifetime(web) {}
  }

  /// GC removes what belongs to nobody, and nothing of a container that is there.
  @Test(arguments: Backend.allCases) func garbage(_ backend: Backend) throws {
    let f = try PortmapFixture("prg", backend)
    let pods = [try f.pod(), try f.pod(), try f.pod()]
    for (i, pod) in pods.enumerated() { try f.add(pod, ["\(18080 + i):80/tcp"]) }
    pods[1].namespace.remove()
    while try f.bridge.hostLinks().filter({ $0.hasPrefix("veth") }).count > 2 { usleep(10_000) }
    let valid: JSONValue = [["containerID": .string(pods[0].id), "ifname": "eth0"]]
    let members: JSONValue = ["cniVersion": "1.1.0", "cni.dev/valid-attachments": valid, "prevResult": .null]
    let answer = try f.call("GC", pods[0], [], members)
    #expect(answer.isSuccess, "\(answer.text)")
    let left = try f.rules(of: pods[0]) + f.rules(of: pods[1]) + f.rules(of: pods[2])
    func count(_ port: Int) -> Int { left.count { $0.contains("dport \(port)") } }
    #expect(count(18080) > 0 && count(18081) == 0)
    // iptables tells the network of a rule, so that it is known to be invalid; the comment in nftables does not, and the
    // container is there.
    #expect((count(18082) > 0) == (backend == .nftables))
  }

  /// Two interfaces of one container: DEL of one keeps the ports of the other (contract cni §C 18).
  @Test func twoInterfaces() throws {
    let f = try PortmapFixture("pr2", .nftables)
    var pod = try f.pod()
    try f.add(pod, ["18080:80/tcp"])
    let first = f.configuration(pod, ["18080:80/tcp"])
    pod.ifname = "eth1"
    try f.attach(pod)
    try f.add(pod, ["18081:80/tcp"])
    #expect(try f.table().contains("dnat to 10.1.2.2:80") && f.table().contains("dnat to 10.1.2.3:80"))
    pod.ifname = "eth0"
    let answer = try f.bridge.call("DEL", first, pod, plugin: "portmap")
    #expect(answer.isSuccess)
    #expect(try !f.table().contains("dnat to 10.1.2.2:80") && f.table().contains("dnat to 10.1.2.3:80"))
    #expect(try f.table().contains("ip saddr 127.0.0.1 ip daddr 10.1.2.3 masquerade"))
  }

  /// Without mappings there is nothing to do, and nothing is started: there is no PATH to find a program in.
  @Test func nothingToMap() throws {
    let f = try PortmapFixture("prn", .nftables)
    let pod = try f.pod()
    let plain: JSONValue = ["backend": .null]
    for command in ["ADD", "CHECK", "DEL"] {
      let out = try f.bridge.call(
        command, f.configuration(pod, [], plain), pod, plugin: "portmap", environment: ["PATH=/nowhere"])
      #expect(out.isSuccess, "\(out.text)")
    }
    #expect(try f.said("nft", "list", "ruleset").isEmpty)
    var config = f.configuration(pod, []).objectValue ?? JSONObject()
    config["prevResult"] = nil
    #expect(
      try f.bridge.call("ADD", .object(config), pod, plugin: "portmap").message == "must be called as chained plugin")
    #expect(
      try f.bridge.call("CHECK", .object(config), pod, plugin: "portmap").message == "Required prevResult missing")
  }

  /// The result before is passed on in the version of the list; the oldest ones do not name interfaces.
  @Test(arguments: ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"])
  func everyVersion(_ version: String) throws {
    let f = try PortmapFixture("prv", .nftables)
    let pod = try f.pod()
    let isOld = version < "0.3.0"
    let result: JSONValue =
      isOld
      ? ["cniVersion": .string(version), "ip4": ["ip": "10.1.2.2/24"], "dns": [:]]
      : ["cniVersion": .string(version), "ips": [["version": "4", "address": "10.1.2.2/24"]]]
    let members: JSONValue = ["cniVersion": .string(version), "prevResult": result]
    let answer = try f.call("ADD", pod, ["18080:80/tcp"], members)
    #expect(answer.isSuccess, "\(answer.text)")
    #expect(answer.json.objectValue?["cniVersion"] == .string(version))
    #expect(answer.text.contains("10.1.2.2/24"))
    #expect(try f.rules(of: pod).contains { $0.contains("dnat to 10.1.2.2:80") })
    if version >= "0.4.0" { #expect(try f.call("CHECK", pod, ["18080:80/tcp"], members).isSuccess) }
    if version == "1.1.0" {
      #expect(try f.call("STATUS", pod, [], members).isSuccess)
      #expect(try f.call("STATUS", pod, [], ["cniVersion": "1.1.0", "backend": "x"]).code == 50)
    }
    try f.del(pod, [], members)
    #expect(try f.rules(of: pod).isEmpty)
  }
}
