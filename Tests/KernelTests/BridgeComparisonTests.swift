import JSON
import Syscalls
import TestSupport
import Testing

/// The same input to our plugins and to those of the distribution: the kernel must look the same afterwards.
@Suite(
  .needsRoot,
  .enabled(
    if: Files.isExecutable("/usr/lib/cni/bridge"), "needs /usr/lib/cni/bridge: apt install containernetworking-plugins")
)
struct BridgeComparisonTests {
  struct Case: CustomTestStringConvertible, Sendable {
    var name: String
    var members: JSONValue = [:]
    var subnets = ["10.1.2.0/24", "fd00:1::/64"]
    var routes: JSONValue = []
    var version = "1.0.0"
    var testDescription: String { name }
  }

  static let cases = [
    Case(
      name: "as the flannel plugin asks",
      members: ["isDefaultGateway": true, "hairpinMode": true, "mtu": 1450, "isGateway": true, "ipMasq": false],
      routes: [["dst": "10.1.0.0/16"], ["dst": "fd00::/16"]], version: "0.3.1"),
    Case(name: "gateway without default route", members: ["isGateway": true]),
    Case(name: "no gateway", members: ["mtu": 1300], routes: [["dst": "192.168.0.0/16", "gw": "10.1.2.9"]]),
    Case(name: "IPv4 only", members: ["isDefaultGateway": true], subnets: ["10.1.2.0/24"], version: "0.4.0"),
    Case(name: "IPv6 only", members: ["isDefaultGateway": true], subnets: ["fd00:1::/64"]),
    Case(name: "promiscuous", members: ["promiscMode": true, "bridge": "mybr.1"]),
    Case(name: "two subnets of IPv6", members: ["isGateway": true], subnets: ["fd00:1::/64", "fd00:2::/64"]),
    Case(name: "layer 2", subnets: []),
    Case(name: "oldest version", members: ["isDefaultGateway": true], subnets: ["10.1.2.0/24"], version: "0.1.0"),
    Case(name: "small subnet", members: ["isDefaultGateway": true], subnets: ["10.1.2.0/30"], version: "0.2.0"),
  ]

  /// What both left: the result, links, addresses and routes of host and pod, without names and numbers of chance.
  func state(_ c: Case, debian: Bool) throws -> [String: JSONValue] {
    let f = try BridgeFixture(debian ? "bcd" : "bco", debian: debian)
    let pod = try f.pod()
    let config = f.configuration(c.members, version: c.version, subnets: c.subnets, ipam: ["routes": c.routes])
    let answer = try f.add(config, pod)
    try #require(answer.isSuccess, "\(c.name): \(answer.text)\(answer.errorText)")
    var out = ["result": Self.normal(answer.json, pod)]
    for (name, namespace) in [("host", f.host), ("pod", pod.namespace)] {
      // IPv6 addresses of the bridge are tentative for a moment.
      out["\(name) addresses"] = Self.normal(try namespace.ip("-d", "addr", "show"), pod)
      for family in ["-4", "-6"] {
        out["\(name) routes \(family)"] = Self.normal(try namespace.ip(family, "route", "show", "table", "all"), pod)
      }
    }
    for key in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
      out[key] = .string(try f.parameter(key))
    }
    for key in ["ipv6/conf/eth0/accept_dad", "ipv4/conf/eth0/arp_notify", "ipv6/conf/eth0/accept_ra"] {
      out["pod \(key)"] = .string(try f.parameter(key, in: pod.namespace))
    }
    #expect(try f.del(config, pod).isSuccess)
    #expect(f.reservations().isEmpty)
    return out
  }

  /// Members that differ between two runs of the same program.
  static let chance: Set<String> = [
    "address", "bridge_id", "designated_root", "designated_bridge", "root_id", "gc_timer", "hello_timer", "tcn_timer",
    "topology_change_timer", "forward_delay_timer", "hold_timer", "message_age_timer", "ifindex", "link_index", "link",
    "link_netnsid", "link-netnsid", "link_netns", "tentative", "txqlen", "mac", "sandbox", "operstate", "flags",
    "valid_life_time", "preferred_life_time", "state",
  ]

  /// Without chance: names of veth become `veth`, link-local addresses of both and what hangs on them are dropped. An empty
  /// `dns` is what older releases print where newer ones print nothing.
  static func normal(_ v: JSONValue, _ pod: BridgeFixture.Pod) -> JSONValue {
    switch v {
    case .object(let o):
      var out = JSONObject()
      for m in o.members where keep(m.name, m.value, in: o) { out[m.name] = normal(m.value, pod) }
      return .object(out)
    case .array(let a):
      let parts = a.filter { !isLinkLocal($0) }.map { normal($0, pod) }.filter { $0 != [:] }
      return .array(parts.sorted { $0.text(.sorted) < $1.text(.sorted) })
    case .string(let s) where s.hasPrefix("veth") && s.utf8.count == 12: return "veth"
    default: return v
    }
  }

  static func keep(_ name: String, _ value: JSONValue, in o: JSONObject) -> Bool {
    if name == "address", o["gateway"] != nil || o["interface"] != nil { return true }  // of a result
    if name == "dns", value == [:] { return false }
    return !chance.contains(name)
  }

  static func isLinkLocal(_ v: JSONValue) -> Bool {
    guard let o = v.objectValue else { return false }
    return ["local", "dst"].contains { o[$0]?.stringValue?.hasPrefix("fe80::") == true }
      || o["dst"]?.stringValue == "multicast" || o["dst"]?.stringValue == "ff00::/8" || o["type"] == "anycast"
  }

  @Test(arguments: cases) func sameAsTheDistribution(_ c: Case) throws {
    let ours = try state(c, debian: false)
    let theirs = try state(c, debian: true)
    #expect(ours.count == theirs.count)
    for (what, value) in theirs {
      #expect(ours[what]?.text(.sorted) == value.text(.sorted), "\(what)")
    }
  }
}
