import Glibc
import Syscalls
import TestSupport
import Testing

@Suite(.needsRoot) struct AgentProcessTests {
  private let namespace: TestNamespace
  private let directory: TemporaryDirectory

  init() throws {
    namespace = try TestNamespace("agent")
    directory = try TemporaryDirectory("agent")
  }

  private func start(_ words: String..., environment: [String] = []) throws -> AgentProcess {
    // Only the network is a namespace of the test's own, so the file must not be the machine's.
    let file = "--subnet-file=" + directory.file("subnet.env")
    return try AgentProcess(["agent", file] + words, in: namespace, directory: directory, environment: environment)
  }

  private var registry: String { "--registry-dir=\(directory.path)" }

  @Test(arguments: [SIGTERM, SIGINT]) func aSignalEndsTheWaitForTheConfiguration(_ number: Int32) throws {
    let agent = try start(registry, "--healthz-port=9000")
    try agent.waitFor("Couldn't fetch network config")
    agent.signal(number)
    #expect(try agent.waitForExit() == .status(0))
    #expect(agent.log.contains("Created subnet manager: "))
    #expect(agent.log.contains("Exiting cleanly..."))
  }

  @Test func theSecondSignalKills() throws {
    let agent = try start(registry, "--healthz-port=9000")
    try agent.waitFor("Couldn't fetch network config")
    // A request that never ends holds up the graceful stop for three seconds.
    let client = try ChildProcess.start(
      "/usr/bin/nsenter",
      [
        "--net=\(namespace.path)", "/bin/bash", "-c",
        #"exec 3<>/dev/tcp/127.0.0.1/9000; printf 'POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n' >&3; touch "$1"; exec sleep 60"#,
        "bash", directory.file("connected"),
      ])
    defer {
      client.signal(SIGKILL)
      _ = try? client.wait()
    }
    while !Files.exists(directory.file("connected")) { Clock.sleep(nanoseconds: 5_000_000) }
    Clock.sleep(nanoseconds: 200_000_000)  // for the request to be read
    agent.signal(SIGTERM)
    try agent.waitFor("Waiting for all goroutines to exit")
    agent.signal(SIGTERM)
    #expect(try agent.waitForExit() == .signal(SIGTERM))
  }

  @Test func aTakenHealthPortIsAnErrorWithoutCrash() throws {
    let first = try start(registry, "--healthz-port=9000")
    try first.waitFor("Couldn't fetch network config")
    let second = try start(registry, "--healthz-port=9000")
    #expect(try second.waitForExit() == .status(1))
    #expect(second.log.contains("health server: cannot listen on 0.0.0.0:9000: address already in use"))
  }

  @Test func theHealthServerAnswersBeforeTheConfigurationIsKnown() throws {
    let agent = try start(registry, "--healthz-port=9000")
    try agent.waitFor("Couldn't fetch network config")
    func get(_ path: String) throws -> String {
      try namespace.run(
        "/bin/bash",
        ["-c", #"exec 3<>/dev/tcp/127.0.0.1/9000; printf "GET $1 HTTP/1.0\r\n\r\n" >&3; cat <&3"#, "bash", path]
      ).text
    }
    #expect(try get("/healthz").hasSuffix("\r\n\r\nflanneld is running"))
    let ready = try get("/readyz")
    #expect(ready.contains(" 503 ") && ready.contains("flanneld is not ready yet: waiting for the network config"))
  }

  @Test func theConfigurationMayArriveLater() throws {
    try namespace.ip("link", "add", "up0", "type", "veth", "peer", "name", "up1")
    try namespace.ip("addr", "add", "192.0.2.7/24", "dev", "up0")
    try namespace.ip("link", "set", "up0", "up")
    let agent = try start(registry, "--iface=up0", "--public-ip=203.0.113.9")
    try agent.waitFor("Couldn't fetch network config")
    try directory.write(#"{"Network":"10.244.0.0/16","EnableNFTables":true,"Backend":{"Type":"VXLAN"}}"#, to: "config")
    try agent.waitFor("Found network config - Backend type: vxlan")
    try agent.waitFor("Using interface with name up0 and address 192.0.2.7")
    try agent.waitFor("Using 203.0.113.9 as external IPv4 address")
  }

  @Test(arguments: [
    (#"{"Network":"10.244.0.0/16","EnableNFTables":true}"#, "no IPv4 default route; set --iface"),
    (#"{"EnableIPv4":false}"#, "none defined stack"),
  ])
  func whatCannotWorkExitsWithOne(_ configuration: String, _ text: String) throws {
    try directory.write(configuration, to: "config")
    let agent = try start(registry)
    #expect(try agent.waitForExit() == .status(1))
    #expect(agent.log.contains(text))
  }

  @Test func theRegistryOfALaterVersionSaysSo() throws {
    let etcd = try start()
    #expect(try etcd.waitForExit() == .status(1))
    #expect(etcd.log.contains("is not supported by this version yet; use --kube-subnet-mgr"))
  }

  @Test func theEnvironmentIsMirrored() throws {
    let agent = try start(
      environment: ["FLANNELD_REGISTRY_DIR=\(directory.path)", "FLANNELD_IP_MASQ=maybe", "EVENT_QUEUE_DEPTH=7"])
    try agent.waitFor("Couldn't fetch network config")
    #expect(agent.log.contains(#"invalid value "maybe" for FLANNELD_IP_MASQ: parse error"#))
    let bad = try start(registry, environment: ["EVENT_QUEUE_DEPTH=many"])
    #expect(try bad.waitForExit() == .status(1))
    #expect(bad.log.contains(#"env EVENT_QUEUE_DEPTH=many format error: strconv.Atoi: parsing "many": invalid syntax"#))
  }

  @Test func calledAsFlanneld() throws {
    let link = directory.file("flanneld")
    #expect(symlink(try builtProduct("weft"), link) == 0)
    let version = try namespace.run(link, ["--version"])
    #expect(version.exit == .status(0) && version.text == "")
    #expect(version.errorText.hasPrefix("weft 0.1.0"))
    let bad = try namespace.run(link, ["--bogus"])
    #expect(bad.exit == .status(2))
    #expect(bad.errorText.hasPrefix("flag provided but not defined: -bogus\nUsage: \(link) [OPTION]...\n"))
    #expect(try namespace.run(link, ["-h"]).exit == .status(0))
  }

  @Test func otherwiseTheCommandLineIsWeft() throws {
    let program = try builtProduct("weft")
    let help = try namespace.run(program, ["--help"])
    #expect(help.exit == .status(0) && help.text.contains("agent  "))
    #expect(try namespace.run(program, ["version"]).text == "weft 0.1.0 (commit unknown)\n")
    #expect(try !namespace.run(program, ["bogus"]).exit.isSuccess)
    #expect(try namespace.run(program, ["agent", "--help"]).errorText.contains("[OPTION]...\n"))
  }
}
