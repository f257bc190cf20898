import CNI
import JSON
import Syscalls

/// Connects pods as a container runtime does: `lo` by the loopback plugin, then the node's configuration list, each
/// plugin being a program that runs on the node.
struct PodNetwork {
  /// What kube-flannel's chart puts on every node (contract install §3).
  static let flannelConflist = """
    {
      "name": "cbr0",
      "cniVersion": "0.3.1",
      "plugins": [
        {
          "type": "flannel",
          "delegate": {
            "hairpinMode": true,
            "isDefaultGateway": true
          }
        },
        {
          "type": "portmap",
          "capabilities": {
            "portMappings": true
          }
        }
      ]
    }

    """

  let lab: Lab
  let node: NodeDirectory

  func namespacePath(_ pod: PodName) -> String { LabNames.path(lab.names.namespace(pod: pod)) }

  /// Looks before anything is made whether a list can be read and, if directories are given, its plugins are there.
  static func check(_ conflist: String, plugins path: [String]?) throws {
    let list = try LabError.step("the CNI configuration list cannot be used") {
      try NetworkConfigurationList(parsing: Array(conflist.utf8))
    }
    guard CNIVersion.all.contains(list.version) else {
      throw LabError(
        "the CNI configuration list cannot be used: its cniVersion \(list.version) is not supported",
        advice: "use one of \(CNIVersion.allTexts.joined(separator: ", "))")
    }
    guard let path else { return }
    for type in ["loopback"] + list.plugins.compactMap({ $0["type"]?.stringValue })
    where !path.contains(where: { Files.isExecutable("\($0)/\(type)") }) {
      throw LabError(
        "the CNI plugin \(type) is not in \(path.joined(separator: ", "))",
        advice: "run `make build`, install containernetworking-plugins, or give its directory with --cni-bin")
    }
  }

  /// The capability of plugins that make host ports.
  private static let portCapability = "portMappings"

  /// Refuses host ports that no plugin of the node's list would make.
  func checkMakesPorts() throws {
    let list = try NetworkConfigurationList(file: node.conflist)
    guard list.plugins.contains(where: { $0["capabilities"]?.objectValue?[Self.portCapability] == true }) else {
      throw LabError(
        "the CNI configuration list \"\(list.name)\" has no plugin with the capability \(Self.portCapability)",
        advice: "host ports need the plugin portmap in it")
    }
  }

  /// Sets `lo` up and runs the list; what the last plugin answered.
  func add(_ record: PodRecord) throws -> CNIResult {
    let runtime = runtime
    try runtime.add(Self.loopback(), attachment(record, "lo"))
    return try runtime.add(NetworkConfigurationList(file: node.conflist), attachment(record, "eth0"))
  }

  /// Runs the list backwards, then the loopback plugin.
  func delete(_ record: PodRecord) throws {
    let runtime = runtime
    try runtime.del(NetworkConfigurationList(file: node.conflist), attachment(record, "eth0"))
    try runtime.del(Self.loopback(), attachment(record, "lo"))
  }

  /// The list a runtime keeps for itself.
  private static func loopback() throws -> NetworkConfigurationList {
    let text = #"{"cniVersion":"0.3.1","name":"cni-loopback","plugins":[{"type":"loopback"}]}"#
    return try NetworkConfigurationList(parsing: Array(text.utf8))
  }

  /// The runtime's side; plugins are started on the node, by this program.
  private var runtime: Runtime {
    let words = lab.enterWords(node.name) + ["--"]
    let program = lab.program
    return Runtime(path: lab.pluginPath, cacheDirectory: node.cniState) { path, environment, stdin in
      try ChildProcess.run(program, words + [path], environment: environment, input: stdin)
    }
  }

  private func attachment(_ record: PodRecord, _ interface: String) -> Runtime.Attachment {
    let ports = record.ports.map(\.json)
    return Runtime.Attachment(
      containerID: record.containerID, netns: namespacePath(record.pod), ifname: interface,
      args: [
        ("IgnoreUnknown", "1"), ("K8S_POD_NAMESPACE", lab.names.lab), ("K8S_POD_NAME", record.pod.description),
        ("K8S_POD_INFRA_CONTAINER_ID", record.containerID),
      ], capabilityArgs: ports.isEmpty ? JSONObject() : JSONObject([(Self.portCapability, .array(ports))]))
  }
}
