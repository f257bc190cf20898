import Glibc
import Syscalls

extension NetlinkSocket {
  /// How an exchange ended.
  private enum Outcome {
    case complete
    case refused(Errno, String?)
    /// The table changed during the dump, or a part of it was lost: ask again.
    case inconsistent
  }

  /// Times a dump is asked for while the table keeps changing under it.
  static let attempts = 20

  /// Asks for one object or dumps a table. A dump that was interrupted by a change is asked for again, so that the
  /// result is one consistent state.
  /// - Parameters:
  ///   - flags: `MessageFlags.dump`, or 0 for a single answer.
  ///   - decode: nil skips the message.
  mutating func collect<T>(
    _ operation: StaticString, on object: @autoclosure () -> String = "", _ type: UInt16, flags: UInt16,
    request: (inout MessageWriter) -> Void, decode: (borrowing Message) -> T?
  ) throws(NetlinkError) -> [T] {
    var out: [T] = []
    for _ in 0..<Self.attempts {
      out.removeAll(keepingCapacity: true)
      let isConsistent = try ask(operation, on: object(), type, flags: flags, request: request) { message in
        if let value = decode(message) { out.append(value) }
      }
      if isConsistent { return out }
    }
    throw NetlinkError(operation: "\(operation), which keep changing,", object: object(), errno: .wouldBlock)
  }

  /// Asks once and hands every answer out as it comes, so that a table of any size takes no memory.
  /// - Returns: false when the table changed during the dump, or a part of it was lost: answers may be missing, or have
  ///   come twice.
  mutating func ask(
    _ operation: StaticString, on object: @autoclosure () -> String = "", _ type: UInt16, flags: UInt16,
    request: (inout MessageWriter) -> Void, each: (borrowing Message) -> Void
  ) throws(NetlinkError) -> Bool {
    sequence = sequence == .max ? 0x8000_0000 : sequence + 1
    outgoing.clear()
    outgoing.message(type, flags, sequence: sequence, request)
    let outcome: Outcome
    do throws(SystemError) {
      outcome = try exchange(isDump: flags & MessageFlags.dump != 0, each)
    } catch {
      throw NetlinkError(operation: "\(operation)", object: object(), errno: error.errno)
    }
    switch outcome {
    case .complete: return true
    case .inconsistent: return false
    case .refused(let errno, let text):
      throw NetlinkError(operation: "\(operation)", object: object(), errno: errno, message: text)
    }
  }

  /// Sends `outgoing` and reads the answers up to the last one.
  private mutating func exchange(
    isDump: Bool, _ handler: (borrowing Message) -> Void
  ) throws(SystemError) -> Outcome {
    try discardLeftovers()
    hasLeftovers = true
    try sendOutgoing()
    var isConsistent = true
    while true {
      switch try receive(waiting: true) {
      case .datagram: break
      case .nothing: continue
      case .truncated, .overrun: return .inconsistent
      }
      var outcome: Outcome?
      var reader = MessageReader(incoming.bytes)
      while outcome == nil, let message = reader.next() {
        guard message.sequence == sequence else { continue }
        if message.flags & MessageFlags.dumpInterrupted != 0 { isConsistent = false }
        switch message.type {
        case ControlType.noop: continue
        case ControlType.overrun: isConsistent = false
        case ControlType.error, ControlType.done:
          guard let verdict = Acknowledgement(message) else { throw Self.malformed }
          if let errno = verdict.errno {
            outcome = .refused(errno, verdict.text)
          } else {
            outcome = isConsistent ? .complete : .inconsistent
          }
        default:
          handler(message)
          if !isDump { outcome = .complete }
        }
      }
      if reader.isMalformed { throw Self.malformed }
      if let outcome {
        hasLeftovers = false
        return outcome
      }
    }
  }

  /// The bytes received are not netlink messages.
  static var malformed: SystemError { SystemError("malformed message from the kernel", "", Errno(rawValue: EBADMSG)) }

  private mutating func sendOutgoing() throws(SystemError) {
    let fd = descriptor.number
    let bytes = outgoing.buffer.bytes
    try retrying("send to netlink") {
      unsafe bytes.withUnsafeBytes { unsafe Glibc.send(fd, $0.baseAddress, $0.count, 0) }
    }
  }
}
