import NetTypes

/// One attribute of a message. Accessors return nil when the payload is too short for what is asked.
struct Attribute: ~Escapable {
  /// Without the flags for nesting and byte order.
  let type: UInt16
  let payload: RawSpan

  @_lifetime(copy payload)
  init(type: UInt16, payload: RawSpan) {
    self.type = type
    self.payload = payload
  }

  @inline(__always) var uint8: UInt8? { payload.load() }
  @inline(__always) var uint16: UInt16? { payload.load() }
  @inline(__always) var uint32: UInt32? { payload.load() }
  @inline(__always) var int32: Int32? { payload.load() }

  /// An IPv4 or IPv6 address, by its length.
  @inline(__always)
  var address: IPAddress? {
    switch payload.byteCount {
    case 4: payload.load(as: UInt32.self).map { IPAddress(.ipv4, UInt128(UInt32(bigEndian: $0))) }
    case 16: payload.load(as: UInt128.self).map { IPAddress(.ipv6, UInt128(bigEndian: $0)) }
    default: nil
    }
  }

  /// A link-layer address of six bytes.
  @inline(__always)
  var mac: MACAddress? {
    guard payload.byteCount == 6, let high = payload.load(0, as: UInt32.self),
      let low = payload.load(4, as: UInt16.self)
    else { return nil }
    return MACAddress(UInt64(UInt32(bigEndian: high)) << 16 | UInt64(UInt16(bigEndian: low)))
  }

  /// Text up to the first zero; invalid UTF-8 is replaced.
  var string: String { payload.text }

  /// The payload read as attributes, behind a fixed header of `size` bytes.
  @inline(__always) @_lifetime(copy self)
  func nested(after size: Int = 0) -> AttributeReader { AttributeReader(payload.from((size &+ 3) & ~3)) }
}

/// Walks attributes. Unknown types are handed out like any other; a length that does not fit ends the walk.
struct AttributeReader: ~Escapable {
  private let bytes: RawSpan
  private var position = 0

  @inline(__always) @_lifetime(copy bytes)
  init(_ bytes: RawSpan) { self.bytes = bytes }

  /// Where the attribute that `next` returns next starts.
  var offset: Int { position }

  @inline(__always) @_lifetime(copy self) @_lifetime(self: copy self)
  mutating func next() -> Attribute? {
    guard let length = bytes.load(position, as: UInt16.self), let type = bytes.load(position &+ 2, as: UInt16.self),
      length >= 4, Int(length) <= bytes.byteCount &- position
    else {
      position = bytes.byteCount
      return nil
    }
    let end = position &+ Int(length)
    let payload = bytes.extracting(position &+ 4..<end)
    position = min((end &+ 3) & ~3, bytes.byteCount)
    return Attribute(type: type & 0x3fff, payload: payload)
  }
}
