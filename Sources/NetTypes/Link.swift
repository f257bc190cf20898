/// A network interface, as far as this project looks at it. The key is the name.
public struct Link: KernelObject {
  /// Name, at most 15 bytes.
  public var name: String
  /// Interface index; 0 = not known (yet).
  public var index: Int32
  /// What `IFLA_INFO_KIND` says, with its options; nil for hardware and `lo`.
  public var kind: LinkKind?
  /// Link-layer address when it is six bytes long.
  public var mac: MACAddress?
  /// MTU in bytes; 0 = not given.
  public var mtu: UInt32
  /// `IFF_…` flags.
  public var flags: UInt32
  /// Index of the bridge or bond this is a port of; 0 = none.
  public var master: Int32
  /// `IFLA_LINK`: index of the lower device or of the veth peer (in the peer's namespace); 0 = none.
  public var parent: Int32
  /// `IFLA_LINK_NETNSID`: id of the namespace `parent` lives in, when it is another one.
  public var parentNamespace: Int32?
  /// RFC 2863 operational state: 0 unknown, 2 down, 6 up, …
  public var operationalState: UInt8
  /// Bridge port options, when this is one.
  public var port: BridgePort?

  /// With a name alone: a wanted interface of which nothing else is prescribed.
  public init(
    name: String, index: Int32 = 0, kind: LinkKind? = nil, mac: MACAddress? = nil, mtu: UInt32 = 0,
    flags: UInt32 = 0, master: Int32 = 0, parent: Int32 = 0, parentNamespace: Int32? = nil,
    operationalState: UInt8 = 0, port: BridgePort? = nil
  ) {
    self.name = name
    self.index = index
    self.kind = kind
    self.mac = mac
    self.mtu = mtu
    self.flags = flags
    self.master = master
    self.parent = parent
    self.parentNamespace = parentNamespace
    self.operationalState = operationalState
    self.port = port
  }

  /// The key: names are unique in a namespace, and indexes change when an interface is created again.
  public var id: String { name }
  /// Administratively up (`IFF_UP`).
  public var isUp: Bool { flags & 1 != 0 }
  /// Loopback interface (`IFF_LOOPBACK`).
  public var isLoopback: Bool { flags & 8 != 0 }
  /// Promiscuous mode asked for (`IFF_PROMISC`).
  public var isPromiscuous: Bool { flags & 0x100 != 0 }
}

/// The kind of a virtual interface and the options we set or compare.
public enum LinkKind: Hashable, Sendable {
  case vxlan(VXLANOptions)
  /// `vlanFiltering` is nil when the kernel did not say.
  case bridge(vlanFiltering: Bool?)
  case veth
  case ifb
  case tun
  /// Any other kind, by its kernel name.
  case other(String)

  /// The kernel's name of the kind, as in `ip link … type NAME`.
  public var name: String {
    switch self {
    case .vxlan: "vxlan"
    case .bridge: "bridge"
    case .veth: "veth"
    case .ifb: "ifb"
    case .tun: "tun"
    case .other(let n): n
    }
  }
}

/// Options of a VXLAN device (`linux/if_link.h`, `IFLA_VXLAN_*`).
public struct VXLANOptions: Hashable, Sendable {
  /// VXLAN network identifier, 24 bits.
  public var vni: UInt32
  /// Index of the underlay interface; 0 = none.
  public var underlay: Int32
  /// Source address of encapsulated packets.
  public var local: IPAddress?
  /// Multicast group or default remote.
  public var group: IPAddress?
  /// UDP destination port; 0 = kernel default (8472).
  public var port: UInt16
  /// The kernel learns FDB entries from received packets.
  public var learning: Bool
  /// Group based policy extension.
  public var gbp: Bool
  /// Netlink notifications on missing FDB entries.
  public var l2miss: Bool

  /// By default without a multicast group and without learning, on the kernel's port.
  public init(
    vni: UInt32, underlay: Int32 = 0, local: IPAddress? = nil, group: IPAddress? = nil, port: UInt16 = 0,
    learning: Bool = false, gbp: Bool = false, l2miss: Bool = false
  ) {
    self.vni = vni
    self.underlay = underlay
    self.local = local
    self.group = group
    self.port = port
    self.learning = learning
    self.gbp = gbp
    self.l2miss = l2miss
  }
}

/// Options of a bridge port (`IFLA_BRPORT_*`).
public struct BridgePort: Hashable, Sendable {
  /// Frames may leave through the port they came in by.
  public var hairpin: Bool
  /// Isolated ports do not talk to each other.
  public var isolated: Bool

  /// By default as the kernel makes a port: neither option.
  public init(hairpin: Bool = false, isolated: Bool = false) {
    self.hairpin = hairpin
    self.isolated = isolated
  }
}

/// A VLAN range on a bridge port.
public struct BridgeVLAN: Hashable, Sendable {
  /// VLAN ids, 1…4094.
  public var ids: ClosedRange<UInt16>
  /// Untagged frames get this VLAN.
  public var isPVID: Bool
  /// Frames of this VLAN leave untagged.
  public var isUntagged: Bool

  /// By default tagged in both directions.
  public init(ids: ClosedRange<UInt16>, isPVID: Bool = false, isUntagged: Bool = false) {
    self.ids = ids
    self.isPVID = isPVID
    self.isUntagged = isUntagged
  }
}
