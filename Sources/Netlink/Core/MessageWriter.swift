import CLinux
import NetTypes

/// Encodes netlink messages one behind the other. Lengths are filled in when a closure ends, so no size is ever
/// computed by hand.
struct MessageWriter: ~Copyable, Sendable {
  /// Encoded messages, each a multiple of four bytes long.
  private(set) var buffer: ByteBuffer
  /// Number of messages.
  private(set) var count = 0
  /// Offset of the last message.
  private var last = 0

  init(capacity: Int = 256) { buffer = ByteBuffer(capacity: capacity) }

  mutating func clear() {
    buffer.clear()
    count = 0
  }

  /// Adds a message; `NLM_F_REQUEST` is always set.
  @inline(__always)
  mutating func message(
    _ type: UInt16, _ flags: UInt16, sequence: UInt32, _ body: (inout MessageWriter) -> Void
  ) {
    let start = buffer.count
    last = start
    buffer.append(
      nlmsghdr(
        nlmsg_len: 0, nlmsg_type: type, nlmsg_flags: flags | MessageFlags.request, nlmsg_seq: sequence, nlmsg_pid: 0))
    body(&self)
    buffer.store(UInt32(truncatingIfNeeded: buffer.count &- start), at: start)
    count &+= 1
  }

  /// Makes the last message ask for an acknowledgement.
  mutating func requestAcknowledgement() {
    guard var header = buffer.bytes.load(last, as: nlmsghdr.self) else { return }
    header.nlmsg_flags |= MessageFlags.acknowledge
    buffer.store(header, at: last)
  }

  /// Adds the fixed header of a message family.
  @inline(__always)
  mutating func header<T: BitwiseCopyable>(_ value: T) {
    buffer.append(value)
    buffer.pad()
  }

  /// Adds an attribute made of one integer, in the machine's byte order.
  @inline(__always)
  mutating func attribute<T: FixedWidthInteger & BitwiseCopyable>(_ type: UInt16, _ value: T) {
    buffer.append(UInt16(truncatingIfNeeded: 4 &+ MemoryLayout<T>.size))
    buffer.append(type)
    buffer.append(value)
    buffer.pad()
  }

  /// Adds an attribute made of one C structure without padding.
  mutating func structure<T: BitwiseCopyable>(_ type: UInt16, _ value: T) {
    buffer.append(UInt16(truncatingIfNeeded: 4 &+ MemoryLayout<T>.size))
    buffer.append(type)
    buffer.append(value)
    buffer.pad()
  }

  /// Adds a gateway of another family than the destination's: `struct rtvia`.
  mutating func via(_ type: UInt16, _ address: IPAddress) {
    buffer.append(UInt16(truncatingIfNeeded: 6 + address.family.byteCount))
    buffer.append(type)
    buffer.append(UInt16(address.family.number))
    for byte in address.bytes { buffer.append(byte) }
    buffer.pad()
  }

  /// Adds an attribute without payload: its presence means yes.
  mutating func flag(_ type: UInt16) {
    buffer.append(UInt16(4))
    buffer.append(type)
  }

  /// Adds an address in network order: 4 or 16 bytes.
  @inline(__always)
  mutating func attribute(_ type: UInt16, _ address: IPAddress) {
    if address.family == .ipv4 {
      attribute(type, UInt32(truncatingIfNeeded: address.value).bigEndian)
    } else {
      attribute(type, address.value.bigEndian)
    }
  }

  /// Adds a link-layer address of six bytes.
  @inline(__always)
  mutating func attribute(_ type: UInt16, _ mac: MACAddress) {
    buffer.append(UInt16(10))
    buffer.append(type)
    buffer.append(UInt32(truncatingIfNeeded: mac.value >> 16).bigEndian)
    buffer.append(UInt16(truncatingIfNeeded: mac.value).bigEndian)
    buffer.pad()
  }

  /// Adds a string, usually with its terminating zero. No string of the kernel is longer than 255 bytes; the rest is
  /// left out.
  mutating func attribute(_ type: UInt16, _ text: String, terminated: Bool = true) {
    let bytes = text.utf8.prefix(255)
    buffer.append(UInt16(truncatingIfNeeded: 4 + bytes.count + (terminated ? 1 : 0)))
    buffer.append(type)
    for byte in bytes { buffer.append(byte) }
    if terminated { buffer.append(UInt8(0)) }
    buffer.pad()
  }

  /// Adds an attribute made of bytes as they are. More than 65,531 do not fit: the attribute is left out then.
  mutating func bytes(_ type: UInt16, _ value: [UInt8]) {
    guard let length = UInt16(exactly: 4 + value.count) else { return }
    buffer.append(length)
    buffer.append(type)
    unsafe buffer.append(value.span.bytes)
    buffer.pad()
  }

  /// Adds an attribute whose payload `body` writes.
  @inline(__always)
  mutating func nested(_ type: UInt16, _ body: (inout MessageWriter) -> Void) {
    let start = buffer.count
    buffer.append(UInt16(0))
    buffer.append(type)
    body(&self)
    buffer.store(UInt16(clamping: buffer.count &- start), at: start)
  }
}
