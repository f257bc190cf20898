import CLinux
import NetTypes

/// `IFA_*` (`linux/if_addr.h`).
enum AddressAttribute {
  static let address: UInt16 = 1
  static let local: UInt16 = 2
  static let broadcast: UInt16 = 4
  static let flags: UInt16 = 8

  /// `IFA_F_NODAD`
  static let noDAD: UInt8 = 0x02
}

extension InterfaceAddress {
  /// From `RTM_NEWADDR` or `RTM_DELADDR`; nil for other families than IPv4 and IPv6.
  init?(_ message: borrowing Message) {
    guard let header = message.header(as: ifaddrmsg.self), let device = Int32(exactly: header.ifa_index) else {
      return nil
    }
    var local: IPAddress?
    var address: IPAddress?
    var broadcast: IPAddress?
    var flags = UInt32(header.ifa_flags)
    var attributes = message.attributes(after: MemoryLayout<ifaddrmsg>.size)
    while let a = attributes.next() {
      switch a.type {
      case AddressAttribute.local: local = a.address
      case AddressAttribute.address: address = a.address
      case AddressAttribute.broadcast: broadcast = a.address
      case AddressAttribute.flags: flags = a.uint32 ?? flags
      default: break
      }
    }
    // On point-to-point links IFA_ADDRESS is the other side.
    guard let own = local ?? address, own.family.number == header.ifa_family,
      let prefix = IPPrefix(own, length: Int(header.ifa_prefixlen))
    else { return nil }
    self.init(device: device, prefix: prefix, broadcast: broadcast, scope: header.ifa_scope, flags: flags)
  }

  /// The body of a request. Flags are the kernel's, apart from "no duplicate address detection".
  func encode(into writer: inout MessageWriter, noDAD: Bool) {
    writer.header(
      ifaddrmsg(
        ifa_family: prefix.family.number, ifa_prefixlen: UInt8(truncatingIfNeeded: prefix.length),
        ifa_flags: noDAD ? AddressAttribute.noDAD : 0, ifa_scope: scope,
        ifa_index: UInt32(bitPattern: device)))
    writer.attribute(AddressAttribute.local, prefix.address)
    if let broadcast { writer.attribute(AddressAttribute.broadcast, broadcast) }
    writer.attribute(AddressAttribute.address, prefix.address)
  }
}
