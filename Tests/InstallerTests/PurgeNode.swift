import JSON
import Syscalls
import TestSupport
import Testing

/// A node: a namespace with `eth0`, and the files of a node in a directory of its own.
final class PurgeNode {
  let namespace: TestNamespace
  let directory: TemporaryDirectory
  var subnetFile: String { directory.file("run/flannel/subnet.env") }

  init() throws {
    namespace = try TestNamespace("purge")
    directory = try TemporaryDirectory("purge")
    try ip("link add eth0 type veth peer name eth0p")
    try ip("addr add 192.168.7.1/24 dev eth0")
    try ip("addr add fd77::1/64 dev eth0 nodad")
    try ip("link set eth0 up")
    try ip("link set eth0p up")
  }

  func ip(_ command: String) throws { try namespace.ipBatch(command + "\n") }

  /// Runs a program that must succeed; its output.
  @discardableResult
  func sh(_ command: String, input: String = "") throws -> String {
    let words = command.split(separator: " ").map(String.init)
    let out = try namespace.run("/usr/sbin/\(words[0])", Array(words.dropFirst()), input: Array(input.utf8))
    guard out.exit.isSuccess else { throw StepFailure("\(command): \(out.exit): \(out.errorText)") }
    return out.text
  }

  /// `weft uninstall` on this node.
  func uninstall(_ arguments: String..., subnetFile: String? = nil) throws -> ChildProcess.Output {
    try namespace.run(
      try builtProduct("weft"),
      [
        "uninstall", "--bin-dir", directory.file("bin"), "--conf-dir", directory.file("net.d"), "--subnet-file",
        subnetFile ?? self.subnetFile, "--cni-state-dir", directory.file("cni"),
      ] + arguments)
  }

  /// Names of the links, without the loopback.
  func links() throws -> [String] {
    try namespace.ip("link").arrayValue?.compactMap { $0["ifname"]?.stringValue }.filter { $0 != "lo" }.sorted() ?? []
  }

  static let iptables = ["iptables-nft", "ip6tables-nft", "iptables-legacy", "ip6tables-legacy"]

  /// Everything that the four iptables hold in both tables, without counters and comments of the tool.
  func iptables() throws -> [String] {
    try Self.iptables.flatMap { tool in
      try ["nat", "filter"].flatMap { table in
        try sh("\(tool)-save -t \(table)").split(separator: "\n").filter { !$0.hasPrefix("#") && !$0.hasPrefix(":") }
          .map { "\(tool) \(table): \($0)" }
      }
    }
  }

  /// Everything this node has, as the tools print it.
  func everything() throws -> [String] {
    var all = try ["link", "-4 route", "-6 route", "nexthop"].flatMap { try sh("ip \($0)").split(separator: "\n") }
      .map(String.init)
    all += try iptables()
    all += try sh("nft list ruleset").split(separator: "\n").map(String.init)
    return try all + files(directory.path)
  }

  private func files(_ path: String) throws -> [String] {
    try Files.list(path).sorted().flatMap { name in
      let file = "\(path)/\(name)"
      return [file] + (Files.isDirectory(file) ? try files(file) : [])
    }
  }

  /// The lines that a program printed.
  static func lines(_ text: String) -> [String] { text.split(separator: "\n").map(String.init) }
}
