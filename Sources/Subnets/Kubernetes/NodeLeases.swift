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
  /// Where each node's lease is.
  private var places: [String: Place] = [:]
  private var announcements = Announcements()
  private var problems: [String: String] = [:]
  private var nextRank = 1
  private var lastStamp: UInt64 = 0
  private var revision: UInt64 = 0

  private struct Place {
    var key: LeaseKey
    var rank: Int
  }

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
    if nodes.count > 64 { putMany(nodes) } else { for node in nodes { put(node) } }
    return revision != before
  }

  private mutating func put(_ node: KubeNode) {
    guard node.name != own else { return }
    let known = places[node.name].flatMap(index)
    switch read(node, isKnown: known != nil) {
    case .same: break
    case .none: forget(node.name)
    case .lease(var lease):
      lease.rank = known.map { leases[$0].rank } ?? nextRank
      if let known, leases[known].hasContent(of: lease) { return }
      forget(node.name)
      nextRank = max(nextRank, lease.rank + 1)
      insert(lease)
    }
  }

  private mutating func putMany(_ nodes: [KubeNode]) {
    var all = [String: Lease](minimumCapacity: leases.count + nodes.count)
    for lease in leases { all[lease.node] = lease }
    var isChanged = false
    for node in nodes.sorted(by: { $0.name < $1.name }) where node.name != own {
      let known = all[node.name]
      switch read(node, isKnown: known != nil) {
      case .same: continue
      case .none:
        all[node.name] = nil
        isChanged = isChanged || known != nil
      case .lease(var lease):
        if known?.hasContent(of: lease) == true { continue }
        lease.rank = known?.rank ?? nextRank
        nextRank = max(nextRank, lease.rank + 1)
        lease.stamp = nextStamp()
        isChanged = true
        all[node.name] = lease
      }
    }
    guard isChanged else { return }
    revision += 1
    leases = all.values.sorted { $0.key != $1.key ? $0.key < $1.key : $0.rank < $1.rank }
    places = Dictionary(minimumCapacity: leases.count)
    announcements = Announcements()
    for lease in leases {
      places[lease.node] = Place(key: lease.key, rank: lease.rank)
      announcements.add(lease)
    }
  }

  /// Forgets nodes.
  /// - Returns: true when one of them had a lease.
  public mutating func remove(_ names: [String]) -> Bool {
    let before = revision
    for name in names {
      problems[name] = nil
      forget(name)
    }
    return revision != before
  }

  /// Forgets all nodes but these.
  public mutating func keep(_ isKnown: (String) -> Bool) -> Bool {
    remove(Set(places.keys).union(problems.keys).filter { !isKnown($0) })
  }

  /// What an operator should know, sorted: nodes that cannot be read, and nodes with the same address.
  public var warnings: [String] {
    var out = Array(problems.values)
    for ip in announcements.shared {
      let nodes = leases.filter { $0.attributes.publicIPs.values.contains(ip) }.map(\.node).sorted()
      out.append(
        "the nodes \(nodes.joined(separator: " and ")) both announce the address \(ip): only one of them can be "
          + "reached; is --iface needed, or --public-ip?")
    }
    return out.sorted()
  }

  private enum Reading {
    case lease(Lease)
    /// It takes no part.
    case none
    /// It cannot be read: what is known stays.
    case same
  }

  private mutating func read(_ node: KubeNode, isKnown: Bool) -> Reading {
    do {
      let lease = try reader.lease(of: node)
      problems[node.name] = nil
      return lease.map(Reading.lease) ?? .none
    } catch {
      problems[node.name] =
        "node \(node.name): \(error)"
        + (isKnown ? "; going on with what it said before" : "; it gets no route until that is repaired")
      return .same
    }
  }

  private func index(_ place: Place) -> Int? {
    var i = leases.position(of: place.key)
    while i < leases.count, leases[i].key == place.key {
      if leases[i].rank == place.rank { return i }
      i += 1
    }
    return nil
  }

  private mutating func nextStamp() -> UInt64 {
    lastStamp += 1
    return lastStamp
  }

  private mutating func insert(_ new: Lease) {
    var lease = new
    lease.stamp = nextStamp()
    revision += 1
    places[lease.node] = Place(key: lease.key, rank: lease.rank)
    announcements.add(lease)
    var i = leases.position(of: lease.key)
    while i < leases.count, leases[i].key == lease.key, leases[i].rank < lease.rank { i += 1 }
    leases.insert(lease, at: i)
  }

  private mutating func forget(_ name: String) {
    guard let place = places.removeValue(forKey: name), let i = index(place) else { return }
    revision += 1
    announcements.remove(leases[i])
    leases.remove(at: i)
  }
}

extension Lease {
  fileprivate func hasContent(of other: Lease) -> Bool {
    subnets == other.subnets && attributes == other.attributes && node == other.node
  }
}

/// How many nodes announce each address, and which addresses are announced by several.
private struct Announcements: Sendable {
  private var counts: [IPAddress: Int] = [:]
  private(set) var shared: Set<IPAddress> = []

  mutating func add(_ lease: Lease) {
    for ip in lease.attributes.publicIPs.values {
      let count = counts[ip, default: 0] + 1
      counts[ip] = count
      if count == 2 { shared.insert(ip) }
    }
  }

  mutating func remove(_ lease: Lease) {
    for ip in lease.attributes.publicIPs.values {
      let count = counts[ip, default: 1] - 1
      counts[ip] = count == 0 ? nil : count
      if count == 1 { shared.remove(ip) }
    }
  }
}
