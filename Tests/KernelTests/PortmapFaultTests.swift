import Glibc
import JSON
import Netlink
import Syscalls
import TestSupport
import Testing

/// Many at once, others at the same time, and what is in the way.
@Suite(.needsRoot) struct PortmapFaultTests {
  typealias Backend = PortmapFixture.Backend

  /// Fifty at once: none fails, and what all share is there once.
  @Test(arguments: Backend.allCases) func manyAtOnce(_ backend: Backend) throws {
    let f = try PortmapFixture("prm", backend)
    let pod = try f.pod()
    let namespace = try f.host.open()
    func all(_ command: String) throws -> Int {
      var children: [ChildProcess] = []
      for i in 0..<50 {
        var config = f.configuration(pod, ["\(20000 + i):80/tcp"]).objectValue ?? JSONObject()
        // Fifty containers with addresses of their own.
        config["prevResult"] = .object(
          JSONObject([
            ("cniVersion", "1.0.0"),
            ("ips", [["address": .string("10.1.2.\(100 + i)/24")], ["address": .string("fd00:1::\(100 + i)/64")]]),
          ]))
        var other = pod
        other.id = "c\(i)"
        let file = try f.bridge.directory.write(JSONValue.object(config).text(), to: "config-\(i)")
        children.append(
          try ChildProcess.start(
            "/usr/bin/nsenter", ["--net=\(f.host.path)", "\(f.bridge.bin)/portmap"],
            environment: f.bridge.environment(command, other, f.variant),
            stdin: FileDescriptor.open(file, O_RDONLY).release()))
      }
      return try children.count { try !$0.wait().isSuccess }
    }
    #expect(try all("ADD") == 0)
    switch backend {
    case .nftables:
      let text = try f.table()
      #expect(text.split(separator: "\n").count { $0.contains("dnat to") } == 50)
      #expect(text.split(separator: "\n").count { $0.contains("jump") } == 4)
    default:
      #expect(try f.natRules("-j DNAT").count == 50 && f.natRules("-j DNAT", family: "ip6").count == 50)
      #expect(try f.natRules("-j CNI-HOSTPORT-DNAT").count == 2)
      #expect(try f.natRules("-j CNI-HOSTPORT-MASQ").count == 1 && f.natRules("-A CNI-HOSTPORT-MASQ").count == 1)
      #expect(try f.natRules("-A CNI-HOSTPORT-SETMARK").count == 1)
    }
    #expect(try all("DEL") == 0)
    if backend == .nftables {
      #expect(try !f.table().contains("comment \"c"))
    } else {
      #expect(try f.natRules("CNI-DN-").isEmpty)
    }
    _ = namespace
  }

  @Test func missingIptables() throws {
    let f = try PortmapFixture("prx", .iptablesNFT)
    let pod = try f.pod()
    let config = f.configuration(pod, ["18080:80/tcp"])
    let answer = try f.bridge.call("ADD", config, pod, plugin: "portmap", environment: ["PATH=/nowhere"])
    #expect(
      answer.message
        == "the program iptables-restore is not in PATH: install iptables, or choose the nftables back end")
    // Without a back end named, the one that works is taken.
    let automatic = f.configuration(pod, ["18080:80/tcp"], ["backend": .null])
    #expect(
      try f.bridge.call("ADD", automatic, pod, plugin: "portmap", environment: ["PATH=/nowhere"]).isSuccess)
    #expect(try f.table().contains("18080"))
  }

  /// Debian's plugin at the same time: ours do not fail, and everybody that did not has rules.
  @Test(arguments: [Backend.iptablesNFT, .iptablesLegacy]) func besideDebian(_ backend: Backend) throws {
    let f = try PortmapFixture("pfd", backend)
    let pods = try (0..<8).map { _ in try f.pod() }
    var children: [(pod: BridgeFixture.Pod, process: ChildProcess)] = []
    for (i, pod) in pods.enumerated() {
      let config = f.configuration(pod, ["\(20000 + i):80/tcp"])
      let file = try f.bridge.directory.write(config.text(), to: "config-\(i)")
      let plugin = i % 2 == 0 ? "/usr/lib/cni/portmap" : "\(f.bridge.bin)/portmap"
      children.append(
        (
          pod,
          try ChildProcess.start(
            "/usr/bin/nsenter", ["--net=\(f.host.path)", plugin],
            environment: f.bridge.environment("ADD", pod, f.variant),
            stdin: FileDescriptor.open(file, O_RDONLY).release())
        ))
    }
    for (i, child) in children.enumerated() {
      let done = try child.process.wait().isSuccess
      // Debian's may lose the race for a chain; ours may not.
      if i % 2 == 1 { #expect(done) }
      guard done else { continue }
      #expect(try f.natRules("-j DNAT").contains { $0.contains("--dport \(20000 + i) ") })
    }
    // Debian's look first and write then, and may double what is common among themselves.
    #expect(try f.natRules("-A CNI-HOSTPORT-MASQ").count >= 1)
  }

  /// Somebody holds the lock of the legacy variant: ADD waits.
  @Test func lockHeld() throws {
    let f = try PortmapFixture("pfl", .iptablesLegacy)
    let pod = try f.pod()
    let lock = try FileDescriptor.open("/run/xtables.lock", O_RDWR | O_CREAT, mode: 0o600)
    try lock.lock()
    let number = lock.release()
    try DetachedThread.start {
      usleep(500_000)
      close(number)
    }
    try f.add(pod, ["18080:80/tcp"])
    #expect(try f.natRules("18080").count == 4)
  }

  /// A table that belongs to a program: said so, and nothing is changed.
  @Test func ownedTable() throws {
    let f = try PortmapFixture("pfo", .nftables)
    let pod = try f.pod()
    var socket = try NftSocket(in: f.host.open())
    var batch = NftBatch()
    batch.add(NftTable(NftTable.ID(.ipv4, "cni_hostport"), flags: 2))
    try socket.commit(batch)
    let answer = try f.call("ADD", pod, ["18080:80/tcp"])
    #expect(answer.code == 5)
    #expect(
      answer.message.hasSuffix(
        "the table ip cni_hostport belongs to the program with netlink port \(socket.portID), which alone may change it"
      ),
      "\(answer.text)")
    #expect(try f.rules(of: pod).isEmpty)
  }
}
