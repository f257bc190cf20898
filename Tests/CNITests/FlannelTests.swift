import Glibc
import JSON
import NetTypes
import Syscalls
import TestSupport
import Testing

@testable import CNI

/// Stands for bridge: notes what it gets.
final class FakeBridge: CNIPlugin {
  static var name: String { "bridge" }
  var calls: [(command: String, config: JSONObject)] = []
  var failing: Set<String> = []
  var code = CNIError.Code.tryAgainLater
  func run(_ r: CNIRequest) throws -> CNIResult {
    calls.append((r.command.rawValue, r.config))
    if failing.contains(r.command.rawValue) { throw CNIError(code, "\(r.command.rawValue) failed") }
    return CNIResult(
      interfaces: [.init(name: "eth0")],
      ips: [.init(address: IPPrefix(base: IPAddress(.ipv4, 0x0a01_1102), length: 24))])
  }
  func add(_ r: CNIRequest) throws -> CNIResult { try run(r) }
  func del(_ r: CNIRequest) throws { _ = try run(r) }
  func check(_ r: CNIRequest) throws { _ = try run(r) }
  func status(_ r: CNIRequest) throws { _ = try run(r) }
  func gc(_ r: CNIRequest) throws { _ = try run(r) }
}

@Suite struct FlannelTests {
  let dir: TemporaryDirectory
  let bridge = FakeBridge()
  let call: PluginCall
  static let v4 = "FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.17.1/24\n"
  static let v6 = "FLANNEL_IPV6_NETWORK=fc00::/48\nFLANNEL_IPV6_SUBNET=fc00::1/64\n"
  static let rest = "FLANNEL_MTU=1472\nFLANNEL_IPMASQ=true\n"

  init() throws {
    dir = try TemporaryDirectory("flannel")
    try dir.write("", to: "bin/bridge", mode: 0o755)
    let host = PluginHost(plugins: [bridge], executable: try Files.status(dir.file("bin/bridge")))
    call = PluginCall(FlannelPlugin(), path: dir.file("bin"), host: host)
    try environment("\n" + Self.v4 + Self.rest)
  }

  func environment(_ text: String) throws { try dir.write(text, to: "subnet.env") }
  func config(_ more: String = "", version: String? = nil) -> String {
    #"{"name":"cni-flannel","type":"flannel"\#(version.map { #","cniVersion":"\#($0)""# } ?? ""),"#
      + #""subnetFile":"\#(dir.path)/subnet.env","dataDir":"\#(dir.path)/data"\#(more)}"#
  }
  func saved(_ name: String = "dummy") -> String? { try? Files.text(dir.file("data/\(name)")) }
  func with(id: String, ifname: String = "eth0") -> PluginCall {
    var c = call
    c.id = id
    c.ifname = ifname
    return c
  }

  @Test func lifecycle() throws {
    let out = call(config())
    #expect(out.exitCode == 0, "\(out.text)")
    #expect(out.json["ip4"] != nil)
    // Byte for byte what the reference saves.
    let expected =
      #"{"ipMasq":false,"ipam":{"ranges":[[{"subnet":"10.1.17.0/24"}]],"routes":[{"dst":"10.1.0.0/16"}],"#
      + #""type":"host-local"},"isGateway":true,"mtu":1472,"name":"cni-flannel","type":"bridge"}"#
    #expect(saved() == expected)
    #expect(out.errorText.contains(expected))
    #expect(try Files.status(dir.file("data/dummy")).permissions == 0o600)
    #expect(try Files.status(dir.file("data")).permissions == 0o700)
    #expect(try Files.list(dir.file("data")) == ["dummy"])
    unlink(dir.file("subnet.env"))
    #expect(call(config(), "DEL").exitCode == 0)
    #expect(saved() == nil)
    #expect(call(config(), "DEL").exitCode == 0)
    #expect(bridge.calls.map(\.command) == ["ADD", "DEL"])
    #expect(JSONValue.object(bridge.calls[1].config).text(.sorted) == expected)
  }

