import NetTypes

/// The subnets of one family that a registry may give to nodes: all of `length` from `min` to `max`, both included.
public struct SubnetPool: Hashable, Sendable {
  /// Prefix length of every node subnet.
  public let length: Int
  /// Base address of the first subnet.
  public let min: IPAddress
  /// Base address of the last subnet.
  public let max: IPAddress

  /// Computes and checks the pool of a network; nil values are replaced by the defaults (contract flanneld §2.2).
  public init(
    network: IPPrefix, length wanted: Int? = nil, min wantedMin: IPAddress? = nil, max wantedMax: IPAddress? = nil
  ) throws(ConfigurationError) {
    let family = network.family
    let limits = family == .ipv4 ? (longest: 30, smallest: 28, usual: 24) : (longest: 126, smallest: 124, usual: 64)
    if let wanted {
      guard wanted <= limits.longest else { throw .subnetLengthTooLong(family) }
      guard wanted >= network.length + 2 else { throw .tooFewSubnets }
      length = wanted
    } else {
      guard network.length <= limits.smallest else { throw .networkTooSmall(family) }
      length = network.length <= limits.usual - 2 ? limits.usual : network.length + 2
    }
    let last = IPPrefix(base: network.last, length: length).base
    // The first subnet is never used: its base is also the base address of the whole network.
    let second = IPPrefix(base: network.base, length: length).next()?.base ?? last
    min = try Self.bound("Min", wantedMin, network, length) ?? second
    max = try Self.bound("Max", wantedMax, network, length) ?? last
    guard min <= max else { throw .emptyRange(min: min, max: max, family) }
  }

  private static func bound(
    _ name: String, _ ip: IPAddress?, _ network: IPPrefix, _ length: Int
  ) throws(ConfigurationError) -> IPAddress? {
    guard let ip else { return nil }
    let key = network.family.keyPrefix + "Subnet" + name
    guard network.contains(ip) else { throw .outOfRange(key: key, network.family) }
    guard IPPrefix(base: ip, length: length).isNetwork else { throw .unaligned(key: key, ip) }
    return ip
  }

  /// True when the subnet is one that this pool gives out.
  public func contains(_ subnet: IPPrefix) -> Bool {
    subnet.family == min.family && subnet.length == length && subnet.isNetwork && (min...max).contains(subnet.base)
  }

  /// The first free subnets in ascending order.
  /// - Parameters:
  ///   - used: prefixes of any length that must not be overlapped; other families are ignored.
  ///   - limit: how many at most.
  public func free(avoiding used: some Sequence<IPPrefix>, limit: Int = 100) -> [IPPrefix] {
    let taken = used.filter { $0.family == min.family }.sorted { $0.base < $1.base }
    var next = 0
    var out: [IPPrefix] = []
    var candidate: IPPrefix? = IPPrefix(base: min, length: length)
    // The highest address of any prefix that starts at or below the candidate's end.
    var covered: IPAddress?
    while out.count < limit, let c = candidate, c.base <= max {
      while next < taken.count, taken[next].base <= c.last {
        covered = Swift.max(covered ?? taken[next].last, taken[next].last)
        next += 1
      }
      if let covered, covered >= c.base {
        // Skip everything below the end of what is taken in one step.
        candidate = IPPrefix(base: Swift.max(covered, c.base), length: length).next()
      } else {
        out.append(c)
        candidate = c.next()
      }
    }
    return out
  }
}
