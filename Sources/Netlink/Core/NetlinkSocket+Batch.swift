import CLinux
import Glibc
import Syscalls

extension NetlinkSocket {
  /// A part of a batch that is sent at once.
  private struct Portion {
    var start: Int
    /// Offset of the last message, the one that asks for an acknowledgement.
    var last: Int
    var end: Int
    var lastSequence: UInt32
  }

  /// Sends many requests, as many per system call as fit, and reports those that failed. The kernel handles each
  /// request by itself and names failures by sequence number; only the last request of a portion asks for an
  /// acknowledgement, which comes behind all failures.
  /// - Parameter batch: messages numbered from 1 in their order.
  mutating func transact(
    _ batch: borrowing MessageWriter, _ failure: (_ sequence: UInt32, Errno, String?) -> Void
  ) throws(SystemError) {
    try discardLeftovers()
    var reader = MessageReader(batch.buffer.bytes)
    var portion: Portion?
    var requests = 0
    while true {
      let start = reader.offset
      guard let message = reader.next() else { break }
      let sequence = message.sequence
      if var p = portion, reader.offset - p.start <= Self.datagramSize, requests < requestLimit {
        p.last = start
        p.end = reader.offset
        p.lastSequence = sequence
        portion = p
        requests += 1
      } else {
        if let p = portion { try exchange(batch, p, failure) }
        portion = Portion(start: start, last: start, end: reader.offset, lastSequence: sequence)
        requests = 1
      }
    }
    if let p = portion { try exchange(batch, p, failure) }
  }

  private mutating func exchange(
    _ batch: borrowing MessageWriter, _ portion: Portion, _ failure: (UInt32, Errno, String?) -> Void
  ) throws(SystemError) {
    hasLeftovers = true
    try send(batch.buffer.bytes, portion)
    while true {
      switch try receive(waiting: true) {
      case .datagram: break
      case .nothing: continue
      case .truncated: throw SystemError("acknowledgement too long", "", Errno(rawValue: EMSGSIZE))
      case .overrun: throw SystemError("acknowledgements lost, state unknown", "", .noBuffers)
      }
      var isComplete = false
      var reader = MessageReader(incoming.bytes)
      while let message = reader.next() {
        guard message.type == ControlType.error else { continue }
        guard let verdict = Acknowledgement(message) else { throw Self.malformed }
        if let errno = verdict.errno { failure(message.sequence, errno, verdict.text) }
        if message.sequence == portion.lastSequence { isComplete = true }
      }
      if reader.isMalformed { throw Self.malformed }
      if isComplete {
        hasLeftovers = false
        return
      }
    }
  }

  /// Sends a portion. The batch is not changed: a copy of the last header, with the flag that asks for the
  /// acknowledgement, goes out in the place of the original.
  private func send(_ bytes: RawSpan, _ portion: Portion) throws(SystemError) {
    let fd = descriptor.number
    guard var header = bytes.load(portion.last, as: nlmsghdr.self) else { throw Self.malformed }
    header.nlmsg_flags |= MessageFlags.acknowledge
    let before = portion.last - portion.start
    let headerSize = MemoryLayout<nlmsghdr>.size
    try retrying("send to netlink") {
      unsafe bytes.withUnsafeBytes { memory in
        unsafe withUnsafeMutablePointer(to: &header) { pointer in
          let base = unsafe UnsafeMutableRawPointer(mutating: memory.baseAddress)
          var parts = unsafe [
            iovec(iov_base: base.map { unsafe $0 + portion.start }, iov_len: before),
            iovec(iov_base: pointer, iov_len: headerSize),
            iovec(
              iov_base: base.map { unsafe $0 + portion.last + headerSize },
              iov_len: portion.end - portion.last - headerSize),
          ]
          let count = unsafe parts.count
          return unsafe parts.withUnsafeMutableBufferPointer { list in
            var message = unsafe msghdr()
            unsafe message.msg_iov = list.baseAddress
            unsafe message.msg_iovlen = count
            return unsafe sendmsg(fd, &message, 0)
          }
        }
      }
    }
  }
}
