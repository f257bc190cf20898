import JSON
import Syscalls
import TestSupport
import Testing

@testable import CNI

/// Whatever comes in, a plugin answers with a result or with an error document: it never traps, never hangs and never
/// says nothing. The random numbers are seeded, so that a failure comes again.
@Suite struct HostileInputTests {
  struct Random: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      var x = state
      x ^= x >> 33
      x = x &* 0xff51_afd7_ed55_8ccd
      return x ^ x >> 33
    }
  }

  let dir: TemporaryDirectory
  let host: PluginHost
  init() throws {
    dir = try TemporaryDirectory("hostile")
    try dir.write("", to: "bin/bridge", mode: 0o755)
    try dir.write(
      "FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.17.1/24\nFLANNEL_MTU=1472\nFLANNEL_IPMASQ=true\n",
      to: "subnet.env")
    host = PluginHost(plugins: [FakeBridge()], executable: try Files.status(dir.file("bin/bridge")))
  }

  /// A configuration in three parts. The middle one, with name and directories, is left as it is: a damaged path would
  /// lead us to write anywhere on the machine.
  struct Seed {
    var plugin: any CNIPlugin
    var head: String
    var kept: String
    var tail: String
  }

  var seeds: [Seed] {
    [
      Seed(
        plugin: HostLocalPlugin(),
        head: #"{"cniVersion":"1.1.0","args":{"cni":{"ips":["10.0.0.9/24"]}},"cni.dev/valid-attachments":"#
          + #"[{"containerID":"a","ifname":"b"}],"prevResult":{"cniVersion":"1.1.0"},"runtimeConfig":"#
          + #"{"ips":["fd00::9"],"ipRanges":[[{"subnet":"10.2.0.0/24"}]]}"#,
        kept: #","name":"n","ipam":{"dataDir":"\#(dir.path)/d","#,
        tail: #""subnet":"10.0.0.0/24","rangeStart":"10.0.0.3","rangeEnd":"10.0.0.200","gateway":"10.0.0.1","#
          + #""ranges":[[{"subnet":"fd00::/64"}]],"#
          + #""routes":[{"dst":"0.0.0.0/0","gw":"10.0.0.1","mtu":1400,"table":5}]}}"#),
      Seed(
        plugin: FlannelPlugin(),
        head:
          #"{"cniVersion":"1.1.0","delegate":{"hairpinMode":true,"mtu":1450},"ipam":{"routes":[{"dst":"10.0.0.0/8"}]}"#,
        kept: #","name":"n","subnetFile":"\#(dir.path)/subnet.env","dataDir":"\#(dir.path)/f","#,
        tail: #""runtimeConfig":{},"cni.dev/valid-attachments":[{"containerID":"a","ifname":"b"}],"#
          + #""prevResult":{"ips":[]}}"#),
    ]
  }

  func mutate(_ bytes: [UInt8], _ random: inout Random) -> [UInt8] {
    var out = bytes
    for _ in 0..<Int.random(in: 1...4, using: &random) where !out.isEmpty {
      let i = Int.random(in: 0..<out.count, using: &random)
      switch Int.random(in: 0..<6, using: &random) {
      case 0: out[i] = UInt8.random(in: 0...255, using: &random)
      case 1: out.remove(at: i)
      case 2: out.insert(UInt8.random(in: 32...126, using: &random), at: i)
      case 3: out.removeSubrange(i...)
      case 4:
        let words = ["null", "-1", "99999999999999999999", "[]", "{}", "\"\"", "1e999", "true", "\"::/0\"", "/129"]
        out.insert(contentsOf: words[Int.random(in: 0..<words.count, using: &random)].utf8, at: i)
      default: out.swapAt(i, Int.random(in: 0..<out.count, using: &random))
      }
    }
    return out
  }

  func check(_ out: PluginMain.Outcome, _ input: [UInt8]) {
    if out.exitCode == 0 { return }
    #expect(out.code != nil && out.message?.isEmpty == false, "\(String(decoding: input, as: UTF8.self))")
  }

  @Test(arguments: ["ADD", "DEL", "CHECK", "GC", "STATUS"])
  func corruptedConfigurations(command: String) {
    var random = Random(state: UInt64(command.utf8.count) &* 77 &+ 1)
    for seed in seeds {
      for i in 0..<400 {
        var call = PluginCall(seed.plugin, path: dir.file("bin"), host: host)
        call.command = command
        call.id = "id\(i)"
        let input =
          mutate(Array(seed.head.utf8), &random) + Array(seed.kept.utf8) + mutate(Array(seed.tail.utf8), &random)
        check(PluginMain.run(seed.plugin, environment: call.environment, host: host, stdin: input), input)
      }
    }
  }

  @Test func randomBytesAndVariables() {
    var random = Random(state: 9)
    for _ in 0..<2000 {
      let input = (0..<Int.random(in: 0...64, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
      func word() -> String {
        String(
          decoding: (0..<Int.random(in: 0...18, using: &random)).map { _ in UInt8.random(in: 1...255, using: &random) },
          as: UTF8.self)
      }
      let commands = ["ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION", "", word()]
      let e: PluginEnvironment = [
        "CNI_COMMAND": commands[Int.random(in: 0..<commands.count, using: &random)], "CNI_CONTAINERID": word(),
        "CNI_NETNS": word(), "CNI_IFNAME": word(), "CNI_ARGS": word(), "CNI_PATH": word(),
      ]
      check(PluginMain.run(HostLocalPlugin(), environment: e, stdin: input), input)
      check(PluginMain.run(FlannelPlugin(), environment: e, stdin: input), input)
    }
  }

  @Test func corruptedFiles() throws {
    var random = Random(state: 5)
    let env = Array(
      "\nFLANNEL_NETWORK=10.1.0.0/16,10.2.0.0/16\nFLANNEL_SUBNET=10.1.17.1/24\nFLANNEL_MTU=1472\nFLANNEL_IPMASQ=true\n"
        .utf8)
    for _ in 0..<3000 {
      let text = String(decoding: mutate(env, &random), as: UTF8.self)
      _ = try? SubnetEnvironment(parsing: text, file: "f")
    }
    var index = ReservationIndex()
    for i in 0..<20 { index.insert(.init(.ipv6, UInt128(i)), UInt64(i % 3)) }
    index.stamp(1)
    for _ in 0..<3000 {
      var i = ReservationIndex(mutate(index.bytes, &random), directoryTime: 1)
      _ = i?.addresses(of: 1)
      i?.insert(.init(.ipv4, 7), 7)
      i?.remove(.init(.ipv4, 7), 7)
    }
    let list = Array(
      #"{"name":"n","cniVersions":["0.3.1","1.0.0"],"disableCheck":"true","plugins":[{"type":"x"},{"type":"y"}]}"#.utf8)
    let result = Array(
      (#"{"cniVersion":"0.4.0","interfaces":[{"name":"a","mac":"b"}],"ips":[{"interface":0,"address":"10.0.0.2/24"}],"#
        + #""routes":[{"dst":"::/0","gw":"::1"}],"dns":{"search":["a"]}}"#).utf8)
    for _ in 0..<3000 {
      _ = try? NetworkConfigurationList(parsing: mutate(list, &random))
      if let json = try? JSONValue(parsing: mutate(result, &random)) {
        for v in CNIVersion.all {
          guard let r = try? CNIResult(parsing: json, version: v) else { continue }
          for w in CNIVersion.all { _ = try? r.document(as: w) }
        }
      }
    }
  }
}
