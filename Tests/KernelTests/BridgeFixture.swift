import Glibc
import JSON
import Netlink
import Syscalls
import TestSupport

/// A host and its pods, each in a network namespace of its own, with plugins that are called as a runtime calls them.
final class BridgeFixture {
  /// One container's interface.
  struct Pod {
    let namespace: TestNamespace
    var id: String
    var ifname = "eth0"
    var path: String { namespace.path }
  }

  /// How a plugin ended.
  struct Answer {
    let exit: ChildProcess.Exit
    let text: String
    let errorText: String
    var isSuccess: Bool { exit.isSuccess }
    /// Standard output as JSON; null if it is none.
    var json: JSONValue { (try? JSONValue(parsing: Array(text.utf8))) ?? .null }
    /// `msg` of an error document.
    var message: String { json.objectValue?["msg"]?.stringValue ?? "" }
    var code: Int { json.objectValue?["code"]?.intValue ?? 0 }
  }

  let host: TestNamespace
  let directory: TemporaryDirectory
  /// `CNI_PATH`.
  let bin: String
  /// The network of all calls.
  let network = "net-t"
  /// They live as long as the fixture.
  private var pods: [Pod] = []

  /// - Parameter debian: use the plugins of the distribution instead of ours.
  init(_ tag: String, debian: Bool = false) throws {
    host = try TestNamespace("\(tag)h")
    directory = try TemporaryDirectory(tag)
    if debian {
      bin = "/usr/lib/cni"
      return
    }
    bin = directory.file("bin")
    try Files.makeDirectory(bin)
    let program = try builtProduct("weft-cni")
    for name in ["bridge", "host-local", "loopback", "portmap"] { symlink(program, "\(bin)/\(name)") }
  }

  /// A new container.
  func pod(_ id: String? = nil) throws -> Pod {
    let number = pods.count + 1
    let pod = Pod(namespace: try TestNamespace("p\(number)", loopback: false), id: id ?? "pod-\(number)")
    pods.append(pod)
    return pod
  }

  /// The data directory of host-local.
  var dataDir: String { directory.file("ipam") }

  /// The names of the reserved addresses.
  func reservations() -> [String] {
    let names = (try? Files.list("\(dataDir)/\(network)")) ?? []
    return names.filter { $0 != "lock" && !$0.hasPrefix("last_reserved_ip.") && !$0.hasPrefix(".") }.sorted()
  }

  /// A configuration of the bridge plugin; `members` are further keys.
  func configuration(
    _ members: JSONValue = [:], version: String = "1.0.0", subnets: [String] = ["10.1.2.0/24"],
    ipam extra: JSONValue = [:]
  ) -> JSONValue {
    var o = JSONObject([("cniVersion", .string(version)), ("name", .string(network)), ("type", "bridge")])
    if !subnets.isEmpty {
      var ipam = JSONObject([
        ("type", "host-local"), ("dataDir", .string(dataDir)),
        ("ranges", .array(subnets.map { .array([.object(JSONObject([("subnet", .string($0))]))]) })),
      ])
      for (name, value) in extra.objectValue?.members ?? [] { ipam[name] = value }
      o["ipam"] = .object(ipam)
    }
    for (name, value) in members.objectValue?.members ?? [] { o[name] = value }
    return .object(o)
  }

  /// The environment of a call; `more` replaces what it names.
  func environment(_ command: String, _ pod: Pod, _ more: [String] = []) -> [String] {
    let usual = [
      "CNI_COMMAND=\(command)", "CNI_CONTAINERID=\(pod.id)", "CNI_NETNS=\(pod.path)", "CNI_IFNAME=\(pod.ifname)",
      "CNI_PATH=\(bin)", "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
    ]
    func name(_ entry: String) -> Substring? { entry.split(separator: "=", maxSplits: 1).first }
    return usual.filter { u in !more.contains { name($0) == name(u) } } + more
  }

  /// Calls a plugin on the host.
  func call(
    _ command: String, _ configuration: JSONValue, _ pod: Pod, plugin: String = "bridge",
    environment more: [String] = []
  ) throws -> Answer {
    let out = try host.run(
      "\(bin)/\(plugin)", environment: environment(command, pod, more), input: configuration.bytes())
    return Answer(exit: out.exit, text: out.text, errorText: out.errorText)
  }

