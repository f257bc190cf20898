import JSON
import Syscalls
import TestSupport
import Testing

/// Host ports with real connections, over each back end (contract cni §B5; test-oracles §13).
@Suite(.needsRoot) struct PortmapTests {
  typealias Backend = PortmapFixture.Backend

  @Test(arguments: Backend.allCases) func connections(_ backend: Backend) throws {
    let f = try PortmapFixture("pmc", backend)
    let pod = try f.pod()
    let ports = ["18080:80/tcp", "18053:53/udp"]
    try f.add(pod, ports)
    let servers = [
      try Endpoint("web", stream: true, port: 80, in: pod.namespace),
      try Endpoint("web6", .ipv6, stream: true, port: 8080, in: pod.namespace),
      try Endpoint("dns", stream: false, port: 53, in: pod.namespace),
    ]
    #expect(try Client.connect("192.0.2.1", 18080, from: f.outside) == "web 192.0.2.2")
    #expect(try Client(in: f.outside).ask("192.0.2.1", 18053) == "dns 192.0.2.2")
    // From the host itself, and by its loopback address: masqueraded.
    #expect(try Client.connect("127.0.0.1", 18080, from: f.host) == "web 10.1.2.1")
    #expect(try Client.connect("192.0.2.1", 18080, from: f.host)?.hasPrefix("web ") == true)
    // From the container to itself.
    #expect(try Client.connect("192.0.2.1", 18080, from: pod.namespace) == "web 10.1.2.1")
    #expect(try Client.connect("192.0.2.1", 18081, from: f.outside) == nil)
    // The result of the plugin before is passed on.
    #expect(try f.call("ADD", pod, ports).json == f.configuration(pod, ports).objectValue?["prevResult"])
    try f.del(pod, ports)
    #expect(try Client.connect("192.0.2.1", 18080, from: f.outside) == nil)
    #expect(try f.rules(of: pod).isEmpty)
    withExtendedLifetime(servers) {}
  }

  @Test(arguments: Backend.allCases) func ipv6(_ backend: Backend) throws {
    let f = try PortmapFixture("pm6", backend)
    let pod = try f.pod()
    try f.add(pod, ["18080:80/tcp", "2001:db8::1:18053:53/udp"])
    let web = try Endpoint("web", .ipv6, stream: true, port: 80, in: pod.namespace)
    let dns = try Endpoint("dns", .ipv6, stream: false, port: 53, in: pod.namespace)
    try f.awaitIPv6()
    #expect(try Client.connect("2001:db8::1", 18080, from: f.outside) == "web 2001:db8::2")
    #expect(try Client(.ipv6, in: f.outside).ask("2001:db8::1", 18053) == "dns 2001:db8::2")
    #expect(try Client.connect("2001:db8::1", 18080, from: pod.namespace)?.hasPrefix("web ") == true)
    withExtendedLifetime((web, dns)) {}
  }

  /// A client that keeps its socket reaches the pod that has the port now, not the one that had it.
  @Test(arguments: Backend.allCases) func replacedPodOfUDP(_ backend: Backend) throws {
    let f = try PortmapFixture("pmu", backend)
    let ports = ["18053:53/udp"]
    let first = try f.pod()
    let second = try f.pod()
    let servers = [
      try Endpoint("first", stream: false, port: 53, in: first.namespace),
      try Endpoint("second", stream: false, port: 53, in: second.namespace),
    ]
    let client = try Client(in: f.outside)
    // Before there is a mapping the kernel remembers that nobody answered.
    _ = client.ask("192.0.2.1", 18053)
    try f.add(first, ports)
    #expect(client.ask("192.0.2.1", 18053) == "first 192.0.2.2")
    try f.del(first, ports)
    try f.add(second, ports)
    #expect(client.ask("192.0.2.1", 18053) == "second 192.0.2.2")
    withExtendedLifetime(servers) {}
  }

  /// One address and all of them: the earlier rule wins where both match.
  @Test(arguments: Backend.allCases, [true, false]) func specificAndWildcard(_ backend: Backend, _ first: Bool) throws {
    let f = try PortmapFixture("pms", backend)
    let specific = try f.pod()
    let wildcard = try f.pod()
    let servers = [
      try Endpoint("specific", stream: true, port: 80, in: specific.namespace),
      try Endpoint("wildcard", stream: true, port: 80, in: wildcard.namespace),
    ]
    let adds = [(specific, ["192.0.2.9:18080:80/tcp"]), (wildcard, ["18080:80/tcp"])]
    for (pod, ports) in first ? adds : adds.reversed() { try f.add(pod, ports) }
    #expect(try Client.connect("192.0.2.1", 18080, from: f.outside) == "wildcard 192.0.2.2")
    let winner = first ? "specific" : "wildcard"
    #expect(try Client.connect("192.0.2.9", 18080, from: f.outside) == "\(winner) 192.0.2.2")
    // DEL of one keeps the other.
    try f.del(wildcard, ["18080:80/tcp"])
    #expect(try Client.connect("192.0.2.9", 18080, from: f.outside) == "specific 192.0.2.2")
    #expect(try Client.connect("192.0.2.1", 18080, from: f.outside) == nil)
    withExtendedLifetime(servers) {}
  }

