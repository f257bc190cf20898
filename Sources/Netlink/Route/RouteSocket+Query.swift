import CLinux
import Glibc
import NetTypes
import Syscalls

// MARK: Links

extension RouteSocket {
  /// All links.
  public mutating func links() throws(NetlinkError) -> [Link] {
    try socket.collect("list links", RouteMessage.getLink, flags: MessageFlags.dump) {
      $0.header(linkHeader())
      $0.attribute(LinkAttribute.extendedMask, LinkAttribute.skipStatistics)
    } decode: {
      $0.type == RouteMessage.newLink ? Link($0) : nil
    }
  }

  /// The link of a name; nil = no such device.
  public mutating func link(named name: String) throws(NetlinkError) -> Link? {
    guard (1...15).contains(name.utf8.count) else { return nil }
    return try link(name) {
      $0.header(linkHeader())
      $0.attribute(LinkAttribute.name, name)
    }
  }

  /// The link of an index; nil = no such device.
  public mutating func link(index: Int32) throws(NetlinkError) -> Link? {
    guard index > 0 else { return nil }
    return try link("\(index)") { $0.header(linkHeader(index: index)) }
  }

  private mutating func link(
    _ object: @autoclosure () -> String, _ request: (inout MessageWriter) -> Void
  ) throws(NetlinkError) -> Link? {
    try Self.absent(.noDevice) { () throws(NetlinkError) in
      try socket.collect("read link", on: object(), RouteMessage.getLink, flags: 0) {
        request(&$0)
        $0.attribute(LinkAttribute.extendedMask, LinkAttribute.skipStatistics)
      } decode: {
        $0.type == RouteMessage.newLink ? Link($0) : nil
      }
    }.first
  }

  /// The VLANs of a bridge port or of a bridge itself.
  public mutating func bridgeVLANs(device: Int32) throws(NetlinkError) -> [BridgeVLAN] {
    try socket.collect("list VLANs of interface", on: "\(device)", RouteMessage.getLink, flags: MessageFlags.dump) {
      $0.header(linkHeader(family: FamilyNumber.bridge))
      $0.attribute(LinkAttribute.extendedMask, LinkAttribute.compressedVLANs)
    } decode: {
      $0.type == RouteMessage.newLink && $0.header(as: ifinfomsg.self)?.ifi_index == device
        ? BridgeVLAN.decode($0) : nil
    }.flatMap { $0 }
  }

  /// An empty list where the kernel says that the thing asked about does not exist.
  private static func absent<T>(
    _ codes: Errno..., body: () throws(NetlinkError) -> [T]
  ) throws(NetlinkError) -> [T] {
    do {
      return try body()
    } catch {
      if codes.contains(error.errno) { return [] }
      throw error
    }
  }
}

// MARK: Addresses, neighbours, FDB

extension RouteSocket {
  /// Interface addresses, of all families and interfaces unless told otherwise. None for an interface that is gone.
  public mutating func addresses(
    _ family: AddressFamily? = nil, device: Int32 = 0
  ) throws(NetlinkError) -> [InterfaceAddress] {
    try Self.absent(.noDevice) { () throws(NetlinkError) in
      try socket.collect("list addresses", RouteMessage.getAddress, flags: MessageFlags.dump) {
        $0.header(
          ifaddrmsg(
            ifa_family: family?.number ?? FamilyNumber.any, ifa_prefixlen: 0, ifa_flags: 0, ifa_scope: 0,
            ifa_index: UInt32(bitPattern: device)))
      } decode: {
        guard $0.type == RouteMessage.newAddress, let a = InterfaceAddress($0) else { return nil }
        return (device == 0 || a.device == device) && (family == nil || a.prefix.family == family) ? a : nil
      }
    }
  }

  /// The neighbour entries of an interface (0 = of all).
  public mutating func neighbours(_ family: AddressFamily, device: Int32) throws(NetlinkError) -> [Neighbour] {
    try Self.absent(.noDevice) { () throws(NetlinkError) in
      try socket.collect("list neighbours", RouteMessage.getNeighbour, flags: MessageFlags.dump) {
        $0.header(neighbourHeader(family: family.number, device: 0))
        if device != 0 { $0.attribute(NeighbourAttribute.interface, device) }
      } decode: {
        guard $0.type == RouteMessage.newNeighbour, let n = Neighbour($0) else { return nil }
        return (device == 0 || n.device == device) && n.address.family == family ? n : nil
      }
    }
  }

