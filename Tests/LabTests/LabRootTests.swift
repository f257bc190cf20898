import Glibc
import JSON
import Syscalls
import TestSupport
import Testing

@testable import Lab

/// A lab of its own for one test, driven by the program as a user does; removed at the end whatever happened.
final class TestLab {
  let name: String
  let state: TemporaryDirectory
  let weft: String
  let plugins: TemporaryDirectory

  init() throws {
    weft = try builtProduct("weft")
    name = "t" + String(UInt32.random(in: .min ... .max), radix: 36)
    state = try TemporaryDirectory("lab")
    plugins = try TemporaryDirectory("cni")
    let program = try builtProduct("weft-cni")
    for plugin in ["flannel", "bridge", "host-local", "loopback", "portmap"] {
      try retrying("symlink", plugin) { symlink(program, "\(plugins.path)/\(plugin)") }
    }
    try state.write(
      #"{"name":"cbr0","cniVersion":"1.0.0","plugins":[{"type":"flannel","delegate":{"isDefaultGateway":true}}]}"#,
      to: "net.conflist")
  }

  deinit { _ = try? weft("lab", "down") }

  var root: String { "\(state.path)/labs" }
  var directory: String { "\(root)/\(name)" }
  var options: [String] { ["--name", name, "--state-dir", root, "--cni-bin", plugins.path] }

  /// Runs `weft lab VERB OPTIONS WORDS`.
  @discardableResult
  func weft(_ words: String...) throws -> ChildProcess.Output {
    let verb = words.count > 2 && ["pod", "node"].contains(words[1]) ? 3 : 2
    return try ChildProcess.run(weft, Array(words.prefix(verb)) + options + words.dropFirst(verb))
  }

  /// The same, and it must succeed.
  @discardableResult
  func expect(_ words: String..., sourceLocation: SourceLocation = #_sourceLocation) throws -> String {
    let verb = words.count > 2 && ["pod", "node"].contains(words[1]) ? 3 : 2
    let output = try ChildProcess.run(weft, Array(words.prefix(verb)) + options + words.dropFirst(verb))
    #expect(output.exit.isSuccess, "\(words): \(output.text)\(output.errorText)", sourceLocation: sourceLocation)
    return output.text
  }

  /// Names of the namespaces that carry this lab's name.
  var namespaces: [String] {
    ((try? Files.list("/run/netns")) ?? []).filter { $0.hasPrefix("weft-\(name)-") }.sorted()
  }

  var agentProcesses: [ProcessIdentity] {
    ((try? Files.list("\(directory)/nodes")) ?? []).compactMap {
      ProcessIdentity(file: "\(directory)/nodes/\($0)/agent.pid")
    }
  }
}

@Suite(.enabled(if: Requirements.isRoot, "needs root"), .timeLimit(.minutes(3)))
struct LabRootTests {
  /// Mounts of the machine where a node sees something else.
  private static func coveredMounts() throws -> [Substring] {
    let places = ["/run", "/etc", "/var/lib", "/sys", "/run/flannel", "/var/lib/cni", "/etc/cni/net.d"]
    return try Files.text("/proc/self/mounts").split(separator: "\n").filter { line in
      let words = line.split(separator: " ")
      return words.count > 1 && places.contains(String(words[1]))
    }
  }

  @Test func nodesReachEachOther() throws {
    let lab = try TestLab()
    let before = Set(try Files.list("/"))
    let mounts = try Self.coveredMounts()
    try lab.expect("lab", "up", "--nodes", "2", "--no-agents", "--dual-stack")
    #expect(lab.namespaces == ["internet", "lan", "n1", "n2"].map { "weft-\(lab.name)-\($0)" })
    for address in ["172.31.77.12", "172.31.77.1", "fd77::12", "fd77::1", "198.51.100.2", "2001:db8:51:100::2"] {
      try lab.expect("lab", "exec", "n1", "--", "ping", "-c", "1", "-W", "2", address)
    }
    let route = try lab.expect("lab", "exec", "n2", "--", "ip", "route")
    #expect(route.contains("default via 172.31.77.1 dev eth0"))

    let twice = try lab.weft("lab", "up")
    #expect(twice.exit == .status(1))
    #expect(twice.errorText.contains("already"))

    try lab.expect("lab", "down")
    try lab.expect("lab", "down")
    #expect(lab.namespaces.isEmpty)
    #expect(!Files.exists(lab.root), "\((try? Files.list(lab.root)) ?? [])")
    #expect(Set(try Files.list("/")) == before)
    #expect(try Self.coveredMounts() == mounts)
  }

