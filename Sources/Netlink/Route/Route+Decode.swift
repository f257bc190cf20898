import CLinux
import NetTypes

extension Route {
  /// From `RTM_NEWROUTE` or `RTM_DELROUTE`; nil for other families than IPv4 and IPv6, and for cache entries unless
  /// asked for. With a next-hop object, `device` is where that leads; gateway and on-link flag are the object's.
  init?(_ message: borrowing Message, includingCache: Bool = false) {
    guard let header = message.header(as: rtmsg.self),
      includingCache || header.rtm_flags & RouteFlag.cloned == 0
    else { return nil }
    let family: AddressFamily
    switch header.rtm_family {
    case FamilyNumber.ipv4: family = .ipv4
    case FamilyNumber.ipv6: family = .ipv6
    default: return nil
    }
    self.init(
      destination: family.any, table: UInt32(header.rtm_table), origin: header.rtm_protocol,
      scope: header.rtm_scope, metric: 0, kind: Kind(number: header.rtm_type))
    readHopFlags(header.rtm_flags)
    var base = IPAddress(family, 0)
    var attributes = message.attributes(after: MemoryLayout<rtmsg>.size)
    while let a = attributes.next() {
      switch a.type {
      case RouteAttribute.destination: if let address = a.address { base = address }
      case RouteAttribute.priority: metric = a.uint32 ?? 0
      case RouteAttribute.preferredSource: source = a.address
      case RouteAttribute.table: table = a.uint32 ?? table
      case RouteAttribute.metrics: readMetrics(a)
      case RouteAttribute.multipath: readHops(a)
      case RouteAttribute.nexthop: nexthop = a.uint32 ?? 0
      default: readHop(a)
      }
    }
    guard base.family == family, let prefix = IPPrefix(base, length: Int(header.rtm_dst_len)) else { return nil }
    destination = prefix
    if nexthop != 0 {
      gateway = nil
      isOnlink = false
    }
  }

  private mutating func readHopFlags(_ flags: UInt32) {
    isOnlink = flags & RouteFlag.onlink != 0
    isDead = flags & (RouteFlag.dead | RouteFlag.linkDown) != 0
  }

  /// The attributes a route shares with each hop of a multipath route.
  private mutating func readHop(_ a: borrowing Attribute) {
    switch a.type {
    case RouteAttribute.device: device = a.int32 ?? 0
    case RouteAttribute.gateway: gateway = a.address
    case RouteAttribute.via: gateway = Attribute(type: a.type, payload: a.payload.from(2)).address
    default: break
    }
  }

  private mutating func readMetrics(_ metrics: borrowing Attribute) {
    var attributes = metrics.nested()
    while let a = attributes.next() {
      if a.type == RouteAttribute.mtu { mtu = a.uint32 ?? 0 }
    }
  }

  /// `RTA_MULTIPATH`: `struct rtnexthop` with attributes, repeated. The first hop fills gateway and device.
  private mutating func readHops(_ list: borrowing Attribute) {
    var offset = 0
    var count = 0
    let size = MemoryLayout<rtnexthop>.size
    while let hop = list.payload.load(offset, as: rtnexthop.self) {
      let length = Int(hop.rtnh_len)
      guard length >= size, length <= list.payload.byteCount - offset else { break }
      if count == 0 {
        device = hop.rtnh_ifindex
        readHopFlags(UInt32(hop.rtnh_flags))
        var attributes = AttributeReader(list.payload.extracting(offset + size..<offset + length))
        while let a = attributes.next() { readHop(a) }
      }
      count += 1
      offset += (length + 3) & ~3
    }
    extraHops = UInt16(clamping: max(count - 1, 0))
  }
}
