import CLinux
import NetTypes

/// `NDA_*`, `NTF_*` (`linux/neighbour.h`).
enum NeighbourAttribute {
  static let destination: UInt16 = 1
  static let linkAddress: UInt16 = 2
  static let interface: UInt16 = 8

  /// `NTF_USE`: resolve it now.
  static let useFlag: UInt8 = 0x01
  /// `NTF_SELF`: the device's own table, not the bridge's.
  static let selfFlag: UInt8 = 0x02
}

/// The fixed header of neighbour and FDB messages.
func neighbourHeader(family: UInt8, device: Int32, state: UInt16 = 0, flags: UInt8 = 0) -> ndmsg {
  ndmsg(
    ndm_family: family, ndm_pad1: 0, ndm_pad2: 0, ndm_ifindex: device, ndm_state: state, ndm_flags: flags,
    ndm_type: 0)
}

extension Neighbour {
  /// From `RTM_NEWNEIGH` or `RTM_DELNEIGH`; nil for FDB entries and for other families than IPv4 and IPv6.
  init?(_ message: borrowing Message) {
    guard let header = message.header(as: ndmsg.self) else { return nil }
    var address: IPAddress?
    var mac: MACAddress?
    var attributes = message.attributes(after: MemoryLayout<ndmsg>.size)
    while let a = attributes.next() {
      switch a.type {
      case NeighbourAttribute.destination: address = a.address
      case NeighbourAttribute.linkAddress: mac = a.mac
      default: break
      }
    }
    guard let address, address.family.number == header.ndm_family else { return nil }
    self.init(device: header.ndm_ifindex, address: address, mac: mac, state: header.ndm_state)
  }

  /// The body of a request.
  func encode(into writer: inout MessageWriter) {
    writer.header(neighbourHeader(family: address.family.number, device: device, state: state))
    writer.attribute(NeighbourAttribute.destination, address)
    if let mac { writer.attribute(NeighbourAttribute.linkAddress, mac) }
  }
}

extension FDBEntry {
  /// From `RTM_NEWNEIGH` or `RTM_DELNEIGH` of family `AF_BRIDGE`; nil for what a bridge learnt, which is not an entry
  /// of the device itself.
  init?(_ message: borrowing Message) {
    guard let header = message.header(as: ndmsg.self), header.ndm_family == FamilyNumber.bridge,
      header.ndm_flags & NeighbourAttribute.selfFlag != 0
    else { return nil }
    var remote: IPAddress?
    var mac: MACAddress?
    var attributes = message.attributes(after: MemoryLayout<ndmsg>.size)
    while let a = attributes.next() {
      switch a.type {
      case NeighbourAttribute.destination: remote = a.address
      case NeighbourAttribute.linkAddress: mac = a.mac
      default: break
      }
    }
    guard let mac else { return nil }
    self.init(device: header.ndm_ifindex, mac: mac, remote: remote, state: header.ndm_state)
  }

  /// The body of a request.
  func encode(into writer: inout MessageWriter) {
    writer.header(
      neighbourHeader(
        family: FamilyNumber.bridge, device: device, state: state, flags: NeighbourAttribute.selfFlag))
    writer.attribute(NeighbourAttribute.linkAddress, mac)
    if let remote { writer.attribute(NeighbourAttribute.destination, remote) }
  }

  /// The kernel replaces the remotes of unicast addresses only; the all-zero address and groups have many.
  var isReplaceable: Bool { mac.value != 0 && mac.value >> 40 & 1 == 0 }
}