  /// What a program on a node writes goes into the node's directory, and what the machine has stays visible.
  @Test func nodesHaveTheirOwnDirectories() throws {
    let lab = try TestLab()
    try lab.expect("lab", "up", "--nodes", "2", "--no-agents")
    let had = Files.exists("/run/flannel")
    let script =
      "for d in /run/flannel /etc/cni/net.d /var/lib/cni /etc/kube-flannel; do echo $PPID > $d/x || exit 1; done; "
      + "touch /run/xtables.lock; cat /etc/passwd; ls /sys/class/net"
    let output = try lab.expect("lab", "exec", "n1", "--", "sh", "-c", script)
    #expect(output.contains("root:"), "files of the machine are visible")
    #expect(output.contains("\neth0\n"), "/sys shows the node's devices")
    for part in ["run-flannel", "etc-cni-net.d", "var-lib-cni", "etc-kube-flannel"] {
      #expect(Files.exists("\(lab.directory)/nodes/n1/\(part)/x"))
      #expect(!Files.exists("\(lab.directory)/nodes/n2/\(part)/x"))
    }
    #expect(Files.exists("/run/flannel") == had, "nothing is made on the machine")
    #expect(try lab.weft("lab", "exec", "n1", "--", "sh", "-c", "exit 7").exit == .status(7))
    #expect(try lab.weft("lab", "exec", "n1", "--", "no-such-program").exit == .status(1))
    let nothing = try lab.weft("lab", "exec", "n1")
    #expect(nothing.exit == .status(64))
    #expect(nothing.errorText.contains("weft lab exec NODE|POD|internet -- CMD…"), "\(nothing.errorText)")
    let unknown = try lab.weft("lab", "exec", "n9", "--", "true")
    #expect(unknown.errorText.contains("n1, n2"), "\(unknown.errorText)")
  }

  @Test func podsPingEachOther() throws {
    let lab = try TestLab()
    let list = lab.state.file("net.conflist")
    try lab.expect("lab", "up", "--nodes", "2", "--pods", "1", "--conflist", list)
    #expect(try lab.expect("lab", "pod", "add", "n1", "web").hasPrefix("n1-web 10.244."))
    let taken = try lab.weft("lab", "pod", "add", "n1", "web")
    #expect(taken.errorText.contains("p1, web"), "\(taken.errorText)")
    let report = try JSONValue(parsing: try lab.expect("lab", "ping", "--json")).objectValue
    #expect(report?["lost"] == 0)
    #expect(report?["sent"] == 18)

    let status = try JSONValue(parsing: try lab.expect("lab", "status", "--json")).objectValue
    let nodes = status?["nodes"]?.arrayValue?.compactMap(\.objectValue) ?? []
    #expect(nodes.map { $0["agent"]?.stringValue } == ["running", "running"])
    #expect(nodes.map { $0["ready"] } == [true, true])
    #expect(nodes.map { $0["publicIPs"] } == [["172.31.77.11"], ["172.31.77.12"]])
    let pods = status?["pods"]?.arrayValue?.compactMap(\.objectValue) ?? []
    #expect(pods.map { $0["name"] } == ["n1-p1", "n1-web", "n2-p1"])
    #expect(pods.allSatisfy { $0["state"] == "up" && $0["hostInterface"]?.stringValue?.hasPrefix("veth") == true })

    // A dead agent's network goes on; what is broken then is named.
    try lab.expect("lab", "node", "kill", "n2")
    #expect(try lab.expect("lab", "status").contains("dead"))
    try lab.expect("lab", "ping")
    try lab.expect("lab", "exec", "n2", "--", "bridge", "fdb", "flush", "dev", "flannel.1")
    let broken = try lab.weft("lab", "ping", "--timeout", "300")
    #expect(broken.exit == .status(1))
    #expect(broken.text.contains("node n2: flannel.1 has no FDB entry"), "\(broken.text)")
    #expect(broken.text.contains("the agent of n2 is not running"))
    try lab.expect("lab", "node", "start", "n2")
    try lab.expect("lab", "ping")

    try lab.expect("lab", "pod", "rm", "web")
    #expect(!lab.namespaces.contains("weft-\(lab.name)-n1-web"))
    let agents = lab.agentProcesses
    #expect(agents.count == 2 && agents.allSatisfy(\.isRunning))
    try lab.expect("lab", "down")
    #expect(lab.namespaces.isEmpty)
    #expect(agents.allSatisfy { !$0.isRunning })
  }

