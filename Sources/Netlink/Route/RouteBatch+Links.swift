import CLinux
import NetTypes

extension RouteBatch {
  /// Creates a virtual link; one of that name must not exist. Used are name, kind, MAC, MTU (0 = default), bridge
  /// (`master`), lower device (`parent`, not for vxlan, whose options name it) and index (0 = the kernel's choice).
  /// - Parameters:
  ///   - up: bring it up at once.
  ///   - peer: the other end of a veth pair; nil = the kernel names it.
  public mutating func createLink(_ link: Link, up: Bool = false, peer: VethPeer? = nil) {
    add(RouteMessage.newLink, MessageFlags.create | MessageFlags.exclusive) {
      link.encode(into: &$0, up: up, peer: peer)
    }
  }

  /// Changes a link. What is nil stays as it is.
  /// - Parameters:
  ///   - mtu: bytes.
  ///   - master: index of the bridge to join; 0 = leave.
  ///   - namespace: descriptor of the network namespace to move to.
  public mutating func setLink(
    index: Int32, up: Bool? = nil, mtu: UInt32? = nil, mac: MACAddress? = nil, master: Int32? = nil,
    name: String? = nil, promiscuous: Bool? = nil, namespace: Int32? = nil
  ) {
    var flags: UInt32 = 0
    var change: UInt32 = 0
    func choose(_ flag: UInt32, _ value: Bool?) {
      guard let value else { return }
      change |= flag
      if value { flags |= flag }
    }
    choose(LinkFlag.up, up)
    choose(LinkFlag.promiscuous, promiscuous)
    let header = linkHeader(index: index, flags: flags, change: change)
    add(RouteMessage.newLink) {
      $0.header(header)
      if let namespace { $0.attribute(LinkAttribute.namespaceDescriptor, namespace) }
      if let name { $0.attribute(LinkAttribute.name, name) }
      if let mac { $0.attribute(LinkAttribute.address, mac) }
      if let mtu { $0.attribute(LinkAttribute.mtu, mtu) }
      if let master { $0.attribute(LinkAttribute.master, master) }
    }
  }

  /// Deletes a virtual link.
  public mutating func deleteLink(index: Int32) {
    add(RouteMessage.deleteLink) { $0.header(linkHeader(index: index)) }
  }

  /// Sets all options of a bridge port.
  public mutating func setBridgePort(index: Int32, _ port: BridgePort) {
    add(RouteMessage.setLink) {
      $0.header(linkHeader(family: FamilyNumber.bridge, index: index))
      $0.nested(LinkAttribute.protocolInfo | LinkAttribute.nestedFlag) {
        $0.attribute(BridgePortAttribute.hairpin, UInt8(port.hairpin ? 1 : 0))
        $0.attribute(BridgePortAttribute.isolated, UInt8(port.isolated ? 1 : 0))
      }
    }
  }

  /// Adds VLANs to a bridge port, or to the bridge device itself. A range must not be the PVID.
  public mutating func addBridgeVLANs(index: Int32, _ vlans: [BridgeVLAN], onBridge: Bool = false) {
    changeVLANs(RouteMessage.setLink, index, vlans, onBridge)
  }

  /// Removes VLANs from a bridge port, or from the bridge device itself.
  public mutating func removeBridgeVLANs(index: Int32, _ vlans: [BridgeVLAN], onBridge: Bool = false) {
    changeVLANs(RouteMessage.deleteLink, index, vlans, onBridge)
  }

  private mutating func changeVLANs(_ type: UInt16, _ index: Int32, _ vlans: [BridgeVLAN], _ onBridge: Bool) {
    add(type) {
      $0.header(linkHeader(family: FamilyNumber.bridge, index: index))
      $0.nested(LinkAttribute.familyInfo) {
        if onBridge { $0.attribute(BridgeVLANAttribute.flags, BridgeVLANAttribute.selfFlag) }
        for vlan in vlans { vlan.encode(into: &$0) }
      }
    }
  }
}
