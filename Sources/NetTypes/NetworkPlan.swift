/// Who installed a route or a next-hop object, as `ip route` shows it (`proto …`).
public enum RouteOrigin {
  /// `kernel`
  public static let kernel: UInt8 = 2
  /// `boot`: what flannel and a plain `ip route add` use; overlay routes keep it, so that both programs see their own.
  public static let boot: UInt8 = 3
  /// Routes and next-hop objects of ours on devices that are not ours; nothing else is touched there.
  public static let weft: UInt8 = 87
}

/// Everything that should be in the kernel below the devices a back end owns. Plain data, made by a planner and
/// compared with what is there. Objects refer to devices by interface index.
public struct NetworkPlan: Equatable, Sendable {
  /// Wanted addresses.
  public var addresses: [InterfaceAddress] = []
  /// Wanted permanent neighbours.
  public var neighbours: [Neighbour] = []
  /// Wanted permanent VXLAN forwarding entries.
  public var fdb: [FDBEntry] = []
  /// Wanted next-hop objects.
  public var nexthops: [Nexthop] = []
  /// Wanted routes of the main table.
  public var routes: [Route] = []
  /// What an operator should know about inputs that were left out; stable texts.
  public var warnings: [String] = []

  /// Wants nothing: against it, everything of ours is to be removed.
  public init() {}
}

/// What of the observed state belongs to us: only this is ever changed or removed (design: ownership is an explicit
/// predicate per kind).
public struct Ownership: Equatable, Sendable {
  /// Indexes of the devices we made or adopted.
  public var devices: Set<Int32>
  /// The cluster networks; on our devices only objects inside them are ours.
  public var networks: [IPPrefix]

  /// - Parameters:
  ///   - devices: indexes of the devices we made or adopted.
  ///   - networks: the cluster networks of the enabled families.
  public init(devices: Set<Int32>, networks: [IPPrefix]) {
    self.devices = devices
    self.networks = networks
  }

  private func isOurs(_ address: IPAddress) -> Bool { networks.contains { $0.contains(address) } }

  /// IPv4 inside the cluster network; every IPv6 address but link-local ones (contract flanneld §12.1, §19.41).
  public func owns(_ a: InterfaceAddress) -> Bool {
    devices.contains(a.device)
      && (a.prefix.family == .ipv4 ? isOurs(a.prefix.address) : !a.prefix.address.isLinkLocalUnicast)
  }

  /// Permanent entries for addresses of the cluster network.
  public func owns(_ n: Neighbour) -> Bool { devices.contains(n.device) && n.isPermanent && isOurs(n.address) }

  /// Permanent entries with a remote; the all-zero MAC (default destination) is an administrator's.
  public func owns(_ e: FDBEntry) -> Bool {
    devices.contains(e.device) && e.isPermanent && e.remote != nil && e.mac.value != 0
  }

  /// Objects with our protocol number on our devices.
  public func owns(_ n: Nexthop) -> Bool { n.origin == RouteOrigin.weft && devices.contains(n.device) }

  /// Routes of the main table: into the cluster network through our devices, or anywhere with our protocol number; and
  /// black holes in the cluster network that flannel left.
  public func owns(_ r: Route) -> Bool {
    guard r.table == 254, r.kind == .unicast || r.kind == .blackhole else { return false }
    if r.kind == .blackhole, r.origin == RouteOrigin.boot { return networks.contains { $0.contains(r.destination) } }
    if r.origin == RouteOrigin.weft { return true }
    return r.origin == RouteOrigin.boot && devices.contains(r.device)
      && networks.contains { $0.contains(r.destination) }
  }
}
