import JSON
public import KubeTypes
public import NetTypes

/// Why the own node's subnets cannot be used; the texts are those of contract flanneld §6.4.
public enum OwnSubnetError: Error, Hashable, Sendable, CustomStringConvertible {
  /// There is none yet: the controller manager gives it.
  case notAssigned(node: String)
  /// There is one, but none of an enabled family yet.
  case familyMissing(node: String, AddressFamily)
  /// More than one for each family.
  case tooMany(node: String)
  /// Not a subnet.
  case malformed(node: String, String)
  /// Outside the cluster's pod network.
  case outside(node: String, subnet: IPPrefix, network: IPPrefix)

  /// True when waiting may help.
  public var isTemporary: Bool {
    switch self {
    case .notAssigned, .familyMissing: true
    case .tooMany, .malformed, .outside: false
    }
  }

  /// One line for the operator.
  public var description: String {
    switch self {
    case .notAssigned(let node):
      "node \"\(node)\" pod cidr not assigned: the controller manager does that when started with "
        + "--allocate-node-cidrs --cluster-cidr (kubeadm: --pod-network-cidr)"
    case .familyMissing(let node, let family):
      "node \"\(node)\" has no \(family.title) pod cidr, but Enable\(family.title) is on: the controller manager's "
        + "--cluster-cidr needs a range of each family"
    case .tooMany(let node): "node \"\(node)\" pod cidrs should be IPv4/IPv6 only or dualstack"
    case .malformed(let node, let text):
      "node \"\(node)\" has the pod cidr \"\(text)\", expected a subnet such as 10.244.3.0/24"
    case .outside(let node, let subnet, let network):
      "subnet \"\(network)\" specified in the flannel net config doesn't contain \"\(subnet)\" "
        + "\(subnet.family == .ipv4 ? "" : "IPv6 ")PodCIDR of the \"\(node)\" node"
    }
  }
}

extension KubeNode {
  /// This node's subnets: of each family the last pod CIDR counts (contract flanneld §6.4).
  public func ownSubnets(in configuration: NetworkConfiguration) throws(OwnSubnetError) -> PerFamily<IPPrefix> {
    guard !podCIDR.isEmpty || !podCIDRs.isEmpty else { throw .notAssigned(node: name) }
    guard podCIDRs.count <= 2 else { throw .tooMany(node: name) }
    var all = PerFamily<IPPrefix>()
    for text in allPodCIDRs {
      guard let prefix = IPPrefix(text)?.network else { throw .malformed(node: name, text) }
      all[prefix.family] = prefix
    }
    var out = PerFamily<IPPrefix>()
    for family in configuration.enabledFamilies {
      guard let subnet = all[family] else { throw .familyMissing(node: name, family) }
      if let network = configuration.network(family), !network.contains(subnet) {
        throw .outside(node: name, subnet: subnet, network: network)
      }
      out[family] = subnet
    }
    return out
  }

  /// The annotations of this node that are not as they must be for the others to reach it; empty when all are
  /// (contract flanneld §6.2, §6.3).
  /// - Parameter attributes: of the node; what the operator overwrites is taken from the annotations.
  public func annotationChanges(_ attributes: LeaseAttributes, names: AnnotationNames) -> [(
    name: String, value: String
  )] {
    var wanted = [
      (name: names.backendType, value: attributes.backendType), (name: names.manager, value: "true"),
    ]
    for family in AddressFamily.allCases {
      guard let ip = attributes.publicIPs[family], let data = attributes.backendData[family] else { continue }
      wanted.append((names.backendData(family), data.text))
      let overwrite = annotation(names.publicIPOverwrite(family)).flatMap { $0.isEmpty ? nil : $0 }
      wanted.append((names.publicIP(family), overwrite ?? ip.description))
    }
    return wanted.filter { annotation($0.name) != $0.value }.sorted { $0.name < $1.name }
  }

  /// The body of a strategic merge patch that sets annotations.
  public static func annotationPatch(_ annotations: [(name: String, value: String)]) -> JSONValue {
    ["metadata": ["annotations": .object(JSONObject(annotations.map { ($0.name, .string($0.value)) }))]]
  }

  /// The body of a strategic merge patch that says that this node's network is there (contract flanneld §6.6).
  /// - Parameter now: seconds since the epoch.
  public static func networkIsUpPatch(now: Int64) -> JSONValue {
    let time = JSONValue.string(Timestamp.text(now))
    let condition: JSONValue = [
      "type": "NetworkUnavailable", "status": "False", "lastHeartbeatTime": time, "lastTransitionTime": time,
      "reason": .string(networkIsUp.reason), "message": .string(networkIsUp.message),
    ]
    return ["status": ["conditions": .array([condition])]]
  }

  /// The condition that the patch sets.
  public static let networkIsUp = Condition(
    status: "False", reason: "FlannelIsUp", message: "Flannel is running on this node")

  /// What the operator wants as public address of a family, and did not write well if it is not one.
  public func nodePublicIP(_ family: AddressFamily, names: AnnotationNames) -> String? {
    annotation(names.nodePublicIP(family)).flatMap { $0.isEmpty ? nil : $0 }
  }
}