  /// A file saved by the reference plugin on a cluster node.
  @Test func savesWhatTheReferenceSaves() throws {
    try environment(
      "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.99.1/24\nFLANNEL_IPV6_NETWORK=fd00:10:244::/56\n"
        + "FLANNEL_IPV6_SUBNET=fd00:10:244:11::1/64\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n")
    let c =
      #"{"cniVersion":"0.3.1","name":"cbr0","type":"flannel","subnetFile":"\#(dir.path)/subnet.env","#
      + #""dataDir":"\#(dir.path)/data","ipam":{"dataDir":"/run/gbench/ipam.n1"},"#
      + #""delegate":{"hairpinMode":true,"isDefaultGateway":true}}"#
    #expect(call(c).exitCode == 0)
    #expect(
      saved()
        == #"{"cniVersion":"0.3.1","hairpinMode":true,"ipMasq":false,"ipam":{"dataDir":"/run/gbench/ipam.n1","#
        + #""ranges":[[{"subnet":"10.244.99.0/24"}],[{"subnet":"fd00:10:244:11::/64"}]],"#
        + #""routes":[{"dst":"10.244.0.0/16"},{"dst":"fd00:10:244::/56"}],"type":"host-local"},"#
        + #""isDefaultGateway":true,"isGateway":true,"mtu":1450,"name":"cbr0","type":"bridge"}"#)
  }

  @Test(arguments: CNIVersion.all)
  func everyVersion(version: CNIVersion) throws {
    let out = call(config(version: version.description))
    #expect(out.json["cniVersion"]?.stringValue == version.description)
    #expect(bridge.calls.last?.config["cniVersion"]?.stringValue == version.description)
    #expect(call(config(version: version.description), "DEL").exitCode == 0)
  }

  @Test(arguments: [
    (
      v4 + "FLANNEL_NETWORK=10.1.0.0/16,192.168.0.0/16,10.1.0.0/16\n", ["10.1.0.0/16", "192.168.0.0/16"],
      ["10.1.17.0/24"]
    ),
    (v6, ["fc00::/48"], ["fc00::/64"]),
    (v6 + v4, ["10.1.0.0/16", "fc00::/48"], ["10.1.17.0/24", "fc00::/64"]),
  ])
  func networksAndFamilies(text: String, routes: [String], ranges: [String]) throws {
    try environment(text + Self.rest)
    #expect(call(config()).exitCode == 0)
    let ipam = try #require(bridge.calls.first?.config["ipam"]?.objectValue)
    #expect(ipam["routes"] == .array(routes.map { ["dst": .string($0)] }))
    #expect(ipam["ranges"] == .array(ranges.map { .array([["subnet": .string($0)]]) }))
  }

