import CLinux
import NetTypes

/// `NHA_*` (`linux/nexthop.h`).
enum NexthopAttribute {
  static let id: UInt16 = 1
  static let device: UInt16 = 5
  static let gateway: UInt16 = 6
}

extension Nexthop {
  /// From `RTM_NEWNEXTHOP` or `RTM_DELNEXTHOP`. A group has neither gateway nor device.
  init?(_ message: borrowing Message) {
    guard let header = message.header(as: nhmsg.self) else { return nil }
    self.init(
      id: 0, gateway: nil, device: 0, isOnlink: header.nh_flags & RouteFlag.onlink != 0, origin: header.nh_protocol)
    var attributes = message.attributes(after: MemoryLayout<nhmsg>.size)
    while let a = attributes.next() {
      switch a.type {
      case NexthopAttribute.id: id = a.uint32 ?? 0
      case NexthopAttribute.device: device = a.int32 ?? 0
      case NexthopAttribute.gateway: gateway = a.address
      default: break
      }
    }
    if id == 0 { return nil }
  }

  /// The body of a request. Without a gateway the next hop is one for IPv4 routes.
  func encode(into writer: inout MessageWriter) {
    writer.header(
      nhmsg(
        nh_family: gateway?.family.number ?? FamilyNumber.ipv4, nh_scope: 0, nh_protocol: origin, resvd: 0,
        nh_flags: isOnlink ? RouteFlag.onlink : 0))
    writer.attribute(NexthopAttribute.id, id)
    if let gateway { writer.attribute(NexthopAttribute.gateway, gateway) }
    writer.attribute(NexthopAttribute.device, device)
  }
}
