import Glibc
import JSON
import Netlink
import Syscalls

/// The plugins under test on a host of their own: a network namespace, a data directory and `CNI_PATH`.
final class Stage {
  let name: String
  let bin: String
  let directory: String
  let namespacePath: String
  private let namespace: NetworkNamespace
  let network = "bench"

  /// - Parameter program: our multi-call binary; nil = the plugins are in `bin` already.
  init(_ name: String, bin: String, program: String?, directory: String) throws {
    self.name = name
    self.directory = "\(directory)/\(name)"
    try Files.makeDirectory(self.directory)
    if let program {
      self.bin = "\(self.directory)/bin"
      try Files.makeDirectory(self.bin)
      for plugin in ["bridge", "host-local", "portmap"] {
        guard unsafe symlink(program, "\(self.bin)/\(plugin)") == 0 else { throw SystemError("link", program) }
      }
    } else {
      self.bin = bin
    }
    namespacePath = "/run/netns/weft-bench-\(name)-\(getpid())"
    try NetworkNamespace.create(path: namespacePath)
    namespace = try NetworkNamespace(path: namespacePath)
  }

  func remove() { try? NetworkNamespace.remove(path: namespacePath) }

  /// The bridge configuration the flannel plugin would write.
  var configuration: [UInt8] {
    let text = """
      {"cniVersion":"1.0.0","name":"\(network)","type":"bridge","bridge":"cni0","isDefaultGateway":true,\
      "hairpinMode":true,"ipMasq":false,"mtu":1450,"ipam":{"type":"host-local","dataDir":"\(directory)/ipam",\
      "ranges":[[{"subnet":"10.244.0.0/18"}]],"routes":[{"dst":"10.244.0.0/16"}]}}
      """
    return Array(text.utf8)
  }

  func environment(_ command: String, _ pod: Pod) -> [String] {
    [
      "CNI_COMMAND=\(command)", "CNI_CONTAINERID=\(pod.id)", "CNI_NETNS=\(pod.path)", "CNI_IFNAME=eth0",
      "CNI_PATH=\(bin)", "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
    ]
  }

  /// Programs started from now on run on this host. The driver has one thread.
  func enter() throws { try namespace.enter() }

  /// A configuration of portmap with one TCP port, or none, for a pod with an address of its own.
  func portmap(_ pod: Pod, backend: String? = nil, mapped: Bool = true) -> [UInt8] {
    let name = backend.map { "\"backend\":\"\($0)\"," } ?? ""
    let mapping = "{\"hostPort\":\(20000 + pod.number),\"containerPort\":80,\"protocol\":\"tcp\"}"
    let text = """
      {"cniVersion":"1.0.0","name":"\(network)","type":"portmap",\(name)"runtimeConfig":{"portMappings":\
      [\(mapped ? mapping : "")]},"prevResult":{"cniVersion":"1.0.0","interfaces":[{"name":"eth0",\
      "sandbox":"\(pod.path)"}],"ips":[{"interface":0,"address":"10.244.0.\(pod.number % 200 + 10)/18"}]}}
      """
    return Array(text.utf8)
  }

  /// The bridge and its address, which routes lead to.
  func makeBridge() throws {
    try enter()
    for arguments in [
      ["link", "add", "cni0", "type", "bridge"], ["addr", "add", "10.244.0.1/18", "dev", "cni0"],
      ["link", "set", "cni0", "up"],
    ] { _ = try ChildProcess.run("/usr/sbin/ip", arguments) }
  }

  /// One call of a plugin; a failure ends the benchmark.
  func call(_ plugin: String, _ command: String, _ pod: Pod, _ input: [UInt8]? = nil) throws -> Cost {
    try enter()
    let environment = environment(command, pod)
    let input = input ?? configuration
    return try Cost.measure {
      let out = try ChildProcess.run("\(bin)/\(plugin)", environment: environment, input: input)
      guard out.exit.isSuccess else { throw Failed("\(name) \(plugin) \(command): \(out.text)\(out.errorText)") }
    }
  }

  /// Makes reservations of other containers, as the plugin itself writes them.
  func reserve(_ count: Int, from first: Int = 0) throws {
    for i in first..<max(first, count) { _ = try call("host-local", "ADD", Pod(id: "other-\(i)", path: "/dev/null")) }
  }

  /// The addresses that are taken.
  func reservations() throws -> Int {
    try Files.list("\(directory)/ipam/\(network)").filter { $0.hasPrefix("10.") }.count
  }
}

/// A container: an id and a namespace.
struct Pod {
  var id: String
  var path: String
  var number = 0
}

/// Why the benchmark ended.
struct Failed: Error, CustomStringConvertible {
  let description: String
  init(_ text: String) { description = text }
}

/// What a program needed.
struct Cost {
  /// User and system time of the child, nanoseconds.
  var cpu: Int64
  /// Nanoseconds.
  var wall: Int64

  /// Runs `body`, which starts and awaits children.
  static func measure(_ body: () throws -> Void) rethrows -> Cost {
    let cpu = childTime()
    let start = Clock.monotonic()
    try body()
    let end = Clock.monotonic()
    return Cost(cpu: childTime() - cpu, wall: end - start)
  }

  /// CPU time of all children that were awaited, nanoseconds.
  private static func childTime() -> Int64 {
    var u = rusage()
    _ = unsafe getrusage(Int32(RUSAGE_CHILDREN.rawValue), &u)
    let micro =
      Int64(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1_000_000 + Int64(u.ru_utime.tv_usec + u.ru_stime.tv_usec)
    return micro * 1000
  }
}

extension [Cost] {
  /// Medians of both.
  var median: Cost {
    func middle(_ values: [Int64]) -> Int64 {
      let s = values.sorted()
      return s.isEmpty ? 0 : s[s.count / 2]
    }
    return Cost(cpu: middle(map(\.cpu)), wall: middle(map(\.wall)))
  }
}
