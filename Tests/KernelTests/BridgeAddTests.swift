import JSON
import Syscalls
import TestSupport
import Testing

/// ADD, CHECK and DEL of the bridge plugin on the real kernel; `ip` is the oracle (test oracles §10).
@Suite(.needsRoot) struct BridgeAddTests {
  struct Case: CustomTestStringConvertible, Sendable {
    var version: String
    var subnets: [String]
    var testDescription: String { "\(version) \(subnets.joined(separator: " "))" }
  }

  static let cases: [Case] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"].flatMap { version in
    [["10.1.2.0/24"], ["2001:db8::/64"], ["192.168.0.0/24", "fd00::/64"]].map { Case(version: version, subnets: $0) }
  }

  /// The gateway of a subnet as the bridge has it.
  func gateway(_ subnet: String) -> String {
    let parts = subnet.split(separator: "/").map(String.init)
    return parts[0].hasSuffix("::") ? "\(parts[0])1/\(parts[1])" : "\(parts[0].dropLast())1/\(parts[1])"
  }

  @Test(arguments: cases) func lifeWithDefaultRoute(_ c: Case) throws {
    let f = try BridgeFixture("bra")
    let pod = try f.pod()
    let config = f.configuration(["isDefaultGateway": true], version: c.version, subnets: c.subnets)
    let added = try f.add(config, pod)
    try #require(added.isSuccess, "\(added.text)\(added.errorText)")
    let result = ResultView(added.json)
    #expect(result.json["cniVersion"]?.stringValue == c.version)
    try checkShape(result, c, f, pod)
    #expect(Set(try f.addresses("cni0")) == Set(c.subnets.map { gateway($0) }))
    let v4 = c.subnets.contains { !$0.contains(":") }
    let v6 = c.subnets.contains { $0.contains(":") }
    if v4 { #expect(try f.parameter("ipv4/ip_forward") == "1") }
    if v6 { #expect(try f.parameter("ipv6/conf/all/forwarding") == "1") }
    let expected = c.subnets.map { s in
      "default via \(gateway(s).split(separator: "/")[0]) dev eth0"
    }
    #expect(try f.routes(pod.namespace) == expected.sorted())
    #expect(f.reservations().count == c.subnets.count)
    if c.version >= "0.4.0" { try tamper(f, config, pod, added.json) }
    let deleted = try f.del(config, pod)
    #expect(deleted.isSuccess, "\(deleted.text)")
    #expect(deleted.text.isEmpty)
    #expect(try f.hostLinks() == ["cni0"])
    #expect(f.link("eth0", in: pod.namespace) == nil)
    #expect(f.reservations().isEmpty)
    #expect(try f.del(config, pod).isSuccess)
  }

  /// What the result says is what the kernel has.
  func checkShape(_ r: ResultView, _ c: Case, _ f: BridgeFixture, _ pod: BridgeFixture.Pod) throws {
    let there = try f.addresses("eth0", in: pod.namespace)
    #expect(there.count == c.subnets.count)
    if c.version < "0.3.0" {
      let texts = ["ip4", "ip6"].compactMap { r.json[$0]?.objectValue?["ip"]?.stringValue }
      #expect(Set(texts) == Set(there))
      #expect(r.json["interfaces"] == nil)
      return
    }
    #expect(Set(r.addresses) == Set(there))
    #expect(r.ips.allSatisfy { $0["interface"]?.intValue == 2 })
    #expect(r.ips.allSatisfy { $0["version"]?.stringValue != nil } == (c.version < "1.0.0"))
    #expect(r.gateways == c.subnets.map { String(gateway($0).split(separator: "/")[0]) })
    try #require(r.interfaces.count == 3)
    #expect(r.name(0) == "cni0")
    #expect(r.name(1).hasPrefix("veth") && r.name(1).utf8.count == 12)
    #expect(r.name(2) == "eth0")
    #expect(r.interfaces[2]["sandbox"]?.stringValue == pod.path)
    #expect(r.interfaces[0]["sandbox"] == nil && r.interfaces[1]["sandbox"] == nil)
    #expect(r.mac(0) == f.link("cni0")?["address"]?.stringValue)
    #expect(r.mac(1) == f.link(r.name(1))?["address"]?.stringValue)
    #expect(r.mac(2) == f.link("eth0", in: pod.namespace)?["address"]?.stringValue)
    #expect(f.link(r.name(1))?["master"]?.stringValue == "cni0")
    #expect(f.link(r.name(1))?["operstate"]?.stringValue == "UP")
  }

  /// CHECK succeeds, and fails for each thing that is changed by hand.
  func tamper(_ f: BridgeFixture, _ config: JSONValue, _ pod: BridgeFixture.Pod, _ result: JSONValue) throws {
    let fine = try f.check(config, pod, after: result)
    #expect(fine.isSuccess, "\(fine.text)")
    #expect(fine.text.isEmpty)
    let missing = try f.call("CHECK", config, pod)
    #expect(missing.message == "Required prevResult missing")
    let view = ResultView(result)
    let address = try #require(view.addresses.first)
    try pod.namespace.ip(address.contains(":") ? "-6" : "-4", "route", "del", "default")
    #expect(try f.check(config, pod, after: result).message.hasPrefix("Expected Route "))
    try pod.namespace.ip("addr", "del", address, "dev", "eth0")
    let answer = try f.check(config, pod, after: result)
    #expect(answer.message == "Failed to match addr \(address) on interface eth0")
    #expect(answer.code == 999)
  }

  @Test func checkFindsOtherDifferences() throws {
    let f = try BridgeFixture("brc")
    let pod = try f.pod()
    let config = f.configuration(["isGateway": true])
    let result = try f.add(config, pod).json
    let view = ResultView(result)
    #expect(try f.check(config, pod, after: result).isSuccess)
    try f.host.ip("link", "set", view.name(1), "nomaster")
    #expect(try f.check(config, pod, after: result).message == "CNI veth created for bridge cni0 was not found")
    try f.host.ip("link", "set", view.name(1), "master", "cni0")
    try f.host.ip("link", "set", "cni0", "address", "02:00:00:00:00:77")
    #expect(
      try f.check(config, pod, after: result).message == "Bridge interface cni0 Mac doesn't match: \(view.mac(0))")
    try f.host.ip("link", "set", "cni0", "address", view.mac(0))
    var moved = pod
    moved.id = "other"
    #expect(try f.check(config, moved, after: result).message.contains("Failed to find address added by container"))
    let elsewhere = try f.pod("pod-1")
    #expect(
      try f.check(config, elsewhere, after: result).message
        == "Sandbox in prevResult \(pod.path) doesn't match configured netns: \(elsewhere.path)")
    #expect(try f.check(config, pod, after: result).isSuccess)
    try pod.namespace.ip("link", "del", "eth0")
    #expect(try f.check(config, pod, after: result).message == "Interface name eth0 not found")
    #expect(try f.del(config, pod).isSuccess)
  }

  @Test(arguments: ["0.1.0", "0.2.0"]) func severalSubnetsInOldVersions(_ version: String) throws {
    let f = try BridgeFixture("brs")
    let pod = try f.pod()
    let config = f.configuration(
      ["isDefaultGateway": true], version: version, subnets: ["192.168.0.0/24", "fd00::/64", "2001:db8::/64"])
    let answer = try f.add(config, pod)
    #expect(!answer.isSuccess)
    #expect(answer.message.contains("CNI version \(version) does not support more than 1 address per family"))
    #expect(try f.hostLinks() == ["cni0"])
    #expect(f.link("eth0", in: pod.namespace) == nil)
  }

  @Test func threeSubnets() throws {
    let f = try BridgeFixture("br3")
    let pod = try f.pod()
    let subnets = ["192.168.0.0/24", "fd00::/64", "2001:db8::/64"]
    let answer = try f.add(f.configuration(["isDefaultGateway": true], version: "0.3.1", subnets: subnets), pod)
    try #require(answer.isSuccess, "\(answer.text)")
    #expect(Set(try f.addresses("cni0")) == Set(subnets.map { gateway($0) }))
    #expect(try f.addresses("eth0", in: pod.namespace).count == 3)
    #expect(try f.routes(pod.namespace) == ["default via 192.168.0.1 dev eth0", "default via fd00::1 dev eth0"])
  }

  /// Layer 2 only: no addresses; versions that cannot say that are an error, and nothing stays.
  @Test(arguments: ["0.1.0", "0.3.1", "1.0.0"]) func layer2(_ version: String) throws {
    let f = try BridgeFixture("br2")
    let pod = try f.pod()
    let config = f.configuration(version: version, subnets: [])
    let answer = try f.add(config, pod)
    if version == "0.1.0" {
      #expect(answer.message == "cannot convert: no valid IP addresses")
      #expect(try f.hostLinks() == ["cni0"])
      return
    }
    try #require(answer.isSuccess, "\(answer.text)")
    #expect(ResultView(answer.json).interfaces.count == 3)
    #expect(answer.json.objectValue?["ips"] == nil)
    #expect(f.link("eth0", in: pod.namespace)?["operstate"]?.stringValue == "UP")
    #expect(try f.addresses("cni0").isEmpty)
    #expect(try f.del(config, pod).isSuccess)
    #expect(try f.hostLinks() == ["cni0"])
  }

  /// Two pods reach each other and their gateway.
  @Test func traffic() throws {
    let f = try BridgeFixture("brt")
    let a = try f.pod()
    let b = try f.pod()
    let config = f.configuration(
      ["isDefaultGateway": true, "mtu": 1400, "hairpinMode": true], subnets: ["10.1.2.0/24", "fd00::/64"])
    #expect(try f.add(config, a).isSuccess)
    let second = ResultView(try f.add(config, b).json)
    #expect(second.addresses == ["10.1.2.3/24", "fd00::3/64"])
    #expect(try f.reaches("10.1.2.3", from: a.namespace))
    #expect(try f.reaches("10.1.2.1", from: a.namespace))
    #expect(try f.reaches("10.1.2.2", from: f.host))
    #expect(try f.reaches("fd00::3", from: a.namespace))
    for (name, namespace) in [("cni0", f.host), ("eth0", a.namespace), (second.name(1), f.host)] {
      #expect(f.link(name, in: namespace)?["mtu"]?.intValue == 1400)
    }
  }
}
