import CLinux
import NetTypes

/// The other end of a veth pair that is being created. It is down at first: the kernel cannot open a device whose
/// other end does not exist yet (`ENOTCONN`), so it needs a request of its own, in its namespace.
public struct VethPeer: Sendable, Hashable {
  /// Name, at most 15 bytes.
  public var name: String
  /// Descriptor of the network namespace it is created in; -1 = where the first end is.
  public var namespace: Int32
  /// Link-layer address; nil = random.
  public var mac: MACAddress?
  /// MTU in bytes; 0 = kernel default.
  public var mtu: UInt32

  /// Every field as given.
  public init(name: String, namespace: Int32 = -1, mac: MACAddress? = nil, mtu: UInt32 = 0) {
    self.name = name
    self.namespace = namespace
    self.mac = mac
    self.mtu = mtu
  }
}

/// `IFF_*` as far as they are set.
enum LinkFlag {
  static let up: UInt32 = 1
  static let promiscuous: UInt32 = 0x100
}

/// The fixed header of link messages.
func linkHeader(
  family: UInt8 = FamilyNumber.any, index: Int32 = 0, flags: UInt32 = 0, change: UInt32 = 0
) -> ifinfomsg {
  ifinfomsg(ifi_family: family, __ifi_pad: 0, ifi_type: 0, ifi_index: index, ifi_flags: flags, ifi_change: change)
}

extension Link {
  /// The body of a request that creates this link: name, address, MTU, bridge, lower device, kind.
  func encode(into writer: inout MessageWriter, up: Bool, peer: VethPeer?) {
    let flags = up ? LinkFlag.up : 0
    writer.header(linkHeader(index: index, flags: flags, change: flags))
    if let mac { writer.attribute(LinkAttribute.address, mac) }
    if mtu != 0 { writer.attribute(LinkAttribute.mtu, mtu) }
    writer.attribute(LinkAttribute.name, name)
    if master != 0 { writer.attribute(LinkAttribute.master, master) }
    guard let kind else { return }
    switch kind {
    case .vxlan, .veth: break
    default: if parent != 0 { writer.attribute(LinkAttribute.link, parent) }
    }
    writer.nested(LinkAttribute.info) { writer in
      writer.attribute(LinkInfoAttribute.kind, kind.name, terminated: false)
      switch kind {
      case .vxlan(let options): writer.nested(LinkInfoAttribute.data) { options.encode(into: &$0) }
      case .bridge(let filtering?):
        writer.nested(LinkInfoAttribute.data) {
          $0.attribute(BridgeAttribute.vlanFiltering, UInt8(filtering ? 1 : 0))
        }
      case .veth:
        guard let peer else { break }
        writer.nested(LinkInfoAttribute.data) { $0.nested(VethAttribute.peer) { peer.encode(into: &$0) } }
      case .bridge(nil), .ifb, .tun, .other: break
      }
    }
  }
}

extension VXLANOptions {
  /// `IFLA_VXLAN_*`. What is not set is left to the kernel, as flannel does.
  fileprivate func encode(into writer: inout MessageWriter) {
    if underlay != 0 { writer.attribute(VXLANAttribute.link, underlay) }
    writer.attribute(VXLANAttribute.id, vni)
    if let group {
      writer.attribute(group.family == .ipv4 ? VXLANAttribute.group : VXLANAttribute.group6, group)
    }
    if let local {
      writer.attribute(local.family == .ipv4 ? VXLANAttribute.local : VXLANAttribute.local6, local)
    }
    writer.attribute(VXLANAttribute.learning, UInt8(learning ? 1 : 0))
    if l2miss { writer.attribute(VXLANAttribute.l2miss, UInt8(1)) }
    if port != 0 { writer.attribute(VXLANAttribute.port, port.bigEndian) }
    if gbp { writer.flag(VXLANAttribute.gbp) }
  }
}

extension VethPeer {
  fileprivate func encode(into writer: inout MessageWriter) {
    writer.header(linkHeader())
    if let mac { writer.attribute(LinkAttribute.address, mac) }
    if mtu != 0 { writer.attribute(LinkAttribute.mtu, mtu) }
    writer.attribute(LinkAttribute.name, name)
    if namespace >= 0 { writer.attribute(LinkAttribute.namespaceDescriptor, namespace) }
  }
}