  func add(_ configuration: JSONValue, _ pod: Pod, environment more: [String] = []) throws -> Answer {
    try call("ADD", configuration, pod, environment: more)
  }

  func del(_ configuration: JSONValue, _ pod: Pod) throws -> Answer { try call("DEL", configuration, pod) }

  /// CHECK with a result as `prevResult`.
  func check(_ configuration: JSONValue, _ pod: Pod, after result: JSONValue) throws -> Answer {
    var o = configuration.objectValue ?? JSONObject()
    o["prevResult"] = result
    return try call("CHECK", .object(o), pod)
  }

  // MARK: the oracle

  /// `ip -d link show dev NAME` of a namespace; nil if there is none.
  func link(_ name: String, in namespace: TestNamespace? = nil) -> JSONObject? {
    (try? (namespace ?? host).ip("-d", "link", "show", "dev", name))?.arrayValue?.first?.objectValue
  }

  /// Names of the host's links, without `lo`.
  func hostLinks() throws -> [String] { try Self.names(host) }

  static func names(_ namespace: TestNamespace) throws -> [String] {
    try namespace.ip("link", "show").arrayValue.map { list in
      list.compactMap { $0.objectValue?["ifname"]?.stringValue }.filter { $0 != "lo" }
    } ?? []
  }

  /// The addresses of a device as `10.1.2.1/24`, without those of scope link.
  func addresses(_ device: String, in namespace: TestNamespace? = nil) throws -> [String] {
    let all = try (namespace ?? host).ip("addr", "show", "dev", device).arrayValue?.first?.objectValue
    return (all?["addr_info"]?.arrayValue ?? []).compactMap { a in
      guard let o = a.objectValue, o["scope"]?.stringValue == "global", let local = o["local"]?.stringValue,
        let length = o["prefixlen"]?.intValue
      else { return nil }
      return "\(local)/\(length)"
    }
  }

  /// The routes of the main table as `DST via GW dev DEV`, sorted, without those the kernel made.
  func routes(_ namespace: TestNamespace) throws -> [String] {
    var out: [String] = []
    for family in ["-4", "-6"] {
      for r in try namespace.ip(family, "route", "show").arrayValue ?? [] {
        guard let o = r.objectValue, o["protocol"]?.stringValue != "kernel" else { continue }
        let via = o["gateway"]?.stringValue.map { " via \($0)" } ?? ""
        out.append("\(o["dst"]?.stringValue ?? "?")\(via) dev \(o["dev"]?.stringValue ?? "?")")
      }
    }
    return out.sorted()
  }

  /// The value of a network parameter.
  func parameter(_ key: String, in namespace: TestNamespace? = nil) throws -> String {
    let out = try (namespace ?? host).run("/usr/bin/cat", ["/proc/sys/net/\(key)"])
    return out.text.split(separator: "\n").first.map(String.init) ?? ""
  }

  /// True when something answers at the address: a closed port refuses at once, an unreachable host does not.
  func reaches(_ address: String, from namespace: TestNamespace) throws -> Bool {
    for _ in 0..<20 {
      let out = try namespace.run("/bin/bash", ["-c", "echo > /dev/tcp/\(address)/9"])
      if out.errorText.contains("Connection refused") { return true }
      usleep(100_000)
    }
    return false
  }
}

/// The interfaces of a result by their order: bridge, host end, container end.
struct ResultView {
  let json: JSONObject
  init(_ value: JSONValue) { json = value.objectValue ?? JSONObject() }

  var interfaces: [JSONObject] { (json["interfaces"]?.arrayValue ?? []).compactMap(\.objectValue) }
  func name(_ i: Int) -> String { interfaces.indices.contains(i) ? interfaces[i]["name"]?.stringValue ?? "" : "" }
  func mac(_ i: Int) -> String { interfaces.indices.contains(i) ? interfaces[i]["mac"]?.stringValue ?? "" : "" }
  var ips: [JSONObject] { (json["ips"]?.arrayValue ?? []).compactMap(\.objectValue) }
  var addresses: [String] { ips.compactMap { $0["address"]?.stringValue } }
  var gateways: [String] { ips.compactMap { $0["gateway"]?.stringValue } }
}
