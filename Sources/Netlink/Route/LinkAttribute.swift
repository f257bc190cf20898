/// `IFLA_*` (`linux/if_link.h`).
enum LinkAttribute {
  static let address: UInt16 = 1
  static let name: UInt16 = 3
  static let mtu: UInt16 = 4
  static let link: UInt16 = 5
  static let master: UInt16 = 10
  static let protocolInfo: UInt16 = 12
  static let operationalState: UInt16 = 16
  static let info: UInt16 = 18
  static let familyInfo: UInt16 = 26
  static let namespaceDescriptor: UInt16 = 28
  static let extendedMask: UInt16 = 29
  static let linkNamespaceID: UInt16 = 37

  /// `NLA_F_NESTED`, which strict kernels want on a bridge port's options.
  static let nestedFlag: UInt16 = 0x8000
  /// `RTEXT_FILTER_SKIP_STATS`
  static let skipStatistics: UInt32 = 1 << 3
  /// `RTEXT_FILTER_BRVLAN_COMPRESSED`
  static let compressedVLANs: UInt32 = 1 << 2
}

/// `IFLA_INFO_*`
enum LinkInfoAttribute {
  static let kind: UInt16 = 1
  static let data: UInt16 = 2
  static let portKind: UInt16 = 4
  static let portData: UInt16 = 5
}

/// `IFLA_VXLAN_*`
enum VXLANAttribute {
  static let id: UInt16 = 1
  static let group: UInt16 = 2
  static let link: UInt16 = 3
  static let local: UInt16 = 4
  static let learning: UInt16 = 7
  static let l2miss: UInt16 = 13
  static let port: UInt16 = 15
  static let group6: UInt16 = 16
  static let local6: UInt16 = 17
  static let gbp: UInt16 = 23
}

/// `IFLA_BR_*`
enum BridgeAttribute {
  static let vlanFiltering: UInt16 = 7
}

/// `VETH_INFO_*` (`linux/veth.h`)
enum VethAttribute {
  static let peer: UInt16 = 1
}

/// `IFLA_BRPORT_*`
enum BridgePortAttribute {
  static let hairpin: UInt16 = 4
  static let isolated: UInt16 = 33
}

/// `IFLA_BRIDGE_*` and flags (`linux/if_bridge.h`)
enum BridgeVLANAttribute {
  static let flags: UInt16 = 0
  static let info: UInt16 = 2

  /// `BRIDGE_FLAGS_SELF`: the bridge device itself.
  static let selfFlag: UInt16 = 2
  static let pvid: UInt16 = 1 << 1
  static let untagged: UInt16 = 1 << 2
  static let rangeBegin: UInt16 = 1 << 3
  static let rangeEnd: UInt16 = 1 << 4
}
