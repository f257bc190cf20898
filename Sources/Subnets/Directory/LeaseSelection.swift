import NetTypes

/// Decides which lease a node gets, given all that exist (contract flanneld §7.2, §19 no. 31–36). Pure but for the
/// random pick.
struct LeaseSelection {
  private let pools: PerFamily<SubnetPool>
  private let previous: PerFamily<IPPrefix>
  private let attributes: LeaseAttributes

  init(
    _ attributes: LeaseAttributes, _ configuration: NetworkConfiguration, _ previous: PerFamily<IPPrefix>
  ) throws(RegistryError) {
    guard let family = configuration.enabledFamilies.first else { throw .configuration(path: "config", .noFamily) }
    guard attributes.publicIPs[family] != nil else { throw .publicIPMissing(family) }
    self.attributes = attributes
    self.previous = previous
    var pools = PerFamily<SubnetPool>()
    for f in configuration.enabledFamilies {
      do { pools[f] = try configuration.pool(f) } catch { throw .configuration(path: "config", error) }
    }
    self.pools = pools
  }

  /// What to do to the directory.
  struct Choice {
    /// A lease of this node to go on with; nil = make one of `subnets`.
    var kept: LeaseFiles.Entry?
    var subnets: PerFamily<IPPrefix>
    /// Names of files to remove first.
    var removed: [String]
    var warnings: [String]
  }

  func choose(among entries: [LeaseFiles.Entry], now: Int64) throws(RegistryError) -> Choice {
    let own = entries.filter { $0.lease.map { isOwn($0.attributes) } ?? false }
    let fitting = own.filter { fits($0.key.subnets) }.sorted {
      rank($0) > rank($1) || rank($0) == rank($1) && $0.key < $1.key
    }
    let kept = fitting.first
    var choice = Choice(kept: kept, subnets: kept?.key.subnets ?? PerFamily(), removed: [], warnings: [])
    for e in own where e.name != kept?.name {
      if e.expiration == nil {
        choice.warnings.append(
          "\(e.name) is reserved for \(attributes.address) but \(kept == nil ? "does not fit the network config" : "not the only one"); not used"
        )
      } else {
        choice.removed.append(e.name)
      }
    }
    // What another node left behind; this node's own was dealt with above, expired or not.
    let ownNames = Set(own.map(\.name))
    choice.removed += entries.filter { $0.isExpired(at: now) && !ownNames.contains($0.name) }.map(\.name)
    if kept == nil { choice.subnets = try freeSubnets(entries, removed: Set(choice.removed)) }
    return choice
  }

  /// The same public address, or the same back-end data: it holds the MAC of a device of this node, whose address may
  /// have changed since.
  private func isOwn(_ other: LeaseAttributes) -> Bool {
    other.isSameNode(as: attributes)
      || other.backendType == attributes.backendType
        && AddressFamily.allCases.contains { f in
          guard let data = attributes.backendData[f], data.text.hasPrefix("{") else { return false }
          return other.backendData[f] == data
        }
  }

  /// Reservations first, then what subnet.env says.
  private func rank(_ e: LeaseFiles.Entry) -> Int { e.expiration == nil ? 2 : e.key.subnets == previous ? 1 : 0 }

  /// True when a node may keep exactly these subnets under the present configuration.
  private func fits(_ subnets: PerFamily<IPPrefix>) -> Bool {
    AddressFamily.allCases.allSatisfy { f in
      switch (pools[f], subnets[f]) {
      case (let pool?, let subnet?): pool.contains(subnet)
      case (nil, nil): true
      default: false
      }
    }
  }

  private func freeSubnets(
    _ entries: [LeaseFiles.Entry], removed: Set<String>
  ) throws(RegistryError) -> PerFamily<IPPrefix> {
    var out = PerFamily<IPPrefix>()
    for f in pools.families {
      guard let pool = pools[f] else { continue }
      let used = entries.compactMap { removed.contains($0.name) ? nil : $0.key.subnets[f] }
      if let wanted = previous[f], pool.contains(wanted), !used.contains(where: { $0.overlaps(wanted) }) {
        out[f] = wanted
      } else if let pick = pool.free(avoiding: used).randomElement() {
        out[f] = pick
      } else {
        throw .outOfSubnets(pool)
      }
    }
    return out
  }
}
