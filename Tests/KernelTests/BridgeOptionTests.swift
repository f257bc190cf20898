import Glibc
import JSON
import Syscalls
import TestSupport
import Testing

/// Single options of the bridge plugin on the real kernel (test oracles §10).
@Suite(.needsRoot) struct BridgeOptionTests {
  /// The options of the host end as a bridge port.
  func port(_ f: BridgeFixture, _ name: String) -> JSONObject? {
    f.link(name)?["linkinfo"]?.objectValue?["info_slave_data"]?.objectValue
  }

  @Test func existingBridgeIsKept() throws {
    let f = try BridgeFixture("boe")
    try f.host.ip("link", "add", "cni0", "type", "bridge")
    let index = f.link("cni0")?["ifindex"]
    let pod = try f.pod()
    #expect(try f.add(f.configuration(), pod).isSuccess)
    #expect(f.link("cni0")?["ifindex"] == index)
    #expect(f.link("cni0")?["promiscuity"]?.intValue == 0)
    #expect(f.link("cni0")?["flags"]?.arrayValue?.contains("UP") == true)
    #expect(try f.addresses("cni0").isEmpty)
    #expect(try f.parameter("ipv6/conf/cni0/accept_ra") == "0")
  }

  @Test func portOptions() throws {
    let f = try BridgeFixture("bop")
    let plain = ResultView(try f.add(f.configuration(), f.pod()).json)
    let special = ResultView(
      try f.add(f.configuration(["hairpinMode": true, "portIsolation": true]), f.pod()).json)
    #expect(port(f, plain.name(1))?["hairpin"]?.boolValue == false)
    #expect(port(f, plain.name(1))?["isolated"]?.boolValue == false)
    #expect(port(f, special.name(1))?["hairpin"]?.boolValue == true)
    #expect(port(f, special.name(1))?["isolated"]?.boolValue == true)
    #expect(try f.parameter("ipv6/conf/\(special.name(1))/accept_ra") == "0")
  }

  @Test func promiscuous() throws {
    let f = try BridgeFixture("bom")
    #expect(try f.add(f.configuration(), f.pod()).isSuccess)
    #expect(f.link("cni0")?["flags"]?.arrayValue?.contains("PROMISC") == false)
    let config = f.configuration(["promiscMode": true])
    let pod = try f.pod()
    let result = try f.add(config, pod)
    #expect(result.isSuccess)
    #expect(f.link("cni0")?["flags"]?.arrayValue?.contains("PROMISC") == true)
    #expect(try f.check(config, pod, after: result.json).isSuccess)
    try f.host.ip("link", "set", "cni0", "promisc", "off")
    #expect(try f.check(config, pod, after: result.json).message.contains("configured Promisc Mode true"))
  }

  @Test func macOfTheBridgeIsStable() throws {
    let f = try BridgeFixture("bob")
    let config = f.configuration(["isGateway": true])
    let pods = try (0..<4).map { _ in try f.pod() }
    var seen: Set<String> = []
    for p in pods {
      seen.insert(ResultView(try f.add(config, p).json).mac(0))
      seen.insert(f.link("cni0")?["address"]?.stringValue ?? "")
    }
    for p in pods.reversed() {
      #expect(try f.del(config, p).isSuccess)
      seen.insert(f.link("cni0")?["address"]?.stringValue ?? "")
    }
    #expect(seen.count == 1)
  }

  /// A bridge made by somebody else takes the lowest MAC of its ports until its address is set.
  @Test func macOfAForeignBridgeIsPinned() throws {
    let f = try BridgeFixture("bof")
    try f.host.ip("link", "add", "cni0", "type", "bridge")
    let config = f.configuration(["isGateway": true])
    let first = try f.pod()
    let mac = ResultView(try f.add(config, first).json).mac(0)
    #expect(try f.add(config, f.pod(), environment: ["CNI_ARGS=IgnoreUnknown=1;MAC=02:00:00:00:00:01"]).isSuccess)
    #expect(try f.del(config, first).isSuccess)
    #expect(f.link("cni0")?["address"]?.stringValue == mac)
  }

  @Test func containerMAC() throws {
    let f = try BridgeFixture("boc")
    let args: JSONValue = ["cni": ["mac": "02:00:00:00:00:02"]]
    let runtime: JSONValue = ["mac": "02:00:00:00:00:03"]
    let cases: [(JSONValue, String)] = [
      ([:], "01"), (["args": args], "02"), (["args": args, "runtimeConfig": runtime], "03"),
    ]
    for (members, wanted) in cases {
      let pod = try f.pod()
      let answer = try f.add(
        f.configuration(members), pod, environment: ["CNI_ARGS=IgnoreUnknown=1;MAC=02:00:00:00:00:01"])
      #expect(ResultView(answer.json).mac(2) == "02:00:00:00:00:\(wanted)")
      #expect(f.link("eth0", in: pod.namespace)?["address"]?.stringValue == "02:00:00:00:00:\(wanted)")
    }
  }

