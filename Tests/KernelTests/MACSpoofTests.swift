import Glibc
import JSON
import Syscalls
import TestSupport
import Testing

/// `macspoofchk` of the bridge plugin (contract cni §B2.3).
@Suite(.needsRoot) struct MACSpoofTests {
  func ruleset(_ f: PortmapFixture) throws -> String { try f.said("nft", "list", "ruleset") }

  func configuration(_ f: PortmapFixture) -> JSONValue {
    f.bridge.configuration(["isDefaultGateway": true, "macspoofchk": true], version: "1.1.0")
  }

  @Test func rules() throws {
    let f = try PortmapFixture("msr", .nftables)
    let pod = try f.bridge.pod("cont-1")
    let answer = try f.bridge.add(configuration(f), pod)
    #expect(answer.isSuccess, "\(answer.text)")
    let result = ResultView(answer.json)
    let comment = "comment \"macspoofchk-cont-1-eth0\""
    #expect(
      try f.said("nft", "list", "table", "bridge", "nat") == """
        table bridge nat {
        \tchain PREROUTING {
        \t\ttype filter hook prerouting priority dstnat; policy accept;
        \t\tiifname "\(result.name(1))" jump cni-br-iface-cont-1-eth0 \(comment)
        \t}

        \tchain cni-br-iface-cont-1-eth0 {
        \t\tjump cni-br-iface-cont-1-eth0-mac \(comment)
        \t}

        \tchain cni-br-iface-cont-1-eth0-mac {
        \t\tether saddr \(result.mac(2)) return \(comment)
        \t\tdrop \(comment)
        \t}
        }

        """)
    // Frames with another source do not pass.
    let web = try Endpoint("web", stream: true, port: 80, in: f.host)
    #expect(try Client.connect("10.1.2.1", 80, from: pod.namespace) == "web 10.1.2.2")
    try pod.namespace.ipBatch("link set eth0 address 02:00:00:00:00:99")
    #expect(try Client.connect("10.1.2.1", 80, from: pod.namespace) == nil)
    try pod.namespace.ipBatch("link set eth0 address \(result.mac(2))")
    #expect(try Client.connect("10.1.2.1", 80, from: pod.namespace) == "web 10.1.2.2")

    #expect(try f.bridge.check(configuration(f), pod, after: answer.json).isSuccess)
    #expect(
      try f.host.run("/usr/sbin/nft", ["flush", "chain", "bridge", "nat", "cni-br-iface-cont-1-eth0-mac"]).exit
        .isSuccess)
    let damaged = try f.bridge.check(configuration(f), pod, after: answer.json)
    #expect(damaged.code == 999 && damaged.message.contains("spoof-check"), "\(damaged.text)")
    for _ in 0..<2 { #expect(try f.bridge.del(configuration(f), pod).isSuccess) }
    #expect(try !ruleset(f).contains("cont-1") && ruleset(f).contains("chain PREROUTING"))
    withExtendedLifetime(web) {}
  }

  /// Debian's plugin finds what ours made, and the other way round.
  @Test(arguments: [true, false]) func debian(_ oursFirst: Bool) throws {
    let f = try PortmapFixture("msd", .nftables)
    let pod = try f.bridge.pod()
    let kept = try f.bridge.pod()
    let config = f.bridge.configuration(["isDefaultGateway": true, "macspoofchk": true])
    #expect(try f.bridge.add(config, kept).isSuccess)
    func call(_ command: String, ours: Bool) throws {
      let bin = ours ? f.bridge.bin : "/usr/lib/cni"
      let environment = f.bridge.environment(command, pod, ["CNI_PATH=\(bin)"])
      let out = try f.host.run("\(bin)/bridge", environment: environment, input: config.bytes())
      guard out.exit.isSuccess else { throw TestFailure("bridge \(command): \(out.text)\(out.errorText)") }
    }
    try call("ADD", ours: oursFirst)
    #expect(try ruleset(f).contains("macspoofchk-\(pod.id)-eth0"))
    try call("DEL", ours: !oursFirst)
    #expect(
      try !ruleset(f).contains("cni-br-iface-\(pod.id)") && ruleset(f).contains("cni-br-iface-\(kept.id)-eth0-mac"))
  }

  /// Without a namespace, twice the same container, and GC.
  @Test func leftovers() throws {
    let f = try PortmapFixture("msl", .nftables)
    let pods = [try f.bridge.pod(), try f.bridge.pod(), try f.bridge.pod()]
    for pod in pods { #expect(try f.bridge.add(configuration(f), pod).isSuccess) }
    pods[0].namespace.remove()
    pods[1].namespace.remove()
    #expect(try f.bridge.call("DEL", configuration(f), pods[0], environment: ["CNI_NETNS="]).isSuccess)
    #expect(try !ruleset(f).contains("cni-br-iface-\(pods[0].id)-"))
    while try f.bridge.hostLinks().filter({ $0.hasPrefix("veth") }).count > 1 { usleep(10_000) }
    var config = configuration(f).objectValue ?? JSONObject()
    // Nothing is valid; the port of the third pod is there, so that it may be of another network.
    config["cni.dev/valid-attachments"] = []
    #expect(try f.bridge.call("GC", .object(config), pods[2]).isSuccess)
    #expect(try !ruleset(f).contains("cni-br-iface-\(pods[1].id)-"))
    #expect(try ruleset(f).contains("cni-br-iface-\(pods[2].id)-"))
  }
}
