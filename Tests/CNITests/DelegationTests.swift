import Glibc
import JSON
import Syscalls
import TestSupport
import Testing

@testable import CNI

@Suite struct DelegationTests {
  let dir: TemporaryDirectory
  init() throws { dir = try TemporaryDirectory("delegate") }

  /// A request of a plugin that delegates, with programs in the directory.
  func request(
    _ host: PluginHost = PluginHost(), version: String = "1.0.0", path: String? = nil
  ) throws -> CNIRequest {
    let spy = SpyPlugin()
    let call = PluginCall(spy, path: path ?? dir.path, host: host)
    _ = call(#"{"name":"n","cniVersion":"\#(version)","type":"x","ipam":{"type":"y"}}"#)
    return try #require(spy.last)
  }

  func program(_ name: String, _ script: String) throws {
    try dir.write("#!/bin/sh\n\(script)\n", to: name, mode: 0o755)
  }

  @Test func aProgramGetsEnvironmentAndInput() throws {
    try program("y", #"cat >"\#(dir.path)/in"; env | grep ^CNI_ | sort >"\#(dir.path)/env"; echo '{}'; echo hi >&2"#)
    let r = try request()
    #expect(try r.delegateAdd("y", r.ownConfiguration) == CNIResult())
    #expect(try Files.read("\(dir.path)/in") == r.stdin)
    #expect(
      try Files.text("\(dir.path)/env")
        == "CNI_COMMAND=ADD\nCNI_CONTAINERID=dummy\nCNI_IFNAME=eth0\nCNI_NETNS=/no/such/netns\nCNI_PATH=\(dir.path)\n")
    #expect(String(decoding: r.host.messages, as: UTF8.self) == "hi\n")
    try r.delegate("y", .del, r.ownConfiguration)
    #expect(try Files.text("\(dir.path)/env").hasPrefix("CNI_COMMAND=DEL\n"))
  }

  @Test func resultsWithoutVersionTakeTheConfigurations() throws {
    try program("y", #"cat >/dev/null; echo '{"ips":[{"version":"4","address":"10.0.0.2/24"}]}'"#)
    let r = try request(version: "0.3.1")
    #expect(try r.delegateAdd("y", r.ownConfiguration).ips.map(\.address.description) == ["10.0.0.2/24"])
    try program("z", #"cat >/dev/null; echo '{"cniVersion":"0.2.0","ip4":{"ip":"10.0.0.3/24"}}'"#)
    #expect(try r.delegateAdd("z", r.ownConfiguration).ips.map(\.address.description) == ["10.0.0.3/24"])
    try program("bad", "cat >/dev/null; echo nonsense")
    #expect(throws: CNIError.self) { try r.delegateAdd("bad", r.ownConfiguration) }
  }

  func error(_ name: String, _ script: String? = nil, path: String? = nil) throws -> CNIError? {
    if let script { try program(name, script) }
    let r = try request(path: path)
    do {
      try r.delegate(name, .del, r.ownConfiguration)
      return nil
    } catch { return error }
  }

  @Test func failuresKeepTheirWords() throws {
    let coded = try #require(
      try error("a", #"cat >/dev/null; echo '{"code":11,"msg":"later","details":"d"}'; exit 1"#))
    #expect(coded == CNIError(.tryAgainLater, "later", details: "d"))
    #expect(coded.prefixed("x: ") == coded)
    #expect(
      try error("b", "cat >/dev/null; echo oh >&2; exit 3")?.message
        == #"netplugin failed: "oh\n": exit status 3"#)
    #expect(
      try error("c", "cat >/dev/null; exit 4")?.message == "netplugin failed with no error message: exit status 4")
    #expect(
      try error("d", "cat >/dev/null; echo no; exit 4")?.message
        .hasPrefix(#"netplugin failed but error parsing its diagnostic message "no\n": "#) == true)
    #expect(try error("e", "cat >/dev/null; kill -9 $$")?.message.hasSuffix("signal 9") == true)
  }

  @Test func lookingUp() throws {
    #expect(try error("")?.message == "no plugin name provided")
    #expect(try error("a/b")?.message == "invalid plugin name: a/b")
    let e = try #require(try error("gone", path: "/x:\(dir.path)"))
    #expect(e.message == #"failed to find plugin "gone" in path [/x \#(dir.path)]"#)
    #expect(e.prefixed("failed to delegate add: ").message.hasPrefix("failed to delegate add: failed to find"))
    try Files.makeDirectory(dir.file("directory"))
    #expect(try error("directory")?.message.hasPrefix("failed to find plugin") == true)
  }

  /// Our own file, whatever it is called and however it is linked, is called as a function.
  @Test func ownPluginsAreCalledAsFunctions() throws {
    try program("weft-cni", "echo '{\"code\":7,\"msg\":\"executed\"}'; exit 1")
    link(dir.file("weft-cni"), dir.file("spy"))
    symlink("weft-cni", dir.file("spy2"))
    try Files.makeDirectory(dir.file("sub"))
    symlink(dir.file("weft-cni"), dir.file("sub/spy"))
    let inner = SpyPlugin()
    inner.result.interfaces = [.init(name: "eth0", mtu: 1500)]
    let host = PluginHost(
      plugins: [inner], executable: try Files.status(dir.file("weft-cni")),
      spawn: { path, _, _ in throw CNIError.plain("spawned \(path)") })
    let r = try request(host, version: "0.4.0")
    let result = try r.delegateAdd("spy", r.ownConfiguration)
    #expect(inner.calls == ["ADD"])
    #expect(inner.last?.environment["CNI_COMMAND"] == "ADD")
    // As if it had been printed and read again.
    #expect(result.interfaces == [.init(name: "eth0")])
    let other = try request(host, path: dir.file("sub"))
    try other.delegate("spy", .del, other.ownConfiguration)
    #expect(inner.calls == ["ADD", "DEL"])
    // The file is ours but holds no plugin of that name, and the other way round.
    #expect(throws: CNIError.self) { try r.delegate("spy2", .del, r.ownConfiguration) }
    try program("sub2/spy", "exit 1")
    let foreign = try request(host, path: dir.file("sub2"))
    #expect(throws: CNIError.self) { try foreign.delegate("spy", .del, foreign.ownConfiguration) }
    #expect(inner.calls == ["ADD", "DEL"])
  }

  @Test func functionsAreCheckedLikePrograms() throws {
    try program("future", "exit 1")
    let host = PluginHost(plugins: [FuturePlugin()], executable: try Files.status(dir.file("future")))
    let r = try request(host)
    do {
      try r.delegate("future", .del, r.ownConfiguration)
      Issue.record("the version was not checked")
    } catch {
      #expect(error.message == "incompatible CNI versions")
    }
    struct Failing: CNIPlugin {
      static let name = "future"
      func add(_ r: CNIRequest) throws -> CNIResult { throw CNIError.plain("inner") }
      func del(_ r: CNIRequest) throws {}
    }
    host.plugins["future"] = Failing()
    do {
      _ = try r.delegateAdd("future", r.ownConfiguration)
      Issue.record("no error")
    } catch {
      // Like the document of a program: nobody puts words before it.
      #expect(error.prefixed("x: ") == CNIError(.other, "inner"))
    }
  }

  /// The program as a runtime sees it.
  @Test func theProgramItself() throws {
    let binary = try builtProduct("weft-cni")
    for name in ["host-local", "nonsense"] { symlink(binary, dir.file(name)) }
    let about = try ChildProcess.run(dir.file("host-local"), environment: [])
    #expect(about.exit.isSuccess && about.stdout.isEmpty)
    #expect(about.errorText.hasPrefix("CNI host-local plugin "))
    let version = try ChildProcess.run(binary, ["host-local"], environment: ["CNI_COMMAND=VERSION"])
    #expect(version.text.hasPrefix(#"{"cniVersion":"1.1.0","#))
    let unknown = try ChildProcess.run(dir.file("nonsense"), environment: ["CNI_COMMAND=ADD"])
    #expect(unknown.exit == .status(1))
    #expect(unknown.errorText.contains("flannel, bridge, host-local"))
    let document = try JSONValue(parsing: unknown.stdout)
    #expect(document.objectValue?["code"]?.intValue == 999)
    let large = [UInt8](repeating: 0x20, count: PluginMain.inputLimit + 1)
    let call = PluginCall(HostLocalPlugin())
    let refused = try ChildProcess.run(
      dir.file("host-local"), environment: call.environment.entries, input: large)
    #expect(refused.text.contains("error reading from stdin: read"))
  }

  /// A trap must not leave the runtime without a word.
  @Test(arguments: [SIGSEGV, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE])
  func aFaultBecomesAnErrorDocument(number: Int32) throws {
    let input = try Pipe()
    let output = try Pipe()
    let child = try ChildProcess.start(
      try builtProduct("weft-cni"), ["host-local"],
      environment: PluginCall(HostLocalPlugin()).environment.entries, stdin: input.read.number,
      stdout: output.write.number)
    // Once it takes its input, its own handlers are there; before, those of the Swift runtime are.
    try input.write.write([0x20])
    let deadline = Clock.monotonic() + 20_000_000_000
    var set = [pollfd(fd: input.read.number, events: Int16(POLLIN), revents: 0)]
    while poll(&set, 1, 0) == 1, Clock.monotonic() < deadline { Clock.sleep(nanoseconds: 1_000_000) }
    child.signal(number)
    var exit = try child.poll()
    while exit == nil, Clock.monotonic() < deadline {
      Clock.sleep(nanoseconds: 1_000_000)
      exit = try child.poll()
    }
    if exit == nil {
      child.signal(SIGKILL)
      _ = try child.wait()
    }
    try #require(exit == .status(1))
    var buffer = [UInt8](repeating: 0, count: 4096)
    let n = try output.read.read(into: &buffer)
    let document = try JSONValue(parsing: Array(buffer[..<n]))
    #expect(document.objectValue?["code"]?.intValue == 999)
  }
}
