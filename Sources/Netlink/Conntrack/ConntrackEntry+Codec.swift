import NetTypes

extension ConntrackEntry {
  /// Reads `IPCTNL_MSG_CT_NEW` or `IPCTNL_MSG_CT_DELETE`; nil for other messages and without both directions. Unknown
  /// attributes are skipped.
  init?(_ message: borrowing Message) {
    guard message.type == ConntrackMessage.new || message.type == ConntrackMessage.delete else { return nil }
    // Replaced below: there is no entry without both.
    let nowhere = ConntrackTuple(source: IPAddress(.ipv4, 0), destination: IPAddress(.ipv4, 0), transport: 0)
    self.init(original: nowhere, reply: nowhere)
    var hasOriginal = false
    var hasReply = false
    var attributes = message.attributes(after: Netfilter.headerSize)
    while let a = attributes.next() {
      switch a.type {
      case ConntrackAttribute.original:
        guard let tuple = ConntrackTuple(a.nested()) else { return nil }
        original = tuple
        hasOriginal = true
      case ConntrackAttribute.reply:
        guard let tuple = ConntrackTuple(a.nested()) else { return nil }
        reply = tuple
        hasReply = true
      default: read(a)
      }
    }
    guard hasOriginal, hasReply, original.family == reply.family else { return nil }
  }

  /// Reads what is not a tuple.
  @inline(__always)
  private mutating func read(_ a: borrowing Attribute) {
    switch a.type {
    case ConntrackAttribute.status: status = ConntrackStatus(rawValue: a.bigUInt32 ?? 0)
    case ConntrackAttribute.protocolInfo: state = ConntrackState(a.nested())
    case ConntrackAttribute.timeout: timeout = a.bigUInt32
    case ConntrackAttribute.mark: mark = a.bigUInt32 ?? 0
    case ConntrackAttribute.originalCounters: originalCounters = Counters(a.nested())
    case ConntrackAttribute.replyCounters: replyCounters = Counters(a.nested())
    case ConntrackAttribute.use: use = a.bigUInt32
    case ConntrackAttribute.id: id = a.bigUInt32 ?? 0
    case ConntrackAttribute.zone: zone = a.bigUInt16 ?? 0
    case ConntrackAttribute.timestamp:
      var times = a.nested()
      while let t = times.next() {
        if t.type == 1 { start = t.bigUInt64 } else if t.type == 2 { stop = t.bigUInt64 }
      }
    default: break
    }
  }

  /// Writes what names the entry in a request to delete it. The original direction must never be missing: the kernel
  /// takes a request without one to mean the whole table.
  func encodeKey(into m: inout MessageWriter) {
    m.header(Netfilter.header(family: family.number))
    original.encode(ConntrackAttribute.original, into: &m)
    if zone != 0 { m.big(ConntrackAttribute.zone, zone) }
    if id != 0 { m.big(ConntrackAttribute.id, id) }
  }
}

extension ConntrackEntry.Counters {
  /// Reads `CTA_COUNTERS_*`; nil when one of the two is missing.
  init?(_ fields: consuming AttributeReader) {
    var fields = fields
    var packets: UInt64?
    var bytes: UInt64?
    while let f = fields.next() {
      if f.type == 1 { packets = f.bigUInt64 } else if f.type == 2 { bytes = f.bigUInt64 }
    }
    guard let packets, let bytes else { return nil }
    self.init(packets: packets, bytes: bytes)
  }
}

extension ConntrackState {
  /// Reads `CTA_PROTOINFO`; nil for protocols that are not known.
  init?(_ protocols: consuming AttributeReader) {
    var protocols = protocols
    while let p = protocols.next() {
      let transport: Transport
      switch p.type {
      case ConntrackAttribute.ProtocolInfo.tcp: transport = .tcp
      case ConntrackAttribute.ProtocolInfo.dccp: transport = .dccp
      case ConntrackAttribute.ProtocolInfo.sctp: transport = .sctp
      default: continue
      }
      var fields = p.nested()
      while let f = fields.next() {
        if f.type == 1, let number = f.uint8 {
          self.init(transport, number)
          return
        }
      }
    }
    return nil
  }
}
