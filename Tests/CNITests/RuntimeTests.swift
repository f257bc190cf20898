import JSON
import NetTypes
import Syscalls
import TestSupport
import Testing

@testable import CNI

/// Notes what the runtime starts and answers as told.
final class FakeExecutor {
  struct Call {
    var plugin: String
    var environment: PluginEnvironment
    var config: JSONObject
    var line: String { "\(plugin) \(environment["CNI_COMMAND"])" }
  }
  var calls: [Call] = []
  var failing: [String: String] = [:]
  var answer: [String: String] = [:]

  func spawn(_ path: String, _ environment: [String], _ stdin: [UInt8]) throws -> ChildProcess.Output {
    let config = try JSONValue(parsing: stdin).objectValue ?? JSONObject()
    let call = Call(plugin: Files.split(path).name, environment: PluginEnvironment(environment), config: config)
    calls.append(call)
    if let error = failing[call.line] {
      return .init(exit: .status(1), stdout: Array(error.utf8), stderr: [])
    }
    let result = answer[call.plugin] ?? config["prevResult"]?.text() ?? "{}"
    return .init(exit: .status(0), stdout: call.line.hasSuffix("ADD") ? Array(result.utf8) : [], stderr: [])
  }
  var lines: [String] { calls.map(\.line) }
}

@Suite struct RuntimeTests {
  let dir: TemporaryDirectory
  let fake = FakeExecutor()
  let runtime: Runtime
  let pod = Runtime.Attachment(
    containerID: "c1", netns: "/run/netns/p1", args: [("IgnoreUnknown", "1"), ("A", "b")],
    capabilityArgs: JSONObject([
      ("portMappings", [["containerPort": 80, "hostPort": 18080, "protocol": "tcp"]]), ("bandwidth", [:]),
    ]))

  init() throws {
    dir = try TemporaryDirectory("runtime")
    for name in ["flannel", "portmap"] { try dir.write("", to: "bin/\(name)", mode: 0o755) }
    let fake = fake
    runtime = Runtime(
      path: ["/nowhere", dir.file("bin")], cacheDirectory: dir.file("cni"), environment: ["HOME": "/root"],
      spawn: { try fake.spawn($0, $1, $2) })
    fake.answer["flannel"] =
      #"{"cniVersion":"0.4.0","interfaces":[{"name":"eth0","mac":"b6:aa:7b:01:b5:42","sandbox":"/run/netns/p1"}],"#
      + #""ips":[{"version":"4","interface":0,"address":"10.244.41.2/24","gateway":"10.244.41.1"}],"dns":{}}"#
  }

