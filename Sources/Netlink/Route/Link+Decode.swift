import CLinux
import NetTypes

extension Link {
  /// From `RTM_NEWLINK` or `RTM_DELLINK`. What a bridge says about a port (family `AF_BRIDGE`) has no kind. nil when
  /// the message is too short.
  init?(_ message: borrowing Message) {
    guard let header = message.header(as: ifinfomsg.self) else { return nil }
    self.init(name: "", index: header.ifi_index, flags: header.ifi_flags)
    var attributes = message.attributes(after: MemoryLayout<ifinfomsg>.size)
    while let a = attributes.next() {
      switch a.type {
      case LinkAttribute.name: name = a.string
      case LinkAttribute.address: mac = a.mac
      case LinkAttribute.mtu: mtu = a.uint32 ?? 0
      case LinkAttribute.link: parent = a.int32 ?? 0
      case LinkAttribute.linkNamespaceID: parentNamespace = a.int32
      case LinkAttribute.master: master = a.int32 ?? 0
      case LinkAttribute.operationalState: operationalState = a.uint8 ?? 0
      case LinkAttribute.info: readInfo(a)
      case LinkAttribute.protocolInfo where header.ifi_family == FamilyNumber.bridge: port = BridgePort(a)
      default: break
      }
    }
    // The kernel repeats the device's own index where there is no lower device.
    if parent == index, parentNamespace == nil { parent = 0 }
  }

  /// `IFLA_LINKINFO`. The kernel always puts a kind before its data.
  private mutating func readInfo(_ info: borrowing Attribute) {
    var kindName = ""
    var portKind = ""
    var attributes = info.nested()
    while let a = attributes.next() {
      switch a.type {
      case LinkInfoAttribute.kind:
        kindName = a.string
        kind = LinkKind(plain: kindName)
      case LinkInfoAttribute.data:
        if let detailed = LinkKind(kindName, data: a) { kind = detailed }
      case LinkInfoAttribute.portKind: portKind = a.string
      case LinkInfoAttribute.portData where portKind == "bridge": port = BridgePort(a)
      default: break
      }
    }
  }
}

extension LinkKind {
  /// A kind whose options were not given.
  fileprivate init(plain name: String) {
    switch name {
    case "vxlan": self = .vxlan(VXLANOptions(vni: 0))
    case "bridge": self = .bridge(vlanFiltering: nil)
    case "veth": self = .veth
    case "ifb": self = .ifb
    case "tun": self = .tun
    default: self = .other(name)
    }
  }

  /// A kind with its `IFLA_INFO_DATA`; nil for kinds whose options we do not look at.
  fileprivate init?(_ name: String, data: borrowing Attribute) {
    switch name {
    case "vxlan": self = .vxlan(VXLANOptions(data))
    case "bridge":
      var filtering: Bool?
      var attributes = data.nested()
      while let a = attributes.next() {
        if a.type == BridgeAttribute.vlanFiltering { filtering = a.uint8.map { $0 != 0 } }
      }
      self = .bridge(vlanFiltering: filtering)
    default: return nil
    }
  }
}

extension VXLANOptions {
  fileprivate init(_ data: borrowing Attribute) {
    self.init(vni: 0)
    var attributes = data.nested()
    while let a = attributes.next() {
      switch a.type {
      case VXLANAttribute.id: vni = a.uint32 ?? 0
      case VXLANAttribute.link: underlay = a.int32 ?? 0
      case VXLANAttribute.local, VXLANAttribute.local6: local = a.address
      case VXLANAttribute.group, VXLANAttribute.group6: group = a.address
      case VXLANAttribute.port: port = a.uint16.map { UInt16(bigEndian: $0) } ?? 0
      case VXLANAttribute.learning: learning = a.uint8 == 1
      case VXLANAttribute.l2miss: l2miss = a.uint8 == 1
      case VXLANAttribute.gbp: gbp = true
      default: break
      }
    }
  }
}

extension BridgePort {
  /// Nested `IFLA_BRPORT_*`.
  fileprivate init(_ data: borrowing Attribute) {
    self.init()
    var attributes = data.nested()
    while let a = attributes.next() {
      switch a.type {
      case BridgePortAttribute.hairpin: hairpin = a.uint8 == 1
      case BridgePortAttribute.isolated: isolated = a.uint8 == 1
      default: break
      }
    }
  }
}
