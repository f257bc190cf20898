import JSON
public import KubeTypes
public import NetTypes

/// Why a node cannot be used as a peer.
public struct NodeLeaseError: Error, Hashable, Sendable, CustomStringConvertible {
  /// What is wrong with it, as the end of a sentence about the node.
  public let description: String
}

/// Reads leases from nodes (contract flanneld §6.4, §6.5).
public struct NodeLeaseReader: Sendable {
  /// Where the lease is written.
  public let names: AnnotationNames
  /// The enabled families.
  public let families: [AddressFamily]

  /// A reader for nodes of a cluster.
  public init(names: AnnotationNames, families: [AddressFamily]) {
    self.names = names
    self.families = families
  }

  /// Another node's lease; nil while the node takes no part or has no subnet yet. Of each family the first pod CIDR
  /// counts.
  public func lease(of node: KubeNode) throws(NodeLeaseError) -> Lease? {
    let annotations = node.annotations
    guard annotations.value(of: names.manager) == "true" else { return nil }
    let subnets = Self.subnets(node.allPodCIDRs)
    var lease = Lease(
      subnets: PerFamily { families.contains($0) ? subnets[$0] : nil }, attributes: try attributes(annotations))
    lease.node = node.name
    return lease.subnets.isEmpty ? nil : lease
  }

  /// What a node says of itself.
  public func attributes(of node: KubeNode) throws(NodeLeaseError) -> LeaseAttributes {
    try attributes(node.annotations)
  }

  private func attributes(_ annotations: [(name: String, value: String)]) throws(NodeLeaseError) -> LeaseAttributes {
    var out = LeaseAttributes(publicIPs: PerFamily(), backendType: annotations.value(of: names.backendType) ?? "")
    for family in families {
      let name = names.publicIP(family)
      if let text = annotations.value(of: name) {
        guard let ip = IPAddress(text), ip.family == family else {
          throw NodeLeaseError(
            description: "the annotation \(name) is \"\(text)\", expected an \(family.title) address")
        }
        out.publicIPs[family] = ip.isUnspecified ? nil : ip
      }
      out.backendData[family] = try data(annotations, family)
    }
    guard !out.publicIPs.isEmpty else {
      throw NodeLeaseError(
        description: "it has no annotation \(families.map(names.publicIP).joined(separator: " or "))")
    }
    return out
  }

  private func data(
    _ annotations: [(name: String, value: String)], _ family: AddressFamily
  ) throws(NodeLeaseError) -> BackendData? {
    let name = names.backendData(family)
    guard let text = annotations.value(of: name), !text.isEmpty else { return nil }
    // Nearly all are written by agents.
    var plain = PlainText(text.utf8.span)
    if plain.flatObject() != nil, plain.next == nil { return BackendData(scanned: text) }
    do {
      let value = try JSONValue(parsing: Array(text.utf8))
      return value.isNull ? nil : BackendData(value)
    } catch {
      throw NodeLeaseError(description: "the annotation \(name) is not JSON: \(error)")
    }
  }

  private static func subnets(_ texts: [String]) -> PerFamily<IPPrefix> {
    var out = PerFamily<IPPrefix>()
    for text in texts {
      guard let prefix = IPPrefix(text)?.network, out[prefix.family] == nil else { continue }
      out[prefix.family] = prefix
    }
    return out
  }
}

extension [(name: String, value: String)] {
  fileprivate func value(of name: String) -> String? { last { $0.name == name }?.value }
}

extension KubeNode {
  /// `spec.podCIDRs`, or `spec.podCIDR` alone.
  var allPodCIDRs: [String] { podCIDRs.isEmpty ? (podCIDR.isEmpty ? [] : [podCIDR]) : podCIDRs }
}

extension AddressFamily {
  /// `IPv4` or `IPv6`, for messages.
  var title: String { self == .ipv4 ? "IPv4" : "IPv6" }
}
