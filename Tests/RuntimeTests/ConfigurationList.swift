import NetTypes
import Syscalls
import TestSupport
import Testing

/// Network configurations for runtimes.
enum ConfigurationList {
  /// What the chart installs (contract install §3), for a version of the CNI specification and a kind of rules.
  static func flannel(_ version: String = "0.3.1", backend: String? = nil) -> String {
    let rules = backend.map { #""backend":"\#($0)","# } ?? ""
    return #"""
      {"name":"cbr0","cniVersion":"\#(version)","plugins":[
        {"type":"flannel","delegate":{"hairpinMode":true,"isDefaultGateway":true}},
        {"type":"portmap",\#(rules)"capabilities":{"portMappings":true}}]}
      """#
  }
}

extension AgentProcess {
  /// The node's IPv4 subnet, once the agent has written it.
  func subnet() throws -> IPPrefix {
    try eventually("subnet.env\n\(log)", within: 30) { Files.exists(subnetFile) }
    let lines = try Files.text(subnetFile).split(separator: "\n")
    let line = try #require(lines.first { $0.hasPrefix("FLANNEL_SUBNET=") })
    return try #require(IPPrefix(line.dropFirst("FLANNEL_SUBNET=".count))).network
  }
}
