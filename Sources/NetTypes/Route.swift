/// A unicast, black-hole or local route. The key is what the kernel compares on replace: table, destination, metric.
public struct Route: KernelObject, Hashable {
  /// The kernel's key.
  public struct ID: Hashable, Sendable {
    /// Routing table; 254 is main.
    public var table: UInt32
    /// Destination without host bits.
    public var destination: IPPrefix
    /// Priority.
    public var metric: UInt32
  }
  /// `RTN_*`.
  public enum Kind: Hashable, Sendable {
    case unicast, local, broadcast, anycast, multicast, blackhole, unreachable, prohibit, throwing
    case other(UInt8)
  }

  /// Destination without host bits; `0.0.0.0/0` or `::/0` for a default route.
  public var destination: IPPrefix
  /// Next hop address; nil for a directly connected or a black-hole route, or when `nexthop` is set.
  public var gateway: IPAddress?
  /// Output interface index; 0 = none given.
  public var device: Int32
  /// The gateway is reachable on the link although no address covers it (`RTNH_F_ONLINK`).
  public var isOnlink: Bool
  /// Preferred source address.
  public var source: IPAddress?
  /// Routing table; 254 is main.
  public var table: UInt32
  /// `RTPROT_*`: who installed it; 2 kernel, 3 boot, 4 static.
  public var origin: UInt8
  /// `RT_SCOPE_*`: 0 global, 253 link, 254 host.
  public var scope: UInt8
  /// Priority; for IPv6 an absent metric is 1024 in the kernel's answers.
  public var metric: UInt32
  /// Route type.
  public var kind: Kind
  /// Id of a next-hop object (`RTA_NH_ID`); 0 = none.
  public var nexthop: UInt32
  /// Route MTU; 0 = not set.
  public var mtu: UInt32
  /// Number of next hops of a multipath route beyond the first one; such a route is never equal to one of ours.
  public var extraHops: UInt16
  /// Other flags that matter when reading: the next hop is dead or its link down (`RTNH_F_DEAD`, `RTNH_F_LINKDOWN`).
  public var isDead: Bool

  /// By default a unicast route of the main table with protocol `boot`, as `ip route add` makes it. Without `metric`
  /// the kernel's own is filled in, so that the value equals what is read back: 1024 for IPv6, 0 for IPv4.
  public init(
    destination: IPPrefix, gateway: IPAddress? = nil, device: Int32 = 0, isOnlink: Bool = false,
    source: IPAddress? = nil, table: UInt32 = 254, origin: UInt8 = 3, scope: UInt8 = 0, metric: UInt32? = nil,
    kind: Kind = .unicast, nexthop: UInt32 = 0, mtu: UInt32 = 0, extraHops: UInt16 = 0, isDead: Bool = false
  ) {
    self.destination = destination
    self.gateway = gateway
    self.device = device
    self.isOnlink = isOnlink
    self.source = source
    self.table = table
    self.origin = origin
    self.scope = scope
    self.metric = metric ?? (destination.family == .ipv6 ? 1024 : 0)
    self.kind = kind
    self.nexthop = nexthop
    self.mtu = mtu
    self.extraHops = extraHops
    self.isDead = isDead
  }

  /// The key: a route with the same one is replaced.
  public var id: ID { ID(table: table, destination: destination, metric: metric) }
}

/// A next-hop object (`RTM_NEWNEXTHOP`). The key is its id.
public struct Nexthop: KernelObject, Hashable {
  /// Object id, unique in the namespace.
  public var id: UInt32
  /// Next hop address.
  public var gateway: IPAddress?
  /// Output interface index.
  public var device: Int32
  /// `RTNH_F_ONLINK`.
  public var isOnlink: Bool
  /// `RTPROT_*` of the program that made it.
  public var origin: UInt8

  /// - Parameters:
  ///   - id: chosen by the caller, not 0; an object with the same id is replaced.
  ///   - origin: `RTPROT_*`, the mark by which our objects are found again.
  public init(id: UInt32, gateway: IPAddress?, device: Int32, isOnlink: Bool, origin: UInt8) {
    self.id = id
    self.gateway = gateway
    self.device = device
    self.isOnlink = isOnlink
    self.origin = origin
  }
}
