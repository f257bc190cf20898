import JSON
import Syscalls
import Testing

@testable import CNI

@Suite struct FrontEndTests {
  let config = #"{"name":"skel-test","cniVersion":"1.1.0","some":"config"}"#

  @Test(arguments: ["ADD", "CHECK", "DEL", "GC", "STATUS"])
  func callsExactlyTheCommand(command: String) throws {
    let spy = SpyPlugin()
    var call = PluginCall(spy, path: "/some/cni/path:/other")
    call.args = "some;extra=1"
    let out = call(config, command)
    #expect(out.exitCode == 0)
    #expect(spy.calls == [command])
    let r = try #require(spy.last)
    #expect(r.containerID == "dummy")
    #expect(r.netns == "/no/such/netns")
    #expect(r.ifname == "eth0")
    #expect(r.args == "some;extra=1")
    #expect(r.path == ["/some/cni/path", "/other"])
    #expect(r.stdin == Array(config.utf8))
    #expect(r.name == "skel-test")
    #expect(r.version == .v1_1_0)
  }

  @Test(arguments: [
    ("ADD", ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"]),
    ("CHECK", ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"]),
    ("DEL", ["CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"]), ("GC", ["CNI_PATH"]), ("STATUS", ["CNI_PATH"]),
  ])
  func namesEveryMissingVariable(command: String, names: [String]) {
    let spy = SpyPlugin()
    let out = PluginMain.run(spy, environment: ["CNI_COMMAND": command], stdin: Array(config.utf8))
    #expect(out.exitCode == 1)
    #expect(out.code == 4)
    #expect(out.message == "required env variables [\(names.joined(separator: ","))] missing")
    #expect(spy.calls.isEmpty)
  }

  @Test(arguments: [
    ("some-%%container-id", "eth0", "invalid characters in containerID", "some-%%container-id"),
    (".x", "eth0", "invalid characters in containerID", ".x"),
    (
      "a", "1234567890123456", "interface name is too long", "interface name should be less than 16 characters"
    ),
    ("a", ".", "interface name is . or ..", nil), ("a", "..", "interface name is . or ..", nil),
    ("a", "a/b", "interface name contains / or : or whitespace characters", nil),
    ("a", "a:b", "interface name contains / or : or whitespace characters", nil),
    ("a", "a b", "interface name contains / or : or whitespace characters", nil),
    ("a", "a\tb", "interface name contains / or : or whitespace characters", nil),
  ])
  func refusesBadNames(id: String, ifname: String, message: String, details: String?) {
    for command in ["ADD", "CHECK", "DEL"] {
      var call = PluginCall(SpyPlugin())
      call.id = id
      call.ifname = ifname
      let out = call(config, command)
      #expect(out.code == 4)
      #expect(out.message == message)
      #expect(out.details == details)
    }
  }

  @Test func acceptsLongestInterfaceName() {
    var call = PluginCall(SpyPlugin())
    call.ifname = "123456789012345"
    #expect(call(config).exitCode == 0)
  }

  @Test func aboutGoesToStandardError() {
    for environment: PluginEnvironment in [[:], ["CNI_COMMAND": ""]] {
      let out = PluginMain.run(SpyPlugin(), environment: environment, stdin: [])
      #expect(out.exitCode == 0)
      #expect(out.stdout.isEmpty)
      #expect(
        out.errorText == "SPY v1\nCNI protocol versions supported: 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0\n")
    }
    #expect(
      PluginMain.run(OldPlugin(), environment: [:], stdin: []).message == "required env variables [CNI_COMMAND] missing"
    )
  }

