import Glibc
import JSON
import Syscalls
import TestSupport
import Testing

/// A host with pods behind a bridge and a machine outside: 192.0.2.1 and 192.0.2.9 (2001:db8::1) on the host, 192.0.2.2
/// (2001:db8::2) outside.
final class PortmapFixture {
  /// What carries the rules.
  enum Backend: String, CaseIterable, CustomTestStringConvertible, Sendable {
    case nftables
    case iptablesNFT = "iptables-nft"
    case iptablesLegacy = "iptables-legacy"
    var name: String { self == .nftables ? "nftables" : "iptables" }
    var testDescription: String { rawValue }
  }

  let bridge: BridgeFixture
  let outside: TestNamespace
  let backend: Backend
  /// Where `iptables` is the variant under test.
  private let path: String
  /// Results of the bridge plugin by container.
  private var results: [String: JSONValue] = [:]

  init(_ tag: String, _ backend: Backend) throws {
    self.backend = backend
    bridge = try BridgeFixture(tag)
    outside = try TestNamespace("\(tag)o")
    try outside.ipBatch("link add up0 type veth peer name ext netns \(bridge.host.name)\nlink set up0 up")
    try outside.ipBatch("addr add 192.0.2.2/24 dev up0\naddr add 2001:db8::2/64 dev up0 nodad")
    try bridge.host.ipBatch("link set ext up\naddr add 192.0.2.1/24 dev ext\naddr add 192.0.2.9/24 dev ext")
    try bridge.host.ipBatch("addr add 2001:db8::1/64 dev ext nodad")
    let programs = bridge.directory.file("programs")
    try Files.makeDirectory(programs)
    if backend == .iptablesLegacy {
      for name in ["iptables", "ip6tables"] {
        for suffix in ["", "-restore", "-save"] {
          guard symlink("/usr/sbin/\(name)-legacy\(suffix)", "\(programs)/\(name)\(suffix)") == 0 else {
            throw SystemError("link", name)
          }
        }
      }
    }
    path = "PATH=\(programs):/usr/sbin:/usr/bin:/sbin:/bin"
  }

  var host: TestNamespace { bridge.host }

  /// A new container on the bridge, with addresses of both families.
  func pod(_ id: String? = nil) throws -> BridgeFixture.Pod {
    let pod = try bridge.pod(id)
    try attach(pod)
    return pod
  }

  var bridgeConfiguration: JSONValue {
    bridge.configuration(
      ["isDefaultGateway": true, "hairpinMode": true], subnets: ["10.1.2.0/24", "fd00:1::/64"])
  }

  func attach(_ pod: BridgeFixture.Pod) throws {
    let answer = try bridge.add(bridgeConfiguration, pod)
    guard answer.isSuccess else { throw TestFailure("bridge ADD: \(answer.text)") }
    results[pod.id] = answer.json
  }

  /// A configuration of portmap for a container, `ports` as `18080:80/tcp` or `192.0.2.1:53:53/udp`.
  func configuration(_ pod: BridgeFixture.Pod?, _ ports: [String], _ members: JSONValue = [:]) -> JSONValue {
    var mappings: [JSONValue] = []
    for text in ports {
      let parts = text.split(separator: "/")
      let numbers = parts[0].split(separator: ":", omittingEmptySubsequences: false)
      var o = JSONObject([
        ("hostPort", .integer(Int(numbers[numbers.count - 2]) ?? 0)),
        ("containerPort", .integer(Int(numbers[numbers.count - 1]) ?? 0)), ("protocol", .string(String(parts[1]))),
      ])
      if numbers.count > 2 { o["hostIP"] = .string(numbers.dropLast(2).joined(separator: ":")) }
      mappings.append(.object(o))
    }
    var o = JSONObject([
      ("cniVersion", "1.0.0"), ("name", .string(bridge.network)), ("type", "portmap"),
      ("backend", .string(backend.name)),
      ("runtimeConfig", .object(JSONObject([("portMappings", .array(mappings))]))),
    ])
    if let pod, let result = results[pod.id] { o["prevResult"] = result }
    for (name, value) in members.objectValue?.members ?? [] { o[name] = value }
    return .object(o)
  }

  func call(
    _ command: String, _ pod: BridgeFixture.Pod, _ ports: [String], _ members: JSONValue = [:]
  ) throws -> BridgeFixture.Answer {
    try bridge.call(command, configuration(pod, ports, members), pod, plugin: "portmap", environment: [path])
  }

  /// ADD, which must work.
  func add(_ pod: BridgeFixture.Pod, _ ports: [String], _ members: JSONValue = [:]) throws {
    let answer = try call("ADD", pod, ports, members)
    guard answer.isSuccess else { throw TestFailure("portmap ADD: \(answer.text)\(answer.errorText)") }
  }

  /// DEL, which must work.
  func del(_ pod: BridgeFixture.Pod, _ ports: [String], _ members: JSONValue = [:]) throws {
    let answer = try call("DEL", pod, ports, members)
    guard answer.isSuccess else { throw TestFailure("portmap DEL: \(answer.text)\(answer.errorText)") }
  }

  /// The environment that selects the variant of iptables.
  var variant: [String] { [path] }

  /// Waits until the host may use its addresses: it asks whether anybody else has them.
  func awaitIPv6() throws {
    while try host.ip("-6", "addr", "show", "tentative").arrayValue?.contains(where: {
      $0.objectValue?["addr_info"]?.arrayValue?.isEmpty == false
    }) == true { usleep(50_000) }
  }

  // MARK: the oracle

  /// What a program of the host says on standard output.
  func said(_ program: String, _ arguments: String...) throws -> String {
    let out = try host.run("/usr/sbin/\(program)", arguments)
    guard out.exit.isSuccess else { throw TestFailure("\(program): \(out.errorText)") }
    return out.text
  }

  /// The rules of the table nat in the variant under test that mention a word.
  func natRules(_ word: String, family: String = "ip") throws -> [String] {
    let tool = family == "ip" ? "iptables" : "ip6tables"
    let text = try said("\(tool)-\(backend == .iptablesLegacy ? "legacy" : "nft")-save", "-t", "nat")
    return text.split(separator: "\n").map(String.init).filter { $0.contains(word) }
  }

  /// The table of the nftables back end; empty when there is none.
  func table(_ family: String = "ip") throws -> String {
    try host.run("/usr/sbin/nft", ["list", "table", family, "cni_hostport"]).text
  }

  /// All rules of both back ends that name a container or its chain.
  func rules(of pod: BridgeFixture.Pod) throws -> [String] {
    switch backend {
    case .nftables:
      return try ["ip", "ip6"].flatMap { try table($0).split(separator: "\n").map(String.init) }.filter {
        $0.contains("\"\(pod.id)\"")
      }
    default: return try natRules("CNI-DN-") + natRules("CNI-DN-", family: "ip6")
    }
  }
}

/// Something a test needs did not work.
struct TestFailure: Error, CustomStringConvertible {
  let description: String
  init(_ text: String) { description = text }
}