  @Test func containerParameters() throws {
    let f = try BridgeFixture("bok")
    let pod = try f.pod()
    _ = try pod.namespace.run("/bin/bash", ["-c", "echo 1 | tee /proc/sys/net/ipv6/conf/*/disable_ipv6"])
    let config = f.configuration(["isGateway": true], subnets: ["10.1.2.0/24", "fd00::/64"])
    let answer = try f.add(config, pod)
    #expect(answer.isSuccess, "\(answer.text)")
    for (key, value) in [
      ("ipv6/conf/eth0/accept_dad", "0"), ("ipv4/conf/eth0/arp_notify", "1"), ("ipv6/conf/eth0/disable_ipv6", "0"),
      ("ipv6/conf/lo/disable_ipv6", "0"), ("ipv6/conf/eth0/keep_addr_on_down", "1"),
    ] { #expect(try f.parameter(key, in: pod.namespace) == value, "\(key)") }
    try pod.namespace.ip("link", "set", "eth0", "down")
    #expect(try f.addresses("eth0", in: pod.namespace).contains("fd00::2/64"))
  }

  /// With detection the ADD ends when the address is usable, and another owner of it makes it fail.
  @Test func duplicateAddressDetection() throws {
    let f = try BridgeFixture("bod")
    let config = f.configuration(["isGateway": true, "enabledad": true], subnets: ["fd00::/64"])
    let first = try f.pod()
    #expect(try f.add(config, first).isSuccess)
    #expect(try f.parameter("ipv6/conf/eth0/accept_dad", in: first.namespace) == "1")
    #expect(try f.parameter("ipv6/conf/eth0/enhanced_dad", in: first.namespace) == "1")
    let tentative = try first.namespace.ip("-6", "addr", "show", "dev", "eth0", "tentative")
    #expect((tentative.arrayValue ?? []).allSatisfy { $0.objectValue?.isEmpty != false })
    try first.namespace.ip("addr", "add", "fd00::3/64", "dev", "eth0", "nodad")
    let second = try f.pod()
    let answer = try f.add(config, second)
    #expect(answer.message == "failed to settle addresses for \"eth0\": fd00::3/64 is used by another machine")
    #expect(f.link("eth0", in: second.namespace) == nil)
    #expect(f.reservations() == ["fd00::2"])
  }

  @Test func containerInterfaceStaysDown() throws {
    let f = try BridgeFixture("bow")
    let pod = try f.pod()
    let config = f.configuration(["disableContainerInterface": true], subnets: [])
    #expect(try f.add(config, pod).isSuccess)
    #expect(f.link("eth0", in: pod.namespace)?["flags"]?.arrayValue?.contains("UP") == false)
    let both = f.configuration(["disableContainerInterface": true])
    #expect(
      try f.add(both, f.pod()).message == "cannot use IPAM when DisableContainerInterface flag is set")
  }

  @Test func forceAddress() throws {
    let f = try BridgeFixture("boa")
    let first = f.configuration(["isGateway": true], subnets: ["10.0.0.0/8"])
    let second = f.configuration(["isGateway": true], subnets: ["10.1.2.0/24"])
    #expect(try f.add(first, f.pod()).isSuccess)
    let pod = try f.pod()
    let refused = try f.add(second, pod)
    #expect(
      refused.message
        == "failed to set bridge addr: \"cni0\" already has an IP address different from 10.1.2.1/24")
    #expect(try f.addresses("cni0") == ["10.0.0.1/8"])
    let forced = f.configuration(["isGateway": true, "forceAddress": true], subnets: ["10.1.2.0/24"])
    #expect(try f.add(forced, pod).isSuccess)
    #expect(try f.addresses("cni0") == ["10.1.2.1/24"])
  }

  @Test func routesOfEqualCost() throws {
    let f = try BridgeFixture("bor")
    let pod = try f.pod()
    let routes: JSONValue = [
      ["dst": "192.168.0.0/16", "gw": "10.1.2.1"], ["dst": "192.168.0.0/16", "gw": "10.1.2.9"], ["dst": "10.9.0.0/16"],
    ]
    let answer = try f.add(f.configuration(["isGateway": true], ipam: ["routes": routes]), pod)
    #expect(answer.isSuccess, "\(answer.text)")
    #expect(
      try f.routes(pod.namespace) == [
        "10.9.0.0/16 via 10.1.2.1 dev eth0", "192.168.0.0/16 via 10.1.2.1 dev eth0",
        "192.168.0.0/16 via 10.1.2.9 dev eth0",
      ])
  }

  @Test func dnsOfTheConfigurationWins() throws {
    let f = try BridgeFixture("boz")
    let resolv = try f.directory.write("nameserver 192.0.2.1\nsearch example.org\n", to: "resolv.conf")
    let ipam = JSONValue.object(JSONObject([("resolvConf", .string(resolv))]))
    let theirs = try f.add(f.configuration(ipam: ipam), f.pod()).json.objectValue?["dns"]?.objectValue
    #expect(theirs?["nameservers"] == ["192.0.2.1"])
    #expect(theirs?["search"] == ["example.org"])
    let own = try f.add(
      f.configuration(["dns": ["nameservers": ["192.0.2.9"]]], ipam: ipam), f.pod()
    ).json.objectValue?["dns"]?.objectValue
    #expect(own?["nameservers"] == ["192.0.2.9"])
    #expect(own?["search"] == nil)
  }

  @Test func newestResultTellsTheMTU() throws {
    let f = try BridgeFixture("bou")
    let view = ResultView(try f.add(f.configuration(["mtu": 1400], version: "1.1.0"), f.pod()).json)
    #expect(view.interfaces.allSatisfy { $0["mtu"]?.intValue == 1400 })
    let older = ResultView(try f.add(f.configuration(["mtu": 1400]), f.pod()).json)
    #expect(older.interfaces.allSatisfy { $0["mtu"] == nil })
  }
}
