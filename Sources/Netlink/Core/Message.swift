import CLinux

/// `NLM_F_*` (`linux/netlink.h`).
enum MessageFlags {
  static let request: UInt16 = 0x001
  static let acknowledge: UInt16 = 0x004
  static let dumpInterrupted: UInt16 = 0x010
  static let dump: UInt16 = 0x300
  static let replace: UInt16 = 0x100
  static let exclusive: UInt16 = 0x200
  static let create: UInt16 = 0x400
  static let append: UInt16 = 0x800
  /// On an acknowledgement: the request is quoted by its header only.
  static let capped: UInt16 = 0x100
  /// On an acknowledgement: attributes follow the quoted request.
  static let acknowledgementAttributes: UInt16 = 0x200
}

/// `NLMSG_*`: message types below 16 control the conversation.
enum ControlType {
  static let noop: UInt16 = 1
  static let error: UInt16 = 2
  static let done: UInt16 = 3
  static let overrun: UInt16 = 4
}

/// One received message: its header and the bytes behind it.
struct Message: ~Escapable {
  let type: UInt16
  let flags: UInt16
  let sequence: UInt32
  let payload: RawSpan

  @_lifetime(copy payload)
  init(type: UInt16, flags: UInt16, sequence: UInt32, payload: RawSpan) {
    self.type = type
    self.flags = flags
    self.sequence = sequence
    self.payload = payload
  }

  /// The fixed header of the message family; nil when the message is too short.
  @inline(__always)
  func header<T: BitwiseCopyable>(as type: T.Type) -> T? { payload.load(as: type) }

  /// The attributes behind a fixed header of `size` bytes.
  @inline(__always) @_lifetime(copy self)
  func attributes(after size: Int) -> AttributeReader { AttributeReader(payload.from((size &+ 3) & ~3)) }
}

/// Walks the messages of a datagram. Stops at the end or at the first length that does not fit.
struct MessageReader: ~Escapable {
  private let bytes: RawSpan
  private var position = 0
  /// The bytes end in the middle of a message, or a length is impossible.
  private(set) var isMalformed = false

  @_lifetime(copy bytes)
  init(_ bytes: RawSpan) { self.bytes = bytes }

  /// Offset of the message that `next` returns next.
  var offset: Int { position }

  @inline(__always) @_lifetime(copy self) @_lifetime(self: copy self)
  mutating func next() -> Message? {
    guard position < bytes.byteCount, !isMalformed else { return nil }
    guard let h = bytes.load(position, as: nlmsghdr.self), h.nlmsg_len >= 16,
      Int(h.nlmsg_len) <= bytes.byteCount &- position
    else {
      isMalformed = true
      return nil
    }
    let end = position &+ Int(h.nlmsg_len)
    let payload = bytes.extracting(position &+ 16..<end)
    position = min((end &+ 3) & ~3, bytes.byteCount)
    return Message(type: h.nlmsg_type, flags: h.nlmsg_flags, sequence: h.nlmsg_seq, payload: payload)
  }
}
