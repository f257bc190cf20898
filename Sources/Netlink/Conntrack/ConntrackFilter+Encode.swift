import NetTypes

extension ConntrackFilter {
  /// `CTA_FILTER_F_*` of the kernel's `net/netfilter/nf_internals.h`: the parts of a tuple that are compared.
  enum KernelFlag {
    static let source: UInt32 = 1 << 0
    static let destination: UInt32 = 1 << 1
    static let transport: UInt32 = 1 << 3
    static let sourcePort: UInt32 = 1 << 4
    static let destinationPort: UInt32 = 1 << 5
  }

  /// Writes a request for the entries that are meant, as far as the kernel can tell: it compares whole addresses and
  /// single ports only, and old kernels skip what they do not know. So the answers are filtered again.
  func encodeRequest(into m: inout MessageWriter) {
    let family = self.family ?? original.family ?? reply.family
    m.header(Netfilter.header(family: family?.number ?? FamilyNumber.any))
    if let mark {
      m.big(ConntrackAttribute.mark, mark & markMask)
      m.big(ConntrackAttribute.markMask, markMask)
    }
    let mask = status.union(excludedStatus)
    if !mask.isEmpty {
      m.big(ConntrackAttribute.status, status.rawValue)
      m.big(ConntrackAttribute.statusMask, mask.rawValue)
    }
    if let zone { m.big(ConntrackAttribute.zone, zone) }
    guard let family else { return }
    let originalFlags = original.flags(family, transport)
    let replyFlags = reply.flags(family, transport)
    guard originalFlags | replyFlags != 0 else { return }
    m.nest(ConntrackAttribute.filter) {
      $0.attribute(ConntrackAttribute.Filter.original, originalFlags)
      $0.attribute(ConntrackAttribute.Filter.reply, replyFlags)
    }
    original.encode(ConntrackAttribute.original, originalFlags, family, transport, into: &m)
    reply.encode(ConntrackAttribute.reply, replyFlags, family, transport, into: &m)
  }
}

extension ConntrackFilter.Direction {
  /// The family that an address asks for.
  fileprivate var family: AddressFamily? { (source ?? destination)?.family }

  /// What the kernel can compare.
  fileprivate func flags(_ family: AddressFamily, _ transport: UInt8?) -> UInt32 {
    typealias Flag = ConntrackFilter.KernelFlag
    var flags: UInt32 = 0
    if Self.host(source, family) != nil { flags |= Flag.source }
    if Self.host(destination, family) != nil { flags |= Flag.destination }
    guard let transport else { return flags }
    flags |= Flag.transport
    // Of other protocols it compares no ports, or takes none.
    if [TransportProtocol.tcp, TransportProtocol.udp].contains(transport) {
      if Self.single(sourcePorts) != nil { flags |= Flag.sourcePort }
      if Self.single(destinationPorts) != nil { flags |= Flag.destinationPort }
    }
    return flags
  }

  /// Writes the values that `flags` names as attribute `type`.
  fileprivate func encode(
    _ type: UInt16, _ flags: UInt32, _ family: AddressFamily, _ transport: UInt8?, into m: inout MessageWriter
  ) {
    typealias Field = ConntrackAttribute
    guard flags != 0 else { return }
    m.nest(type) {
      $0.nest(Field.Tuple.addresses) {
        if let source = Self.host(source, family) { $0.attribute(Field.Address.ipv4Source, source) }
        if let target = Self.host(destination, family) { $0.attribute(Field.Address.ipv4Destination, target) }
      }
      guard let transport else { return }
      $0.nest(Field.Tuple.transport) {
        $0.attribute(Field.Transport.number, transport)
        if let port = Self.single(sourcePorts) { $0.big(Field.Transport.sourcePort, port) }
        if let port = Self.single(destinationPorts) { $0.big(Field.Transport.destinationPort, port) }
      }
    }
  }

  /// The address, if the kernel can compare it: a whole one, and of IPv4. Asked about one of IPv6 it sends what does not
  /// match (`ctnetlink_filter_match_tuple` takes the result of `ipv6_addr_cmp` for its opposite; seen in 6.18).
  private static func host(_ prefix: IPPrefix?, _ family: AddressFamily) -> IPAddress? {
    guard let prefix, family == .ipv4, prefix.family == .ipv4, prefix.length == 32 else { return nil }
    return prefix.address
  }

  private static func single(_ ports: Set<UInt16>?) -> UInt16? { ports?.count == 1 ? ports?.first : nil }
}