  @Test(arguments: Backend.allCases) func withoutMasquerading(_ backend: Backend) throws {
    let f = try PortmapFixture("pmn", backend)
    let pod = try f.pod()
    try f.add(pod, ["18080:80/tcp"], ["snat": false])
    let web = try Endpoint("web", stream: true, port: 80, in: pod.namespace)
    #expect(try Client.connect("192.0.2.1", 18080, from: f.outside) == "web 192.0.2.2")
    #expect(try Client.connect("127.0.0.1", 18080, from: f.host) == nil)
    #expect(try f.bridge.parameter("ipv4/conf/cni0/route_localnet") == "0")
    #expect(try !f.table().contains("masquerading"))
    if backend != .nftables { #expect(try f.natRules("CNI-HOSTPORT-MASQ").isEmpty) }
    // CHECK knows which rules belong to a configuration.
    #expect(try f.call("CHECK", pod, ["18080:80/tcp"], ["snat": false]).isSuccess)
    #expect(try f.call("CHECK", pod, ["18080:80/tcp"]).code == 999)
    try f.add(pod, ["18080:80/tcp"], ["masqAll": true])
    #expect(try Client.connect("192.0.2.1", 18080, from: f.outside) == "web 10.1.2.1")
    withExtendedLifetime(web) {}
  }

  @Test(arguments: Backend.allCases) func conditions(_ backend: Backend) throws {
    let f = try PortmapFixture("pmd", backend)
    let pod = try f.pod()
    let other = try f.pod()
    let servers = [
      try Endpoint("web", stream: true, port: 80, in: pod.namespace),
      try Endpoint("other", stream: true, port: 80, in: other.namespace),
    ]
    let words: JSONValue =
      backend == .nftables ? ["ip", "saddr", "!=", "192.0.2.2"] : ["!", "-s", "192.0.2.2"]
    let ports = ["18080:80/tcp"]
    try f.add(pod, ports, ["conditionsV4": words])
    // The conditions are those of one container (contract cni §C 19).
    try f.add(other, ["18081:80/tcp"])
    #expect(try Client.connect("192.0.2.1", 18080, from: f.outside) == nil)
    #expect(try Client.connect("192.0.2.1", 18080, from: f.host)?.hasPrefix("web ") == true)
    #expect(try Client.connect("192.0.2.1", 18081, from: f.outside) == "other 192.0.2.2")
    #expect(try f.call("CHECK", pod, ports, ["conditionsV4": words]).isSuccess)
    try f.del(pod, ports, ["conditionsV4": words])
    #expect(try Client.connect("192.0.2.1", 18080, from: f.host) == nil)
    withExtendedLifetime(servers) {}
  }

  /// Words that nft does not know: an error, and nothing stays.
  @Test func wrongConditions() throws {
    let f = try PortmapFixture("pmw", .nftables)
    let pod = try f.pod()
    let answer = try f.call("ADD", pod, ["18080:80/tcp"], ["conditionsV4": ["nonsense"]])
    #expect(answer.message.hasPrefix("failed to set up host ports with conditions: nft: "), "\(answer.text)")
    #expect(try f.rules(of: pod).isEmpty)
    let without = try f.bridge.call(
      "ADD", f.configuration(pod, ["18080:80/tcp"], ["conditionsV4": ["ip"]]), pod, plugin: "portmap",
      environment: ["PATH=/nowhere"])
    #expect(without.message.contains("need the program nft, which is not in PATH: install nftables"))
    #expect(try f.rules(of: pod).isEmpty)
  }

  /// Somebody else's chain marks, and masquerades.
  @Test(arguments: [Backend.iptablesNFT, .iptablesLegacy]) func externalChain(_ backend: Backend) throws {
    let f = try PortmapFixture("pme", backend)
    let pod = try f.pod()
    let tool = backend == .iptablesNFT ? "iptables-nft" : "iptables-legacy"
    for arguments in [
      ["-t", "nat", "-N", "EXT-MARK"], ["-t", "nat", "-A", "EXT-MARK", "-j", "MARK", "--set-xmark", "0x40/0x40"],
      ["-t", "nat", "-A", "POSTROUTING", "-m", "mark", "--mark", "0x40/0x40", "-j", "MASQUERADE"],
    ] { #expect(try f.host.run("/usr/sbin/\(tool)", arguments).exit.isSuccess) }
    let members: JSONValue = ["externalSetMarkChain": "EXT-MARK"]
    try f.add(pod, ["0.0.0.0:18080:80/tcp"], members)
    let web = try Endpoint("web", stream: true, port: 80, in: pod.namespace)
    #expect(try Client.connect("127.0.0.1", 18080, from: f.host) == "web 10.1.2.1")
    #expect(try f.natRules("CNI-HOSTPORT-SETMARK").isEmpty && f.natRules("CNI-HOSTPORT-MASQ").isEmpty)
    #expect(try f.call("CHECK", pod, ["0.0.0.0:18080:80/tcp"], members).isSuccess)
    withExtendedLifetime(web) {}
  }
}
