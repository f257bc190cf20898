/// An address on an interface. The key is (interface, address with length).
public struct InterfaceAddress: KernelObject, Hashable {
  /// The kernel's key: an address may be present with several lengths.
  public struct ID: Hashable, Sendable {
    /// Interface index.
    public var device: Int32
    /// Address and prefix length.
    public var prefix: IPPrefix
  }

  /// Interface index.
  public var device: Int32
  /// Address and prefix length.
  public var prefix: IPPrefix
  /// IPv4 broadcast address; nil = none.
  public var broadcast: IPAddress?
  /// `RT_SCOPE_*`: 0 global, 253 link, 254 host.
  public var scope: UInt8
  /// `IFA_F_*` flags (32 bits); a value of the kernel, ignored by equality.
  public var flags: UInt32

  /// By default a global address as an administrator sets it, without a broadcast address.
  public init(
    device: Int32, prefix: IPPrefix, broadcast: IPAddress? = nil, scope: UInt8 = 0, flags: UInt32 = 0
  ) {
    self.device = device
    self.prefix = prefix
    self.broadcast = broadcast
    self.scope = scope
    self.flags = flags
  }

  /// The key: two addresses with the same one replace each other.
  public var id: ID { ID(device: device, prefix: prefix) }
  /// Flags are the kernel's business (tentative, permanent, …) and do not count.
  public static func == (a: Self, b: Self) -> Bool {
    a.id == b.id && a.scope == b.scope && a.broadcast == b.broadcast
  }

  /// Without the flags, as `==`.
  public func hash(into hasher: inout Hasher) {
    hasher.combine(id)
    hasher.combine(scope)
    hasher.combine(broadcast)
  }

  /// Not usable yet: duplicate address detection runs (`IFA_F_TENTATIVE`).
  public var isTentative: Bool { flags & 0x40 != 0 }
  /// Duplicate address detection failed (`IFA_F_DADFAILED`).
  public var isDuplicate: Bool { flags & 0x08 != 0 }
  /// Lifetime expired (`IFA_F_DEPRECATED`).
  public var isDeprecated: Bool { flags & 0x20 != 0 }
  /// Infinite lifetime (`IFA_F_PERMANENT`).
  public var isPermanent: Bool { flags & 0x80 != 0 }
  /// Secondary IPv4 address or temporary IPv6 address (`IFA_F_SECONDARY` = `IFA_F_TEMPORARY`).
  public var isTemporary: Bool { flags & 0x01 != 0 }
}
