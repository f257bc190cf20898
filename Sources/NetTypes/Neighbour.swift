/// An ARP or neighbour discovery entry. The key is (interface, address).
public struct Neighbour: KernelObject, Hashable {
  /// The kernel's key.
  public struct ID: Hashable, Sendable {
    /// Interface index.
    public var device: Int32
    /// The protocol address.
    public var address: IPAddress
  }

  /// Interface index.
  public var device: Int32
  /// The protocol address.
  public var address: IPAddress
  /// The link-layer address it resolves to; nil while unresolved.
  public var mac: MACAddress?
  /// `NUD_*` state; `NUD_PERMANENT` is 0x80.
  public var state: UInt16

  /// Permanent unless another state is given.
  public init(device: Int32, address: IPAddress, mac: MACAddress?, state: UInt16 = 0x80) {
    self.device = device
    self.address = address
    self.mac = mac
    self.state = state
  }

  /// The key: an interface has one entry for an address.
  public var id: ID { ID(device: device, address: address) }
  /// `NUD_PERMANENT`: set by an administrator or a program, never aged.
  public var isPermanent: Bool { state & 0x80 != 0 }
  /// `NUD_REACHABLE`, `STALE`, `DELAY`, `PROBE`, `NOARP`, `PERMANENT`: packets can be sent.
  public var isUsable: Bool { state & 0xde != 0 }
  /// Neither set by anybody nor given by the kind of interface (`NUD_NOARP`).
  public var isLearnt: Bool { state & 0xc0 == 0 }
}

/// A forwarding database entry of a VXLAN device: frames for `mac` are sent to `remote`. The key is (interface, MAC,
/// remote), because the kernel allows several remotes per MAC.
public struct FDBEntry: KernelObject, Hashable {
  /// The kernel's key.
  public struct ID: Hashable, Sendable {
    /// Interface index of the VXLAN device.
    public var device: Int32
    /// Destination MAC.
    public var mac: MACAddress
    /// Underlay address.
    public var remote: IPAddress?
  }

  /// Interface index of the VXLAN device.
  public var device: Int32
  /// Destination MAC.
  public var mac: MACAddress
  /// Underlay address the frame is sent to.
  public var remote: IPAddress?
  /// `NUD_*` state; `NUD_PERMANENT` is 0x80.
  public var state: UInt16

  /// Permanent unless another state is given.
  public init(device: Int32, mac: MACAddress, remote: IPAddress?, state: UInt16 = 0x80) {
    self.device = device
    self.mac = mac
    self.remote = remote
    self.state = state
  }

  /// The key: one of several remotes of a MAC.
  public var id: ID { ID(device: device, mac: mac, remote: remote) }
  /// `NUD_PERMANENT`: set by a program, not learnt.
  public var isPermanent: Bool { state & 0x80 != 0 }
}