  /// The entries of a VXLAN device's own forwarding database.
  public mutating func fdb(device: Int32) throws(NetlinkError) -> [FDBEntry] {
    try Self.absent(.noDevice) { () throws(NetlinkError) in
      try socket.collect("list FDB of interface", on: "\(device)", RouteMessage.getNeighbour, flags: MessageFlags.dump)
      {
        $0.header(neighbourHeader(family: FamilyNumber.bridge, device: device))
      } decode: {
        guard $0.type == RouteMessage.newNeighbour, let e = FDBEntry($0) else { return nil }
        return e.device == device ? e : nil
      }
    }
  }
}

// MARK: Routes

extension RouteSocket {
  /// The routes of a table.
  /// - Parameters:
  ///   - table: 254 is main, 0 means all tables. None for a table that does not exist.
  ///   - device: output interface; 0 = any. None for an interface that is gone.
  public mutating func routes(
    _ family: AddressFamily, table: UInt32 = 254, device: Int32 = 0
  ) throws(NetlinkError) -> [Route] {
    try Self.absent(.noEntry, .noDevice) { () throws(NetlinkError) in
      try socket.collect("list routes", on: "of table \(table)", RouteMessage.getRoute, flags: MessageFlags.dump) {
        $0.header(Self.routeHeader(family))
        if table != 0 { $0.attribute(RouteAttribute.table, table) }
        if device != 0 { $0.attribute(RouteAttribute.device, device) }
      } decode: {
        guard $0.type == RouteMessage.newRoute, let r = Route($0) else { return nil }
        return (table == 0 || r.table == table) && (device == 0 || r.device == device || r.extraHops > 0)
          && r.destination.family == family ? r : nil
      }
    }
  }

  /// The route the kernel takes to an address; nil = unreachable.
  public mutating func route(to destination: IPAddress) throws(NetlinkError) -> Route? {
    let unreachable = [ENETUNREACH, EHOSTUNREACH, EACCES, EINVAL].map { Errno(rawValue: $0) }
    let family = destination.family
    do {
      let found = try socket.collect("look up route to", on: "\(destination)", RouteMessage.getRoute, flags: 0) {
        // IPv6 refuses the flag and always tells the table.
        $0.header(
          Self.routeHeader(
            family, length: UInt8(family.bitWidth), flags: family == .ipv4 ? RouteFlag.lookupTable : 0))
        $0.attribute(RouteAttribute.destination, destination)
      } decode: {
        $0.type == RouteMessage.newRoute ? Route($0, includingCache: true) : nil
      }.first
      switch found?.kind {
      case .blackhole, .unreachable, .prohibit, .throwing: return nil
      default: return found
      }
    } catch {
      // A black hole answers EINVAL without a text, a malformed request with one.
      if unreachable.contains(error.errno), error.message == nil { return nil }
      throw error
    }
  }

  private static func routeHeader(_ family: AddressFamily, length: UInt8 = 0, flags: UInt32 = 0) -> rtmsg {
    rtmsg(
      rtm_family: family.number, rtm_dst_len: length, rtm_src_len: 0, rtm_tos: 0, rtm_table: 0, rtm_protocol: 0,
      rtm_scope: 0, rtm_type: 0, rtm_flags: flags)
  }

  /// All next-hop objects; groups have neither gateway nor device. `EOPNOTSUPP` on kernels before 5.3.
  public mutating func nexthops() throws(NetlinkError) -> [Nexthop] {
    try socket.collect("list next hops", RouteMessage.getNexthop, flags: MessageFlags.dump) {
      $0.header(nhmsg())
    } decode: {
      $0.type == RouteMessage.newNexthop ? Nexthop($0) : nil
    }
  }
}

// MARK: Namespaces

extension RouteSocket {
  /// The id this socket's namespace has for another one, as `parentNamespace` of a link tells it; nil = none.
  public mutating func namespaceID(of namespace: borrowing NetworkNamespace) throws(NetlinkError) -> Int32? {
    let descriptor = namespace.descriptor
    return try socket.collect("read id of namespace", RouteMessage.getNamespaceID, flags: 0) {
      $0.header(FamilyNumber.any)
      $0.attribute(3, descriptor)  // NETNSA_FD
    } decode: { (message: borrowing Message) -> Int32? in
      guard message.type == RouteMessage.newNamespaceID else { return nil }
      var attributes = message.attributes(after: 1)
      while let a = attributes.next() {
        // NETNSA_NSID; -1 is "not assigned".
        if a.type == 1, let id = a.int32, id >= 0 { return id }
      }
      return nil
    }.first
  }
}