  func list(_ version: String = "0.4.0", _ more: String = "") throws -> NetworkConfigurationList {
    try NetworkConfigurationList(
      parsing: Array(
        (#"{"name":"cbr0","cniVersion":"\#(version)"\#(more),"plugins":[{"type":"flannel","delegate":{"a":1}},"#
          + #"{"type":"portmap","capabilities":{"portMappings":true,"bandwidth":false,"other":true}}]}"#).utf8))
  }

  @Test func addInOrderWithPreviousResults() throws {
    let result = try runtime.add(try list(), pod)
    #expect(fake.lines == ["flannel ADD", "portmap ADD"])
    #expect(result.ips.map(\.address.description) == ["10.244.41.2/24"])
    let first = fake.calls[0]
    #expect(first.config["name"] == "cbr0" && first.config["cniVersion"] == "0.4.0")
    #expect(first.config["prevResult"] == nil && first.config["runtimeConfig"] == nil)
    #expect(first.environment["CNI_CONTAINERID"] == "c1")
    #expect(first.environment["CNI_NETNS"] == "/run/netns/p1")
    #expect(first.environment["CNI_IFNAME"] == "eth0")
    #expect(first.environment["CNI_ARGS"] == "IgnoreUnknown=1;A=b")
    #expect(first.environment["CNI_PATH"] == "/nowhere:\(dir.path)/bin")
    #expect(first.environment["HOME"] == "/root")
    let second = fake.calls[1]
    #expect(second.config["prevResult"]?.objectValue?["cniVersion"] == "0.4.0")
    #expect(
      second.config["runtimeConfig"]
        == ["portMappings": [["containerPort": 80, "hostPort": 18080, "protocol": "tcp"]]])
  }

  /// Byte for byte what the reference library writes.
  @Test func cacheIsThatOfTheReference() throws {
    let l = try list()
    try runtime.add(l, pod)
    let path = dir.file("cni/results/cbr0-c1-eth0")
    let config = Base64.encode(l.bytes)
    #expect(
      try Files.text(path)
        == #"{"kind":"cniCacheV1","containerId":"c1","config":"\#(config)","ifName":"eth0","networkName":"cbr0","#
        + #""netns":"/run/netns/p1","cniArgs":[["IgnoreUnknown","1"],["A","b"]],"capabilityArgs":{"bandwidth":{},"#
        + #""portMappings":[{"containerPort":80,"hostPort":18080,"protocol":"tcp"}]},"result":{"cniVersion":"0.4.0","#
        + #""dns":{},"interfaces":[{"mac":"b6:aa:7b:01:b5:42","name":"eth0","sandbox":"/run/netns/p1"}],"#
        + #""ips":[{"address":"10.244.41.2/24","gateway":"10.244.41.1","interface":0,"version":"4"}]}}"#)
    #expect(try Files.status(path).permissions == 0o600)
    #expect(try Files.status(dir.file("cni/results")).permissions == 0o700)
  }

  @Test func base64() {
    for (text, expected) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
      #expect(Base64.encode(Array(text.utf8)) == expected)
    }
    #expect(Base64.encode([0xfb, 0xff]) == "+/8=")
  }

  @Test func delInReverseWithTheCachedResult() throws {
    let l = try list()
    try runtime.add(l, pod)
    fake.calls = []
    try runtime.del(l, pod)
    #expect(fake.lines == ["portmap DEL", "flannel DEL"])
    #expect(fake.calls.allSatisfy { $0.config["prevResult"] != nil })
    #expect(try Files.list(dir.file("cni/results")).isEmpty)
    try runtime.del(l, pod)
    #expect(fake.calls.last?.config["prevResult"] == nil)
    let old = try list("0.3.1")
    try runtime.add(old, pod)
    fake.calls = []
    try runtime.del(old, pod)
    #expect(fake.calls.allSatisfy { $0.config["prevResult"] == nil })
  }

  @Test func aFailedDelKeepsTheCache() throws {
    let l = try list()
    try runtime.add(l, pod)
    fake.failing["flannel DEL"] = #"{"code":5,"msg":"broken"}"#
    #expect(throws: CNIError.self) { try runtime.del(l, pod) }
    #expect(try Files.list(dir.file("cni/results")) == ["cbr0-c1-eth0"])
  }

  @Test func aFailedAddIsUndoneAndNamesThePlugin() throws {
    fake.failing["portmap ADD"] = #"{"code":11,"msg":"port taken"}"#
    do {
      try runtime.add(try list(), pod)
      Issue.record("no error")
    } catch {
      let e = try #require(error as? CNIError)
      #expect(e.code == .tryAgainLater)
      #expect(e.message == #"plugin type="portmap" name="cbr0" failed (add): port taken"#)
    }
    #expect(fake.lines == ["flannel ADD", "portmap ADD", "portmap DEL", "flannel DEL"])
    #expect(!Files.exists(dir.file("cni/results/cbr0-c1-eth0")))
  }

  @Test func missingPlugin() throws {
    let l = try NetworkConfigurationList(parsing: Array(#"{"name":"n","cniVersion":"1.0.0","type":"gone"}"#.utf8))
    do {
      try runtime.add(l, pod)
      Issue.record("no error")
    } catch {
      #expect(
        error.message
          == #"plugin type="gone" name="n" failed (add): failed to find plugin "gone" in path [/nowhere \#(dir.path)/bin]"#
      )
    }
  }

  @Test func check() throws {
    #expect(throws: CNIError.self) { try runtime.check(try list("0.3.1"), pod) }
    #expect(throws: CNIError.self) { try runtime.check(try list(), pod) }
    for more in [#","disableCheck":true"#, #","disableCheck":"TRUE""#] {
      try runtime.check(try list("0.4.0", more), pod)
    }
    #expect(fake.calls.isEmpty)
    try runtime.add(try list(), pod)
    fake.calls = []
    try runtime.check(try list(), pod)
    #expect(fake.lines == ["flannel CHECK", "portmap CHECK"])
    #expect(fake.calls.allSatisfy { $0.config["prevResult"] != nil })
  }

  @Test func gc() throws {
    let l = try list("1.1.0")
    fake.answer["flannel"] = #"{"cniVersion":"1.1.0"}"#
    var other = pod
    other.containerID = "c2"
    try runtime.add(l, pod)
    try runtime.add(l, other)
    fake.calls = []
    try runtime.gc(l, valid: [pod.id])
    #expect(fake.lines == ["portmap DEL", "flannel DEL", "flannel GC", "portmap GC"])
    #expect(fake.calls[0].environment["CNI_CONTAINERID"] == "c2")
    #expect(fake.calls[0].environment["CNI_ARGS"] == "IgnoreUnknown=1;A=b")
    #expect(fake.calls[0].config["runtimeConfig"] != nil)
    for key in ["cni.dev/valid-attachments", "cni.dev/attachments"] {
      #expect(fake.calls[2].config[key] == [["containerID": "c1", "ifname": "eth0"]])
    }
    #expect(try Files.list(dir.file("cni/results")) == ["cbr0-c1-eth0"])
    fake.calls = []
    try runtime.gc(try list("1.1.0", #","disableGC":true"#), valid: [])
    try runtime.gc(try list("0.4.0"), valid: [pod.id])
    #expect(fake.calls.isEmpty)
    fake.failing["flannel GC"] = #"{"code":5,"msg":"broken"}"#
    #expect(throws: CNIError.self) { try runtime.gc(l, valid: [pod.id]) }
    #expect(fake.lines == ["flannel GC", "portmap GC"])
  }

  @Test func status() throws {
    try runtime.status(try list("1.0.0"))
    #expect(fake.calls.isEmpty)
    try runtime.status(try list("1.1.0"))
    #expect(fake.lines == ["flannel STATUS", "portmap STATUS"])
    fake.failing["flannel STATUS"] = #"{"code":50,"msg":"no subnet"}"#
    do {
      try runtime.status(try list("1.1.0"))
      Issue.record("no error")
    } catch { #expect((error as? CNIError)?.code == .notAvailable) }
  }

  @Test(arguments: [
    (#""cniVersion":"0.3.1""#, "0.3.1"), (#""cniVersions":["0.3.1","1.0.0","2.0.0"]"#, "1.0.0"),
    (#""cniVersion":"1.1.0","cniVersions":["0.3.1"]"#, "1.1.0"), (#""x":1"#, "0.1.0"),
  ])
  func versionOfAList(text: String, expected: String) throws {
    let l = try NetworkConfigurationList(parsing: Array(#"{"name":"n","plugins":[{"type":"x"}],\#(text)}"#.utf8))
    #expect(l.version.description == expected)
  }

  @Test(arguments: [
    "", "[]", "{}", #"{"name":"n"}"#, #"{"name":"n","plugins":[]}"#, #"{"name":"n","plugins":[7]}"#,
    #"{"name":"n","plugins":[{}]}"#, #"{"plugins":[{"type":"x"}]}"#, #"{"name":"a b","plugins":[{"type":"x"}]}"#,
    #"{"name":"n","plugins":[{"type":"x"}],"cniVersions":["x"]}"#,
    #"{"name":"n","plugins":[{"type":"x"}],"cniVersions":["7.0.0"]}"#,
    #"{"name":"n","plugins":[{"type":"x"}],"disableCheck":"maybe"}"#,
  ])
  func badLists(text: String) {
    #expect(throws: CNIError.self) { try NetworkConfigurationList(parsing: Array(text.utf8)) }
  }

  /// With real programs: ours, found in the path, for two containers.
  @Test func withPrograms() throws {
    let binary = try builtProduct("weft-cni")
    try Files.makeDirectory(dir.file("real"))
    _ = try ChildProcess.run("/bin/ln", ["-s", binary, dir.file("real/host-local")])
    let r = Runtime(path: [dir.file("real")], cacheDirectory: dir.file("cache"))
    let l = try NetworkConfigurationList(
      parsing: Array(
        (#"{"name":"n","cniVersion":"1.0.0","type":"host-local","ipam":{"dataDir":"\#(dir.path)/ipam","#
          + #""ranges":[[{"subnet":"10.9.0.0/24"}]]}}"#).utf8))
    let a = Runtime.Attachment(containerID: "a", netns: "/no/such")
    #expect(try r.add(l, a).ips.map(\.address.description) == ["10.9.0.2/24"])
    try r.check(l, a)
    // The second ADD fails, and the undo of a runtime takes the first away.
    #expect(throws: CNIError.self) { try r.add(l, a) }
    #expect(throws: CNIError.self) { try r.check(l, a) }
    try r.del(l, a)
  }
}
