import JSON
import TestSupport
import Testing

/// The loopback plugin on the real kernel (contract cni §B4).
@Suite(.needsRoot) struct LoopbackTests {
  func isUp(_ f: BridgeFixture, _ pod: BridgeFixture.Pod) -> Bool {
    f.link("lo", in: pod.namespace)?["flags"]?.arrayValue?.contains("UP") == true
  }

  func configuration(_ version: String) -> JSONObject {
    JSONObject([("cniVersion", .string(version)), ("name", "lo"), ("type", "loopback")])
  }

  @Test(arguments: ["0.2.0", "0.4.0", "1.0.0", "1.1.0"]) func life(_ version: String) throws {
    let f = try BridgeFixture("lo")
    let pod = try f.pod()
    let config = JSONValue.object(configuration(version))
    let added = try f.call("ADD", config, pod, plugin: "loopback")
    try #require(added.isSuccess, "\(added.text)")
    #expect(isUp(f, pod))
    let view = ResultView(added.json)
    if version == "0.2.0" {
      #expect(view.json["ip4"]?.objectValue?["ip"] == "127.0.0.1/8")
      #expect(view.json["ip6"]?.objectValue?["ip"] == "::1/128")
    } else {
      #expect(view.addresses == ["127.0.0.1/8", "::1/128"])
      #expect(view.name(0) == "lo")
      #expect(view.mac(0) == "00:00:00:00:00:00")
      #expect(view.interfaces.first?["sandbox"]?.stringValue == pod.path)
      var o = configuration(version)
      o["prevResult"] = added.json
      #expect(try f.call("CHECK", .object(o), pod, plugin: "loopback").isSuccess)
      try pod.namespace.ip("link", "set", "lo", "down")
      let check = try f.call("CHECK", .object(o), pod, plugin: "loopback")
      #expect(check.message == "loopback interface is down")
      try pod.namespace.ip("link", "set", "lo", "up")
    }
    let deleted = try f.call("DEL", config, pod, plugin: "loopback")
    #expect(deleted.isSuccess)
    #expect(deleted.text.isEmpty)
    #expect(!isUp(f, pod))
    pod.namespace.remove()
    #expect(try f.call("DEL", config, pod, plugin: "loopback").isSuccess)
  }

  @Test func previousResultIsPassedOn() throws {
    let f = try BridgeFixture("lop")
    let pod = try f.pod()
    var o = configuration("1.0.0")
    let previous: JSONValue = ["cniVersion": "1.0.0", "ips": [["address": "10.0.0.5/24"]]]
    o["prevResult"] = previous
    #expect(try f.call("ADD", .object(o), pod, plugin: "loopback").json == previous)
    #expect(isUp(f, pod))
  }

  @Test func foreignAddress() throws {
    let f = try BridgeFixture("lof")
    let pod = try f.pod()
    try pod.namespace.ip("addr", "add", "10.0.0.5/32", "dev", "lo")
    let answer = try f.call("ADD", .object(configuration("1.0.0")), pod, plugin: "loopback")
    #expect(answer.message == "loopback interface found with non-loopback address \"10.0.0.5\"")
    #expect(!isUp(f, pod))
  }
}
