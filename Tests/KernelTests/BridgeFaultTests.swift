import Glibc
import JSON
import Netlink
import Syscalls
import TestSupport
import Testing

/// Failures, races and repetitions of the bridge plugin: nothing half-made stays (contract cni §B2, §C).
@Suite(.needsRoot) struct BridgeFaultTests {
  /// Neither a veth nor a reservation is left.
  func expectNothing(_ f: BridgeFixture, _ pod: BridgeFixture.Pod, links: [String] = ["cni0"]) throws {
    #expect(try f.hostLinks() == links)
    #expect(try BridgeFixture.names(pod.namespace).isEmpty)
    #expect(f.reservations().isEmpty)
  }

  // MARK: nothing is touched

  @Test func refusedBeforeAnythingIsTouched() throws {
    let f = try BridgeFixture("bfr")
    let pod = try f.pod()
    let cases: [(JSONValue, Int, String)] = [
      (["ipMasq": true, "ipMasqBackend": "x"], 7, "unknown ipmasq backend \"x\""),
      (["vlan": 5000], 7, "invalid VLAN ID 5000 (must be between 0 and 4094)"),
      (["mtu": "x"], 6, "failed to load netconf: cannot read \"mtu\": found string, expected whole number"),
    ]
    for (members, code, message) in cases {
      let answer = try f.add(f.configuration(members), pod)
      #expect(answer.code == code)
      #expect(answer.message.hasPrefix(message), "\(answer.message)")
    }
    try expectNothing(f, pod, links: [])
    #expect(try f.del(f.configuration(["ipMasq": true]), pod).isSuccess)
    #expect(try f.call("STATUS", f.configuration(version: "1.1.0"), pod).isSuccess)
  }

  @Test func namespaces() throws {
    let f = try BridgeFixture("bfn")
    let pod = try f.pod()
    let config = f.configuration()
    let file = try f.directory.write("", to: "file")
    let none = ["CNI_NETNS=/run/netns/weft-none"]
    let plain = ["CNI_NETNS=\(file)"]
    let missing = try f.add(config, pod, environment: none)
    #expect(missing.code == 3)
    #expect(missing.message.hasPrefix("failed to open netns \"/run/netns/weft-none\": "))
    #expect(try f.add(config, pod, environment: plain).code == 8)
    try expectNothing(f, pod, links: [])
    #expect(try f.call("DEL", config, pod, environment: none).isSuccess)
    #expect(try f.call("DEL", config, pod, environment: ["CNI_NETNS="]).isSuccess)
    #expect(try f.call("DEL", config, pod, environment: plain).code == 8)
  }

  /// DEL returns the address when the namespace is gone, and when it is not named.
  @Test(arguments: [true, false]) func deleteWithoutNamespace(_ isNamed: Bool) throws {
    let f = try BridgeFixture("bfd")
    let pod = try f.pod()
    let config = f.configuration()
    #expect(try f.add(config, pod).isSuccess)
    #expect(f.reservations() == ["10.1.2.2"])
    pod.namespace.remove()
    #expect(try f.call("DEL", config, pod, environment: isNamed ? [] : ["CNI_NETNS="]).isSuccess)
    #expect(f.reservations().isEmpty)
  }

  @Test func deleteOfWhatWasNeverAdded() throws {
    let f = try BridgeFixture("bfx")
    let pod = try f.pod()
    #expect(try f.del(f.configuration(), pod).isSuccess)
    #expect(try f.del(f.configuration(subnets: []), pod).isSuccess)
    try expectNothing(f, pod, links: [])
  }

  // MARK: roll-back

  @Test func bridgeOfAnotherKind() throws {
    let f = try BridgeFixture("bfk")
    try f.host.ip("link", "add", "cni0", "type", "veth", "peer", "name", "cni1")
    let pod = try f.pod()
    let answer = try f.add(f.configuration(), pod)
    #expect(answer.message == "failed to create bridge \"cni0\": \"cni0\" already exists but is not a bridge")
    #expect(Set(try f.hostLinks()) == ["cni0", "cni1"])
    #expect(try BridgeFixture.names(pod.namespace).isEmpty)
  }

