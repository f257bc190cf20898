public import KubeTypes
import NetTypes

/// The leases of all other nodes that are known, kept up to date node by node.
///
/// * A node whose annotations cannot be read keeps the lease it had: its packets still arrive.
/// * A node that is known longer has precedence over one that claims the same subnet.
public struct NodeLeases: Sendable {
  private let reader: NodeLeaseReader
  private let own: String
  /// Sorted by key, then by rank.
  private var leases: [Lease] = []
  private var byNode: [String: Lease] = [:]
  private var byAddress: [IPAddress: Set<String>] = [:]
  private var problems: [String: String] = [:]
  private var nextRank = 1
  private var revision: UInt64 = 0

  /// Nothing is known.
  /// - Parameter own: the name of this node, which is left out.
  public init(reader: NodeLeaseReader, own: String) {
    self.reader = reader
    self.own = own
  }

  /// What is known now.
  public var snapshot: LeaseSnapshot { LeaseSnapshot(sorted: leases, revision: revision) }

  /// Takes nodes in.
  /// - Returns: true when a lease is there, gone or another one.
  public mutating func put(_ nodes: [KubeNode]) -> Bool {
    let before = revision
    // Many at once are cheaper to sort again than to insert one by one.
    let isLarge = nodes.count > 64
    for node in nodes.sorted(by: { $0.name < $1.name }) where node.name != own {
      do {
        if let lease = try reader.lease(of: node) {
          problems[node.name] = nil
          set(lease, isLarge)
        } else {
          forget(node.name, isLarge)
        }
      } catch {
        problems[node.name] =
          "node \(node.name): \(error)"
          + (byNode[node.name] == nil
            ? "; it gets no route until that is repaired" : "; going on with what it said before")
      }
    }
    if isLarge, revision != before {
      leases = byNode.values.sorted { $0.key != $1.key ? $0.key < $1.key : $0.rank < $1.rank }
    }
    return revision != before
  }

  /// Forgets nodes.
  /// - Returns: true when one of them had a lease.
  public mutating func remove(_ names: [String]) -> Bool {
    let before = revision
    for name in names { forget(name, false) }
    return revision != before
  }

  /// Forgets all nodes but these.
  public mutating func keep(_ isKnown: (String) -> Bool) -> Bool {
    remove(Set(byNode.keys).union(problems.keys).filter { !isKnown($0) })
  }

  /// What an operator should know, sorted: nodes that cannot be read, and nodes with the same address.
  public var warnings: [String] {
    var out = problems.values.sorted()
    for (ip, nodes) in byAddress where nodes.count > 1 {
      out.append(
        "the nodes \(nodes.sorted().joined(separator: " and ")) both announce the address \(ip): only one of them can be "
          + "reached; is --iface needed, or --public-ip?")
    }
    return out.sorted()
  }

  private mutating func set(_ new: Lease, _ isLarge: Bool) {
    var lease = new
    let known = byNode[new.node]
    lease.rank = known?.rank ?? nextRank
    guard lease != known else { return }
    if known == nil { nextRank += 1 }
    revision += 1
    byNode[new.node] = lease
    if let known { unlink(known, isLarge) }
    for ip in lease.attributes.publicIPs.values { byAddress[ip, default: []].insert(lease.node) }
    guard !isLarge else { return }
    var i = leases.position(of: lease.key)
    while i < leases.count, leases[i].key == lease.key, leases[i].rank < lease.rank { i += 1 }
    leases.insert(lease, at: i)
  }

  private mutating func forget(_ name: String, _ isLarge: Bool) {
    problems[name] = nil
    guard let known = byNode.removeValue(forKey: name) else { return }
    revision += 1
    unlink(known, isLarge)
  }

  private mutating func unlink(_ lease: Lease, _ isLarge: Bool) {
    for ip in lease.attributes.publicIPs.values {
      byAddress[ip]?.remove(lease.node)
      if byAddress[ip]?.isEmpty == true { byAddress[ip] = nil }
    }
    guard !isLarge else { return }
    var i = leases.position(of: lease.key)
    while i < leases.count, leases[i].key == lease.key {
      if leases[i].node == lease.node {
        leases.remove(at: i)
        return
      }
      i += 1
    }
  }
}