  @Test func versionDoesNotReadInput() {
    let out = PluginMain.run(SpyPlugin(), environment: ["CNI_COMMAND": "VERSION"], host: PluginHost()) {
      Issue.record("standard input was read")
      return []
    }
    #expect(out.exitCode == 0)
    #expect(
      out.text
        == #"{"cniVersion":"1.1.0","supportedVersions":["0.1.0","0.2.0","0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"]}"#
        + "\n")
  }

  @Test func unreadableInput() {
    let out = PluginMain.run(SpyPlugin(), environment: PluginCall(SpyPlugin()).environment, host: PluginHost()) {
      throw SystemError("read", "", Errno(rawValue: 9))
    }
    #expect(out.code == 5)
    #expect(out.message == "error reading from stdin: read: bad file descriptor")
  }

  @Test(arguments: [
    ("", 6), ("{", 6), ("[]", 6), ("7", 6), (#"{"name":7}"#, 6), ("{}", 7), ("null", 7), (#"{"name":""}"#, 7),
    (#"{"name":null}"#, 7), (#"{"name":"te%%st"}"#, 7), (#"{"name":"x","cniVersion":7}"#, 6),
    (#"{"name":"x","cniVersion":"9"}"#, 1), (#"{"name":"x","cniVersion":"a.b"}"#, 1),
  ])
  func refusesBadConfigurations(text: String, code: Int) {
    let spy = SpyPlugin()
    let out = PluginCall(spy)(text)
    #expect(out.code == code)
    #expect(out.exitCode == 1)
    #expect(spy.calls.isEmpty)
  }

  @Test func textsOfBadConfigurations() {
    let call = PluginCall(SpyPlugin())
    #expect(call("{}").text == "{\n    \"code\": 7,\n    \"msg\": \"missing network name\"\n}")
    #expect(call(#"{"name":"te%%st"}"#).message == "invalid characters found in network name")
    #expect(call("{").message?.hasPrefix("error unmarshall network config: ") == true)
    #expect(
      call(#"{"name":"x","cniVersion":7}"#).message?.hasPrefix("decoding version from network config: ") == true)
  }

  @Test func missingVersionIsOldest() throws {
    let spy = SpyPlugin()
    _ = PluginCall(spy)(#"{"name":"x"}"#, "DEL")
    #expect(try #require(spy.last).version == .v0_1_0)
    let out = PluginCall(FuturePlugin())(#"{"name":"x"}"#)
    #expect(out.code == 1)
    #expect(out.message == "incompatible CNI versions")
    #expect(out.details == #"config is "0.1.0", plugin supports ["4.3.2"]"#)
  }

  @Test(arguments: [("CHECK", "0.3.1"), ("GC", "1.0.0"), ("STATUS", "1.0.0")])
  func gatesCommandsByVersion(command: String, below: String) {
    let spy = SpyPlugin()
    let out = PluginCall(spy)(#"{"name":"x","cniVersion":"\#(below)"}"#, command)
    #expect(out.code == 1)
    #expect(out.message == "config version does not allow \(command)")
    let old = PluginCall(OldPlugin())(#"{"name":"x","cniVersion":"1.1.0"}"#, command)
    #expect(old.code == 1)
    #expect(old.message == "plugin version does not allow \(command)")
    #expect(spy.calls.isEmpty)
  }

  @Test func versionsThatAreNone() {
    #expect(PluginCall(SpyPlugin())(#"{"name":"x","cniVersion":"adsfsadf"}"#, "CHECK").code == 6)
    #expect(PluginCall(OddPlugin())(#"{"name":"x","cniVersion":"1.1.0"}"#, "CHECK").code == 6)
  }

  @Test func unknownCommandIsFoundLast() {
    let call = PluginCall(SpyPlugin())
    #expect(call(config, "NOPE").message == "unknown CNI_COMMAND: NOPE")
    #expect(call(config, "NOPE").code == 4)
    #expect(call("{}", "NOPE").code == 7)
  }

  @Test func errorsOfThePlugin() {
    struct Odd: Error, CustomStringConvertible { var description: String { "potato" } }
    let spy = SpyPlugin()
    spy.error = CNIError(CNIError.Code(1234), "insufficient something", details: "more")
    #expect(
      PluginCall(spy)(config).text
        == "{\n    \"code\": 1234,\n    \"msg\": \"insufficient something\",\n    \"details\": \"more\"\n}")
    spy.error = Odd()
    #expect(PluginCall(spy)(config).code == 999)
    #expect(PluginCall(spy)(config).message == "potato")
    spy.error = SystemError("open", "/x", .noEntry)
    #expect(PluginCall(spy)(config).code == 5)
    #expect(PluginCall(spy)(config).message == "open /x: no such file or directory")
  }

  /// Trap 1: upstream looks only after the work is done and the result printed.
  @Test func ownNamespaceIsRefusedBeforeAnything() {
    for command in ["ADD", "DEL"] {
      let spy = SpyPlugin()
      var call = PluginCall(spy)
      call.netns = "/proc/thread-self/ns/net"
      let out = call(config, command)
      #expect(out.code == 8)
      #expect(out.message == "plugin's netns and netns from CNI_NETNS should not be the same")
      #expect(spy.calls.isEmpty)
      for yes in ["1", "true", "TRUE"] {
        var e = call.environment
        e["CNI_COMMAND"] = command
        e["CNI_NETNS_OVERRIDE"] = yes
        #expect(PluginMain.run(spy, environment: e, stdin: Array(config.utf8)).exitCode == 0)
      }
    }
  }

  @Test func aResultThatCannotBePrintedIsTakenBack() {
    let spy = SpyPlugin()
    let out = PluginCall(spy)(#"{"name":"x","cniVersion":"0.2.0"}"#)
    #expect(out.message == "cannot convert: no valid IP addresses")
    #expect(spy.calls == ["ADD", "DEL"])
  }

  @Test func argumentsAreSplit() throws {
    let spy = SpyPlugin()
    var call = PluginCall(spy)
    call.args = "IgnoreUnknown=1;K8S_POD_NAME=a=b;EMPTY="
    _ = call(config)
    let args = try #require(spy.last).arguments()
    #expect(args.map(\.name) == ["IgnoreUnknown", "K8S_POD_NAME", "EMPTY"])
    #expect(args.map(\.value) == ["1", "a=b", ""])
    call.args = "nope"
    _ = call(config)
    #expect(throws: CNIError.self) { try spy.last?.arguments() }
  }

  @Test func environmentLookUp() {
    var e = PluginEnvironment(["AB=1", "A=2", "A=3", "noequals", "=x"])
    #expect(e["A"] == "2")
    #expect(e["AB"] == "1")
    #expect(e["noequals"] == "")
    e["A"] = "4"
    #expect(e.entries == ["AB=1", "noequals", "=x", "A=4"])
  }
}
