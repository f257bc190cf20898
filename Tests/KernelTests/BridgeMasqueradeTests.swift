import JSON
import Syscalls
import TestSupport
import Testing

/// `ipMasq` of the bridge plugin over each back end (contract cni §B2.2, §C 8–11; test-oracles §10, §11).
@Suite(.needsRoot) struct BridgeMasqueradeTests {
  typealias Backend = PortmapFixture.Backend

  /// The bridge configuration of the fixture with masquerading.
  func configuration(_ f: PortmapFixture, _ members: JSONValue = [:], subnets: [String] = Self.subnets) -> JSONValue {
    var o: JSONValue = ["isDefaultGateway": true, "ipMasq": true, "ipMasqBackend": .string(f.backend.name)]
    if case .object(var all) = o {
      for (name, value) in members.objectValue?.members ?? [] { all[name] = value }
      o = .object(all)
    }
    return f.bridge.configuration(o, version: "1.1.0", subnets: subnets)
  }
  static let subnets = ["10.1.2.0/24", "fd00:1::/64"]

  func call(
    _ command: String, _ f: PortmapFixture, _ configuration: JSONValue, _ pod: BridgeFixture.Pod,
    _ more: [String] = []
  ) throws -> BridgeFixture.Answer {
    try f.bridge.call(command, configuration, pod, environment: f.variant + more)
  }

  /// All rules of attachments.
  func rules(_ f: PortmapFixture) throws -> [String] {
    guard f.backend == .nftables else {
      return try (f.natRules("CNI-") + f.natRules("CNI-", family: "ip6")).filter { !$0.hasPrefix(":") }
    }
    let text = try f.host.run("/usr/sbin/nft", ["list", "chain", "inet", "cni_plugins_masquerade", "masq_checks"]).text
    return text.split(separator: "\n").map { $0.drop { $0 == "\t" } }.filter { $0.contains(" saddr ") }.map(String.init)
  }

  @Test(arguments: Backend.allCases) func connections(_ backend: Backend) throws {
    let f = try PortmapFixture("bmc", backend)
    let pod = try f.bridge.pod()
    let other = try f.bridge.pod()
    let config = configuration(f)
    let answer = try call("ADD", f, config, pod)
    #expect(answer.isSuccess, "\(answer.text)")
    let web = try Endpoint("web", stream: true, port: 80, in: f.outside)
    let web6 = try Endpoint("web6", .ipv6, stream: true, port: 8080, in: f.outside)
    #expect(try Client.connect("192.0.2.2", 80, from: pod.namespace) == "web 192.0.2.1")
    try f.awaitIPv6()
    #expect(try Client.connect("2001:db8::2", 8080, from: pod.namespace) == "web6 2001:db8::1")
    // Inside the subnet the pod's own address stays.
    #expect(try call("ADD", f, configuration(f, ["ipMasq": false]), other).isSuccess)
    let inner = try Endpoint("inner", stream: true, port: 80, in: other.namespace)
    #expect(try Client.connect("10.1.2.3", 80, from: pod.namespace) == "inner 10.1.2.2")

    var checked = config.objectValue ?? JSONObject()
    checked["prevResult"] = answer.json
    #expect(try call("CHECK", f, .object(checked), pod).isSuccess)
    let flush =
      backend == .nftables
      ? ["nft", "flush", "chain", "inet", "cni_plugins_masquerade", "masq_checks"]
      : [backend.rawValue, "-t", "nat", "-F", "POSTROUTING"]
    #expect(try f.host.run("/usr/sbin/\(flush[0])", Array(flush.dropFirst())).exit.isSuccess)
    let damaged = try call("CHECK", f, .object(checked), pod)
    #expect(damaged.code == 999 && damaged.message.contains("masquerading"), "\(damaged.text)")
    for _ in 0..<2 { #expect(try call("DEL", f, config, pod).isSuccess) }
    #expect(try rules(f).isEmpty)
    withExtendedLifetime((web, web6, inner)) {}
  }

  /// Texts as the reference leaves them.
  @Test func nftablesAsSpecified() throws {
    let f = try PortmapFixture("bmn", .nftables)
    var pod = try f.bridge.pod("one")
    let o = configuration(f, ["name": "unit-test"])
    pod.ifname = "eth0"
    #expect(try call("ADD", f, o, pod).isSuccess)
    #expect(
      try f.said("nft", "list", "table", "inet", "cni_plugins_masquerade") == """
        table inet cni_plugins_masquerade {
        \tcomment "Masquerading for plugins from github.com/containernetworking/plugins"
        \tchain masq_checks {
        \t\tcomment "Masquerade traffic from certain IPs to any (non-multicast) IP outside their subnet"
        \t\tip saddr 10.1.2.2 ip daddr != 10.1.2.0/24 masquerade comment "6fd94d501e58f0aa-287fc69eff0574a2, net: unit-test, if: eth0, id: one"
        \t\tip6 saddr fd00:1::2 ip6 daddr != fd00:1::/64 masquerade comment "6fd94d501e58f0aa-287fc69eff0574a2, net: unit-test, if: eth0, id: one"
        \t}

        \tchain postrouting {
        \t\ttype nat hook postrouting priority srcnat; policy accept;
        \t\tip daddr 224.0.0.0/4 return
        \t\tip6 daddr ff00::/8 return
        \t\tgoto masq_checks
        \t}
        }

        """)
    #expect(try call("DEL", f, o, pod).isSuccess)
    #expect(try f.said("nft", "list", "ruleset").contains("goto masq_checks"))
    #expect(try rules(f).isEmpty)
  }

