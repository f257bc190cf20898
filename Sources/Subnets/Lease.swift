import JSON
import NetTypes

/// A node's subnets and how to reach the node: one key and value of a registry (contract flanneld §7.1).
public struct Lease: Hashable, Sendable {
  /// The node's pod subnet per family, host bits cleared.
  public var subnets: PerFamily<IPPrefix>
  /// Where the node is and what its back end needs to know.
  public var attributes: LeaseAttributes
  /// Nanoseconds since the epoch; nil = a reservation, which never expires.
  public var expiration: Int64?
  /// The node's name, where the registry knows it; else empty.
  public var node = ""
  /// Of two leases for the same addresses the one with the lower rank is served: it was known first.
  public var rank = 0
  /// Two leases of one registry with the same number, other than 0, are equal: to find what has changed among thousands.
  public var stamp: UInt64 = 0

  /// A reservation unless an expiration is given (nanoseconds since the epoch).
  public init(subnets: PerFamily<IPPrefix>, attributes: LeaseAttributes, expiration: Int64? = nil) {
    self.subnets = subnets
    self.attributes = attributes
    self.expiration = expiration
  }

  /// The node's subnet of a family.
  public func subnet(_ family: AddressFamily) -> IPPrefix? { subnets[family] }
  /// The lease's name in a registry.
  public var key: LeaseKey { LeaseKey(subnets) }
  /// The lease in messages: `10.244.3.0-24 (node-3)`.
  public var title: String { node.isEmpty ? key.description : "\(key) (\(node))" }
  /// True when the lease stays until it is removed by hand.
  public var isReservation: Bool { expiration == nil }
  /// True when the time of the lease is over.
  /// - Parameter now: nanoseconds since the epoch.
  public func isExpired(at now: Int64) -> Bool { expiration.map { $0 < now } ?? false }
}

/// What a node publishes about itself for the other nodes' back ends.
public struct LeaseAttributes: Hashable, Sendable {
  /// Where other nodes send encapsulated packets.
  public var publicIPs: PerFamily<IPAddress>
  /// `vxlan`, `host-gw`, …; may be empty.
  public var backendType: String
  /// `BackendData` and `BackendV6Data`.
  public var backendData: PerFamily<BackendData>

  /// By default without anything of a back end: just an address that names the node.
  public init(
    publicIPs: PerFamily<IPAddress>, backendType: String = "", backendData: PerFamily<BackendData> = PerFamily()
  ) {
    self.publicIPs = publicIPs
    self.backendType = backendType
    self.backendData = backendData
  }

  /// True when both name the same node: the first family in which both have a public address decides.
  public func isSameNode(as other: LeaseAttributes) -> Bool {
    for f in AddressFamily.allCases {
      if let mine = publicIPs[f], let theirs = other.publicIPs[f] { return mine == theirs }
    }
    return false
  }

  /// The public addresses, for messages.
  var address: String { publicIPs.families.compactMap { publicIPs[$0]?.description }.joined(separator: " and ") }
}

/// A back end's own data, kept as the JSON text it travels in: of 5,000 leases most are never looked into again, and
/// comparing text is what finds a change.
public struct BackendData: Hashable, Sendable {
  /// Compact JSON; always valid.
  public let text: String

  /// Keeps the value as compact JSON, members in their order.
  public init(_ value: JSONValue) { text = value.text() }
  /// For text that a JSON scanner has accepted.
  init(scanned text: String) { self.text = text }

  /// The data as a value.
  public var value: JSONValue { (try? JSONValue(parsing: text)) ?? .null }
}

/// All valid leases of a registry at one moment: what a plan is made from.
public struct LeaseSnapshot: Hashable, Sendable {
  /// Sorted by key.
  public let leases: [Lease]
  /// Grows whenever a lease is added, removed or has other attributes. A mere renewal does not count.
  public let revision: UInt64

  /// Sorts the leases; by default there are none yet.
  public init(_ leases: [Lease] = [], revision: UInt64 = 0) {
    self.leases = leases.sorted { $0.key < $1.key }
    self.revision = revision
  }

  init(sorted leases: [Lease], revision: UInt64) {
    self.leases = leases
    self.revision = revision
  }

  /// The lease of a key, by binary search.
  public subscript(key: LeaseKey) -> Lease? {
    let i = leases.position(of: key)
    return i < leases.count && leases[i].subnets == key.subnets ? leases[i] : nil
  }
}

extension [Lease] {
  /// Where the lease of this key is, or belongs, in an array sorted by key.
  func position(of key: LeaseKey) -> Int {
    var low = 0
    var high = count
    while low < high {
      let middle = low + (high - low) / 2
      if self[middle].key < key { low = middle + 1 } else { high = middle }
    }
    return low
  }
}
