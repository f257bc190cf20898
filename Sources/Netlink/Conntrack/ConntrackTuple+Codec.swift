import NetTypes

extension ConntrackTuple {
  /// Reads `CTA_TUPLE_ORIG` or `CTA_TUPLE_REPLY`; nil without two addresses of one family and a protocol.
  init?(_ tuple: consuming AttributeReader) {
    var tuple = tuple
    var source: IPAddress?
    var destination: IPAddress?
    var transport: (number: UInt8, selector: Selector)?
    var zone: UInt16 = 0
    while let part = tuple.next() {
      switch part.type {
      case ConntrackAttribute.Tuple.addresses:
        var addresses = part.nested()
        while let a = addresses.next() {
          switch a.type {
          case ConntrackAttribute.Address.ipv4Source, ConntrackAttribute.Address.ipv6Source: source = a.address
          case ConntrackAttribute.Address.ipv4Destination, ConntrackAttribute.Address.ipv6Destination:
            destination = a.address
          default: break
          }
        }
      case ConntrackAttribute.Tuple.transport: transport = Self.transport(part.nested())
      case ConntrackAttribute.Tuple.zone: zone = part.bigUInt16 ?? 0
      default: break
      }
    }
    guard let source, let destination, source.family == destination.family, let transport else { return nil }
    self.init(
      source: source, destination: destination, transport: transport.number, selector: transport.selector, zone: zone)
  }

  /// Reads `CTA_TUPLE_PROTO`.
  @inline(__always)
  private static func transport(_ fields: consuming AttributeReader) -> (number: UInt8, selector: Selector)? {
    var fields = fields
    var number: UInt8?
    var ports: (source: UInt16?, destination: UInt16?)
    var icmp: (type: UInt8?, code: UInt8?, id: UInt16?)
    while let f = fields.next() {
      switch f.type {
      case ConntrackAttribute.Transport.number: number = f.uint8
      case ConntrackAttribute.Transport.sourcePort: ports.source = f.bigUInt16
      case ConntrackAttribute.Transport.destinationPort: ports.destination = f.bigUInt16
      case ConntrackAttribute.Transport.icmpID, ConntrackAttribute.Transport.icmpv6ID: icmp.id = f.bigUInt16
      case ConntrackAttribute.Transport.icmpType, ConntrackAttribute.Transport.icmpv6Type: icmp.type = f.uint8
      case ConntrackAttribute.Transport.icmpCode, ConntrackAttribute.Transport.icmpv6Code: icmp.code = f.uint8
      default: break
      }
    }
    guard let number else { return nil }
    if let source = ports.source, let destination = ports.destination {
      return (number, .ports(source: source, destination: destination))
    }
    if let type = icmp.type, let code = icmp.code, let id = icmp.id {
      return (number, .icmp(type: type, code: code, id: id))
    }
    return (number, .none)
  }

  /// Writes it as attribute `type`.
  func encode(_ type: UInt16, into m: inout MessageWriter) {
    m.nest(type) {
      $0.nest(ConntrackAttribute.Tuple.addresses) {
        $0.attribute(ConntrackAttribute.Address.source(family), source)
        $0.attribute(ConntrackAttribute.Address.destination(family), destination)
      }
      $0.nest(ConntrackAttribute.Tuple.transport) {
        $0.attribute(ConntrackAttribute.Transport.number, transport)
        encodeSelector(into: &$0)
      }
      if zone != 0 { $0.big(ConntrackAttribute.Tuple.zone, zone) }
    }
  }

  private func encodeSelector(into m: inout MessageWriter) {
    typealias Field = ConntrackAttribute.Transport
    switch selector {
    case .none: break
    case .ports(let source, let destination):
      m.big(Field.sourcePort, source)
      m.big(Field.destinationPort, destination)
    case .icmp(let type, let code, let id):
      let isSix = transport == TransportProtocol.icmpv6
      m.big(isSix ? Field.icmpv6ID : Field.icmpID, id)
      m.attribute(isSix ? Field.icmpv6Type : Field.icmpType, type)
      m.attribute(isSix ? Field.icmpv6Code : Field.icmpCode, code)
    }
  }
}

extension ConntrackAttribute.Address {
  static func source(_ family: AddressFamily) -> UInt16 { family == .ipv4 ? ipv4Source : ipv6Source }
  static func destination(_ family: AddressFamily) -> UInt16 { family == .ipv4 ? ipv4Destination : ipv6Destination }
}