  /// Each step after the veth pair is made to fail.
  @Test func rollBack() throws {
    let f = try BridgeFixture("bfb")
    try f.host.ip("link", "add", "cni0", "type", "bridge")
    let pod = try f.pod()
    // Address plugin: not there, and refusing.
    #expect(
      try f.add(f.configuration(ipam: ["type": "nowhere"]), pod).message
        == "failed to find plugin \"nowhere\" in path [\(f.bin)]")
    try expectNothing(f, pod)
    #expect(try f.add(f.configuration(subnets: ["10.0.0.0/31"]), pod).message.contains("too small"))
    try expectNothing(f, pod)
    // Gateway.
    try f.host.ip("addr", "add", "192.0.2.1/24", "dev", "cni0")
    #expect(
      try f.add(f.configuration(["isGateway": true]), pod).message.contains(
        "\"cni0\" already has an IP address different from 10.1.2.1/24"))
    try expectNothing(f, pod)
    #expect(try f.addresses("cni0") == ["192.0.2.1/24"])
    // Route.
    let routes: JSONValue = [["dst": "192.168.0.0/16", "gw": "172.16.0.1"]]
    let route = try f.add(f.configuration(ipam: ["routes": routes]), pod)
    #expect(
      route.message.hasPrefix("failed to add route '192.168.0.0/16 via 172.16.0.1 dev eth0': "), "\(route.message)")
    try expectNothing(f, pod)
    // The same container can be added afterwards.
    #expect(try f.add(f.configuration(), pod).isSuccess)
  }

  /// A plugin that is killed at some moment leaves what DEL, or ADD again, takes away.
  @Test func killedAndRepeated() throws {
    let f = try BridgeFixture("bfq")
    let config = f.configuration(
      ["isDefaultGateway": true], subnets: ["10.1.2.0/24", "fd00::/64"])
    var interrupted = 0
    for delay in stride(from: 0, to: 30_000, by: 1500) {
      let pod = try f.pod()
      let input = try Pipe()
      let child = try ChildProcess.start(
        "/usr/bin/nsenter", ["--net=\(f.host.path)", "\(f.bin)/bridge"], environment: f.environment("ADD", pod),
        stdin: input.read.number)
      try input.write.write(config.bytes())
      _ = consume input
      usleep(useconds_t(delay))
      child.signal(SIGKILL)
      if case .signal = try child.wait() { interrupted += 1 }
      let again = try f.add(config, pod)
      let complete = again.message.hasSuffix("already exists")
      #expect(again.isSuccess || complete, "\(again.text)")
      if complete { #expect(try f.addresses("eth0", in: pod.namespace).count == 2) }
      #expect(try f.del(config, pod).isSuccess)
      try expectNothing(f, pod)
    }
    #expect(interrupted > 0)
  }

  // MARK: an interface that is there

  /// What an ADD leaves that dies between the veth pair and the addresses.
  @Test func halfMadeIsReplaced() throws {
    let f = try BridgeFixture("bfh")
    let pod = try f.pod()
    let config = f.configuration(["isGateway": true])
    #expect(try f.add(config, pod).isSuccess)
    try pod.namespace.ip("addr", "flush", "dev", "eth0")
    let answer = try f.add(config, pod)
    try #require(answer.isSuccess, "\(answer.text)")
    #expect(answer.errorText.contains("removing the remains of an interrupted ADD"))
    #expect(try f.hostLinks().count == 2)
    #expect(try f.addresses("eth0", in: pod.namespace) == ResultView(answer.json).addresses)
    #expect(f.reservations().count == 1)
  }

  @Test func completeAndForeignInterfacesStay() throws {
    let f = try BridgeFixture("bfc")
    let pod = try f.pod()
    let config = f.configuration(["isGateway": true])
    func expectRefusal() throws {
      let answer = try f.add(config, pod)
      #expect(answer.message.hasPrefix("container veth name (\"eth0\") peer provided (\"veth"))
      #expect(answer.message.hasSuffix("\") already exists"))
      #expect(f.link("eth0", in: pod.namespace) != nil)
    }
    #expect(try f.add(config, pod).isSuccess)
    try expectRefusal()
    #expect(f.reservations() == ["10.1.2.2"])
    #expect(try f.del(config, pod).isSuccess)
    // A veth whose other end is no port of our bridge, or is not on the host at all.
    try pod.namespace.ip("link", "add", "eth0", "type", "veth", "peer", "name", "x", "netns", f.host.name)
    try expectRefusal()
    try pod.namespace.ip("link", "del", "eth0")
    try pod.namespace.ip("link", "add", "eth0", "type", "veth", "peer", "name", "y")
    try expectRefusal()
    try pod.namespace.ip("link", "del", "eth0")
    try pod.namespace.ip("link", "add", "eth0", "type", "bridge")
    try expectRefusal()
  }

  /// Without addresses the last step is that the interface goes up.
  @Test func halfMadeAtLayer2() throws {
    let f = try BridgeFixture("bf2")
    let pod = try f.pod()
    let config = f.configuration(subnets: [])
    #expect(try f.add(config, pod).isSuccess)
    #expect(try f.add(config, pod).message.hasSuffix("already exists"))
    try pod.namespace.ip("link", "set", "eth0", "down")
    #expect(try f.add(config, pod).isSuccess)
    #expect(try f.hostLinks().count == 2)
  }

  // MARK: at the same time

  /// Many ADDs at once on a host without the bridge: all succeed, no address is given twice.
  @Test func parallelAdds() throws {
    let f = try BridgeFixture("bfp")
    let config = f.configuration(
      ["isDefaultGateway": true, "hairpinMode": true], subnets: ["10.1.2.0/24", "fd00::/64"])
    let input = try f.directory.write(config.text(), to: "config")
    let pods = try (0..<12).map { _ in try f.pod() }
    var children: [ChildProcess] = []
    for p in pods {
      let stdin = try FileDescriptor.open(input, O_RDONLY)
      let out = try FileDescriptor.open(f.directory.file("out-\(p.id)"), O_WRONLY | O_CREAT, mode: 0o600)
      children.append(
        try ChildProcess.start(
          "/usr/bin/nsenter", ["--net=\(f.host.path)", "\(f.bin)/bridge"], environment: f.environment("ADD", p),
          stdin: stdin.number, stdout: out.number))
    }
    var addresses: Set<String> = []
    for (child, p) in zip(children, pods) {
      let exit = try child.wait()
      let text = try Files.text(f.directory.file("out-\(p.id)"))
      #expect(exit.isSuccess, "\(text)")
      let view = ResultView(try JSONValue(parsing: Array(text.utf8)))
      addresses.formUnion(view.addresses)
      #expect(view.mac(0) == f.link("cni0")?["address"]?.stringValue)
    }
    #expect(addresses.count == 24)
    #expect(try f.hostLinks().count == 13)
    #expect(Set(try f.addresses("cni0")) == ["10.1.2.1/24", "fd00::1/64"])
    for p in pods { #expect(try f.del(config, p).isSuccess) }
    #expect(try f.hostLinks() == ["cni0"])
    #expect(f.reservations().isEmpty)
  }
}