  @Test func delegateIPAMKeepsWhatIsGiven() throws {
    let ipam =
      #","ipam":{"type":"my-ipam","unknown-param":"u","ranges":[[{"subnet":"1.0.0.0/8"}]],"#
      + #""routes":[{"dst":"10.96.0.0/12"},{"dst":"192.168.244.0/24","gw":"10.1.17.20"}]}"#
    _ = call(config(ipam))
    let o = try #require(bridge.calls.first?.config["ipam"]?.objectValue)
    #expect(o["type"] == "my-ipam")
    #expect(o["unknown-param"] == "u")
    #expect(
      o["routes"] == [
        ["dst": "10.96.0.0/12"], ["dst": "192.168.244.0/24", "gw": "10.1.17.20"], ["dst": "10.1.0.0/16"],
      ])
    #expect(o["ranges"] == [[["subnet": "10.1.17.0/24"]]])
  }

  @Test func delegateOverridesAndRuntimeConfig() throws {
    let more =
      #","runtimeConfig":{"portMappings":[{"hostPort":80}]},"prevResult":{"cniVersion":"1.0.0"},"#
      + #""delegate":{"ipMasq":true,"mtu":1200,"isGateway":false,"bridge":"br7","x":{"y":1}}"#
    _ = call(config(more, version: "1.0.0"))
    let o = try #require(bridge.calls.first?.config)
    #expect(o["ipMasq"] == true && o["mtu"] == 1200 && o["isGateway"] == false && o["bridge"] == "br7")
    #expect(o["x"] == ["y": 1])
    #expect(o["runtimeConfig"] == ["portMappings": [["hostPort": 80]]])
    #expect(o["prevResult"] == nil)
    try environment(Self.v4 + "FLANNEL_MTU=1\nFLANNEL_IPMASQ=false\n")
    _ = with(id: "b")(config())
    #expect(bridge.calls.last?.config["ipMasq"] == true)
  }

  @Test func otherDelegates() throws {
    let out = call(config(#","delegate":{"type":"ipvlan"}"#))
    #expect(out.message == #"failed to delegate add: failed to find plugin "ipvlan" in path [\#(dir.path)/bin]"#)
    #expect(saved() == nil)
    #expect(call(config(), "DEL").exitCode == 0)
  }

  @Test(arguments: [
    (#"{"type":7}"#, "'delegate' dictionary, if present, must have (string) 'type' field"),
    (#"{"name":"x"}"#, "'delegate' dictionary must not have 'name' field, it'll be set by flannel"),
    (#"{"ipam":{}}"#, "'delegate' dictionary must not have 'ipam' field, it'll be set by flannel"),
  ])
  func delegateRules(delegate: String, message: String) {
    #expect(call(config(#","delegate":\#(delegate)"#)).message == message)
    #expect(bridge.calls.isEmpty)
  }

  @Test func subnetFile() throws {
    let f = dir.file("subnet.env")
    let e = try SubnetEnvironment(parsing: "\n" + Self.v4 + Self.v6 + Self.rest + "OTHER=1\nFLANNEL_X\n", file: f)
    #expect(e.networks.map(\.description) == ["10.1.0.0/16"])
    #expect(e.subnet?.description == "10.1.17.0/24")
    #expect(e.ipv6Subnet?.description == "fc00::/64")
    #expect(e.mtu == 1472 && e.ipMasq)
    #expect(
      try SubnetEnvironment(parsing: Self.v4 + "FLANNEL_MTU=9\r\nFLANNEL_IPMASQ=TRUE\r\n", file: f).ipMasq == false)
    func message(_ text: String) -> String? {
      do {
        _ = try SubnetEnvironment(parsing: text, file: f)
        return nil
      } catch { return error.message }
    }
    let all =
      "FLANNEL_NETWORK, FLANNEL_IPV6_NETWORK, FLANNEL_SUBNET, FLANNEL_IPV6_SUBNET, FLANNEL_MTU, FLANNEL_IPMASQ"
    #expect(message("foo=bar") == "\(f) is missing \(all)")
    #expect(message(Self.v4) == "\(f) is missing FLANNEL_MTU, FLANNEL_IPMASQ")
    // Trap 6: upstream panics on a known key without a value.
    #expect(message(Self.v4 + "FLANNEL_MTU\nFLANNEL_IPMASQ=true") == "\(f) is missing FLANNEL_MTU")
    #expect(message("FLANNEL_NETWORK=x")?.hasSuffix("invalid CIDR address: x") == true)
    for bad in ["-1", "4294967296", "", "1 500x"] { #expect(message("FLANNEL_MTU=\(bad)") != nil) }
  }

  @Test func missingSubnetFile() throws {
    unlink(dir.file("subnet.env"))
    let text =
      "failed to load flannel 'subnet.env' file: open \(dir.path)/subnet.env: no such file or directory. "
      + "Check the flannel pod log for this node."
    #expect(call(config()).message == text)
    #expect(call(config()).code == 999)
    #expect(call(config(version: "1.1.0"), "STATUS").code == 50)
    #expect(call(config(version: "1.1.0"), "STATUS").message == text)
    #expect(bridge.calls.isEmpty)
  }

  @Test func defaults() throws {
    let spy = SpyPlugin()
    _ = PluginCall(spy)(#"{"name":"n","cniVersion":"1.1.0"}"#, "STATUS")
    let c = try FlannelConfiguration(try #require(spy.last))
    #expect(c.subnetFile == "/run/flannel/subnet.env")
    #expect(c.dataDirectory == "/var/lib/cni/flannel")
  }

  /// Trap 4.
  @Test func aFailedAddIsUndone() {
    bridge.failing = ["ADD"]
    let out = call(config())
    #expect(out.code == 11)
    #expect(out.message == "ADD failed")
    #expect(bridge.calls.map(\.command) == ["ADD", "DEL"])
    #expect(saved() == nil)
  }

  /// An ADD too many must not take away what is running.
  @Test func aFailedSecondAddLeavesTheFirst() {
    _ = call(config())
    let before = saved()
    bridge.failing = ["ADD"]
    #expect(call(config(#","delegate":{"mtu":9}"#)).exitCode == 1)
    #expect(bridge.calls.map(\.command) == ["ADD", "ADD"])
    #expect(saved() == before)
  }

  /// Trap 3.
  @Test func theFileStaysUntilTheDelegateSucceeded() {
    _ = call(config())
    bridge.failing = ["DEL"]
    #expect(call(config(), "DEL").message == "DEL failed")
    #expect(saved() != nil)
    bridge.failing = []
    #expect(call(config(), "DEL").exitCode == 0)
    #expect(saved() == nil)
  }

  /// A configuration that the delegate refuses must not block DEL for ever.
  @Test(arguments: [CNIError.Code.unsupportedField, .decodingFailure, .invalidConfiguration])
  func aRefusedConfigurationIsForgotten(code: CNIError.Code) throws {
    bridge.code = code
    bridge.failing = ["ADD", "DEL"]
    #expect(call(config()).code == code.rawValue)
    #expect(bridge.calls.map(\.command) == ["ADD", "DEL"])
    #expect(saved() == nil)
    try dir.write(#"{"name":"cni-flannel","type":"bridge"}"#, to: "data/dummy")
    let out = call(config(), "DEL")
    #expect(out.exitCode == 0, "\(out.text)")
    #expect(out.errorText.contains("DEL failed"))
    #expect(saved() == nil)
  }

  /// Any other failure of ADD and DEL may be passing: the file stays for the next DEL.
  @Test func anUndoThatFailedKeepsTheFile() {
    bridge.failing = ["ADD", "DEL"]
    #expect(call(config()).code == 11)
    #expect(saved() != nil)
  }

  @Test(arguments: [
    #"{"name":"cni-flannel","type":"gone"}"#, #"{"name":"cni-flannel"}"#, #"{"type":"bridge"}"#,
    #"{"name":"cni-flannel","type":7}"#, #"{"name":"cni-flannel","type":"../x"}"#,
  ])
  func nobodyForTheSavedConfiguration(text: String) throws {
    try dir.write(text, to: "data/dummy")
    let out = call(config(), "DEL")
    #expect(out.exitCode == 0, "\(out.text)")
    #expect(out.errorText.contains("data/dummy"))
    #expect(saved() == nil)
    #expect(bridge.calls.isEmpty)
  }

  @Test func damagedFile() throws {
    for text in ["", "{", "[]"] {
      try dir.write(text, to: "data/dummy")
      let out = call(config(), "DEL")
      #expect(out.exitCode == 0)
      #expect(out.errorText.contains("failed to parse netconf"))
      #expect(saved() == nil)
    }
    #expect(bridge.calls.isEmpty)
  }

  /// Trap 2: upstream has one file for all interfaces of a container.
  @Test func interfacesOfOneContainerAreApart() throws {
    let first = with(id: "c")
    let second = with(id: "c", ifname: "net1")
    _ = first(config())
    _ = second(config())
    #expect(try Files.list(dir.file("data")).sorted() == ["c", "c-net1"])
    #expect(second(config(), "DEL").exitCode == 0)
    #expect(second(config(), "DEL").exitCode == 0)
    #expect(saved("c") != nil)
    #expect(first(config(), "DEL").exitCode == 0)
    #expect(try Files.list(dir.file("data")).isEmpty)
    // Of the reference plugin: net1 saved under the container's name alone.
    try dir.write(#"{"name":"cni-flannel","type":"bridge"}"#, to: "data/c")
    bridge.calls = []
    #expect(second(config(), "DEL").exitCode == 0)
    #expect(bridge.calls.map(\.command) == ["DEL"])
    try dir.write(#"{"name":"other","type":"bridge"}"#, to: "data/c")
    #expect(second(config(), "DEL").exitCode == 0)
    #expect(bridge.calls.count == 1)
  }

  /// Trap 5.
  @Test func checkStatusAndGC() throws {
    let c = config(#","prevResult":{"cniVersion":"1.1.0","interfaces":[{"name":"eth0"}]}"#, version: "1.1.0")
    #expect(call(c, "CHECK").exitCode == 1)
    _ = call(config(version: "1.1.0"))
    #expect(call(c, "CHECK").exitCode == 0)
    #expect(bridge.calls.last?.config["prevResult"] == ["cniVersion": "1.1.0", "interfaces": [["name": "eth0"]]])
    #expect(call(c, "STATUS").exitCode == 0)
    #expect(bridge.calls.last?.command == "STATUS")
    _ = with(id: "stale")(config(version: "1.1.0"))
    _ = with(id: "two", ifname: "net1")(config(version: "1.1.0"))
    try dir.write(#"{"name":"other","type":"bridge"}"#, to: "data/foreign")
    try dir.write("junk", to: "data/junk")
    unlink(dir.file("subnet.env"))
    let list = #"[{"containerID":"dummy","ifname":"eth0"},{"containerID":"two","ifname":"net1"}]"#
    let out = call(config(#","cni.dev/valid-attachments":\#(list)"#, version: "1.1.0"), "GC")
    #expect(out.exitCode == 0, "\(out.text)")
    #expect(bridge.calls.last?.command == "GC")
    #expect(bridge.calls.last?.config["cni.dev/valid-attachments"]?.arrayValue?.count == 2)
    #expect(try Files.list(dir.file("data")).sorted() == ["dummy", "foreign", "junk", "two-net1"])
  }

  /// An ADD that was killed leaves a temporary file: the next command of the attachment takes it away, or GC.
  @Test func leftoversOfKilledCalls() throws {
    try dir.write("half", to: "data/.dummy.tmp")
    #expect(call(config()).exitCode == 0)
    #expect(try Files.list(dir.file("data")) == ["dummy"])
    try dir.write("half", to: "data/.dummy.tmp")
    #expect(call(config(), "DEL").exitCode == 0)
    #expect(try Files.list(dir.file("data")).isEmpty)
    for name in [".old.tmp", ".old.4711", ".new.tmp", ".kept.tmp", ".other"] {
      try dir.write("half", to: "data/\(name)")
      guard name != ".new.tmp" else { continue }
      var times = [timespec(tv_sec: 1, tv_nsec: 0), timespec(tv_sec: 1, tv_nsec: 0)]
      #expect(unsafe utimensat(AT_FDCWD, dir.file("data/\(name)"), &times, 0) == 0)
    }
    let list = #","cni.dev/valid-attachments":[{"containerID":"kept","ifname":"eth0"}]"#
    #expect(call(config(list, version: "1.1.0"), "GC").exitCode == 0)
    #expect(try Files.list(dir.file("data")).sorted() == [".kept.tmp", ".new.tmp", ".other"])
  }

  /// The list may get a newer version between ADD and CHECK.
  @Test func checkSpeaksTheVersionOfTheList() throws {
    _ = call(config(version: "0.3.1"))
    #expect(call(config(#","prevResult":{"cniVersion":"1.1.0"}"#, version: "1.1.0"), "CHECK").exitCode == 0)
    #expect(bridge.calls.last?.command == "CHECK")
    #expect(bridge.calls.last?.config["cniVersion"] == "1.1.0")
  }

  @Test func statusWithoutTheDelegate() throws {
    let out = call(config(#","delegate":{"type":"gone"}"#, version: "1.1.0"), "STATUS")
    #expect(out.code == 50)
    #expect(out.message == #"failed to find plugin "gone" in path [\#(dir.path)/bin]"#)
  }

  @Test func theOldNameOfTheListWorksToo() throws {
    _ = call(config())
    #expect(call(config(#","cni.dev/attachments":[]"#, version: "1.1.0"), "GC").exitCode == 0)
    #expect(saved() == nil)
  }
}