  /// The same rules as Debian's plugin makes, and each removes those of the other.
  @Test(arguments: [Backend.iptablesNFT, .iptablesLegacy]) func debian(_ backend: Backend) throws {
    var saved: [[String]] = []
    for theirs in [true, false] {
      let f = try PortmapFixture("bmd", backend)
      let pod = try f.bridge.pod("same-id")
      let config = f.bridge.configuration(["isDefaultGateway": true, "ipMasq": true], subnets: Self.subnets)
      func call(_ command: String, theirs: Bool) throws {
        let bin = theirs ? "/usr/lib/cni" : f.bridge.bin
        let environment = f.bridge.environment(command, pod, f.variant + ["CNI_PATH=\(bin)"])
        let out = try f.host.run("\(bin)/bridge", environment: environment, input: config.bytes())
        guard out.exit.isSuccess else { throw TestFailure("bridge \(command): \(out.text)\(out.errorText)") }
      }
      try call("ADD", theirs: theirs)
      saved.append(try rules(f))
      try call("DEL", theirs: !theirs)
      #expect(try rules(f).isEmpty)
    }
    #expect(saved[0] == saved[1])
    #expect(saved[0].count == 6)
  }

  /// No namespace, no addresses: everything goes all the same (contract cni §C 9).
  @Test(arguments: Backend.allCases) func deleteWithoutNamespace(_ backend: Backend) throws {
    let f = try PortmapFixture("bmw", backend)
    let pod = try f.bridge.pod()
    #expect(try call("ADD", f, configuration(f), pod).isSuccess)
    #expect(try !rules(f).isEmpty)
    pod.namespace.remove()
    #expect(try call("DEL", f, configuration(f), pod, ["CNI_NETNS="]).isSuccess)
    #expect(try rules(f).isEmpty)
  }

  /// Two interfaces of one container in one network: DEL of one keeps the other's (contract cni §C 11).
  @Test(arguments: Backend.allCases) func twoInterfaces(_ backend: Backend) throws {
    let f = try PortmapFixture("bm2", backend)
    var pod = try f.bridge.pod()
    let config = configuration(f, subnets: ["10.1.2.0/24"])
    #expect(try call("ADD", f, config, pod).isSuccess)
    pod.ifname = "eth1"
    // The default route is there already.
    let second = configuration(f, ["isDefaultGateway": false], subnets: ["10.1.2.0/24"])
    let answer = try call("ADD", f, second, pod)
    #expect(answer.isSuccess, "\(answer.text)")
    pod.ifname = "eth0"
    #expect(try call("DEL", f, config, pod).isSuccess)
    let left = try rules(f)
    #expect(
      left.contains { $0.contains("10.1.2.3") }
        && !left.contains { $0.contains("10.1.2.2 ") || $0.contains("10.1.2.2/") })
    #expect(left.contains { $0.lowercased().contains("masquerade") })
    pod.ifname = "eth1"
    #expect(try call("DEL", f, second, pod).isSuccess)
    #expect(try rules(f).isEmpty)
  }

  /// An ADD that fails after its rules were made leaves none (contract cni §C 8).
  @Test(arguments: Backend.allCases) func undone(_ backend: Backend) throws {
    let f = try PortmapFixture("bmu", backend)
    let pod = try f.bridge.pod()
    // A route through an address that is nowhere: the container's configuration, the last step, is refused.
    let config = f.bridge.configuration(
      ["isGateway": true, "ipMasq": true, "ipMasqBackend": .string(backend.name), "macspoofchk": true],
      ipam: ["routes": [["dst": "192.168.0.0/16", "gw": "172.30.0.1"]]])
    let answer = try call("ADD", f, config, pod)
    #expect(answer.message.hasPrefix("failed to add route "), "\(answer.text)")
    #expect(try rules(f).isEmpty)
    #expect(try !f.said("nft", "list", "ruleset").contains("cni-br-iface"))
    #expect(f.bridge.reservations().isEmpty)
  }

  @Test(arguments: Backend.allCases) func garbage(_ backend: Backend) throws {
    let f = try PortmapFixture("bmg", backend)
    let pods = [try f.bridge.pod(), try f.bridge.pod()]
    let foreign = try f.bridge.pod("foreign")
    for pod in pods { #expect(try call("ADD", f, configuration(f), pod).isSuccess) }
    #expect(
      try call("ADD", f, configuration(f, ["name": "another", "bridge": "cni1"], subnets: ["10.9.0.0/24"]), foreign)
        .isSuccess)
    var config = configuration(f).objectValue ?? JSONObject()
    config["cni.dev/valid-attachments"] = [["containerID": .string(pods[1].id), "ifname": "eth0"]]
    let answer = try call("GC", f, .object(config), pods[0])
    #expect(answer.isSuccess, "\(answer.text)")
    let left = try rules(f)
    #expect(!left.contains { $0.contains("10.1.2.2") } && left.contains { $0.contains("10.1.2.3") })
    #expect(left.contains { $0.contains("10.9.0.2") })
  }
}