  @Test func downWorksWithWhatIsLeft() throws {
    let lab = try TestLab()
    try lab.expect("lab", "up", "--nodes", "2", "--pods", "1", "--conflist", lab.state.file("net.conflist"))
    let agents = lab.agentProcesses
    agents.first?.signal(SIGKILL)
    try Files.writeAtomically(Array(#"{"version":1,"no"#.utf8), to: "\(lab.directory)/lab.json", mode: 0o644)
    try Files.remove("\(lab.directory)/nodes/n1/etc-cni-net.d/10-flannel.conflist")
    let status = try lab.weft("lab", "status")
    #expect(status.exit == .status(1))
    #expect(status.errorText.contains("lab.json"), "\(status.errorText)")
    try lab.expect("lab", "down")
    #expect(lab.namespaces.isEmpty)
    #expect(!Files.exists(lab.root))
    #expect(agents.allSatisfy { !$0.isRunning })
  }

  /// The program is killed at several moments while it makes a lab; `down` removes what is there each time.
  @Test(arguments: [20, 60, 120, 250, 500, 900]) func downAfterKill(milliseconds: Int64) throws {
    let lab = try TestLab()
    let words = ["lab", "up"] + lab.options
    let list = lab.state.file("net.conflist")
    let child = try ChildProcess.start(lab.weft, words + ["--nodes", "3", "--pods", "3", "--conflist", list])
    Clock.sleep(nanoseconds: milliseconds * 1_000_000)
    child.signal(SIGKILL)
    _ = try child.wait()
    let agents = lab.agentProcesses
    try lab.expect("lab", "down")
    #expect(lab.namespaces.isEmpty)
    #expect(!Files.exists(lab.root))
    #expect(agents.allSatisfy { !$0.isRunning })
  }

  /// Agents that did not record themselves, and programs that somebody runs on a node, end with the lab.
  @Test func downEndsProcessesWithoutARecord() throws {
    let lab = try TestLab()
    try lab.expect("lab", "up", "--nodes", "2", "--pods", "0", "--conflist", lab.state.file("net.conflist"))
    let agents = lab.agentProcesses
    #expect(agents.count == 2)
    for node in ["n1", "n2"] { try Files.remove("\(lab.directory)/nodes/\(node)/agent.pid") }
    let words = ["lab", "exec"] + lab.options + ["n1", "--", "sleep", "300"]
    let sleeper = try ChildProcess.start(lab.weft, words)
    try lab.expect("lab", "down")
    #expect(lab.namespaces.isEmpty)
    #expect(!Files.exists(lab.root))
    #expect(agents.allSatisfy { !$0.isRunning })
    sleeper.signal(SIGKILL)
    _ = try sleeper.wait()
  }

  @Test func interruptedUpRemovesEverything() throws {
    let lab = try TestLab()
    let list = lab.state.file("net.conflist")
    let words = ["lab", "up"] + lab.options + ["--nodes", "3", "--pods", "20", "--conflist", list]
    let child = try ChildProcess.start(lab.weft, words)
    let deadline = Clock.monotonic() + 30_000_000_000
    while lab.namespaces.count < 5, Clock.monotonic() < deadline { Clock.sleep(nanoseconds: 5_000_000) }
    child.signal(SIGTERM)
    #expect(try child.wait() == .status(1))
    #expect(lab.namespaces.isEmpty)
    #expect(!Files.exists(lab.root))
  }

  @Test func aFailingStepSaysWhichAndRemovesEverything() throws {
    let lab = try TestLab()
    try lab.state.write(#"{"name":"x","plugins":[{"type":"nothing"}]}"#, to: "bad.conflist")
    let missing = try lab.weft("lab", "up", "--nodes", "1", "--pods", "1", "--conflist", lab.state.file("bad.conflist"))
    #expect(missing.exit == .status(1))
    #expect(missing.errorText.contains("CNI plugin nothing"), "\(missing.errorText)")
    let version = #"{"cniVersion":"9.0.0","name":"x","plugins":[{"type":"bridge"}]}"#
    try lab.state.write(version, to: "new.conflist")
    for (list, word) in [("new.conflist", "9.0.0"), ("absent", "absent"), ("", "--conflist")] {
      let refused = try lab.weft("lab", "up", "--nodes", "1", "--conflist", lab.state.file(list))
      #expect(refused.exit == .status(1))
      #expect(refused.errorText.contains(word), "\(refused.errorText)")
      #expect(!refused.errorText.contains("removing"), "\(refused.errorText)")
    }
    let refused = try lab.weft("lab", "up", "--nodes", "1", "--backend", #"{"Type":"vxlan","VNI":"x"}"#)
    #expect(refused.exit == .status(1))
    #expect(refused.errorText.contains("agent of n1"), "\(refused.errorText)")
    #expect(!refused.errorText.contains("CLI flags config"), "\(refused.errorText)")
    #expect(refused.errorText.contains("ended while starting: "), "\(refused.errorText)")
    #expect(lab.namespaces.isEmpty)
    #expect(!Files.exists(lab.root))
  }
}
