import CLinux
import Glibc
import Syscalls

/// A socket for nf_tables: transactions and dumps. It stays in the network namespace it was opened in.
public struct NftSocket: ~Copyable, Sendable {
  var socket: NetlinkSocket

  /// Opens a socket in the calling thread's network namespace.
  public init() throws(NetlinkError) {
    let number: Int32
    do {
      number = try NetlinkSocket.open(NETLINK_NETFILTER)
    } catch {
      throw NetlinkError(error)
    }
    socket = try NetlinkSocket(adopting: number)
  }

  /// Opens a socket in a network namespace, from a throw-away thread.
  public init(in namespace: borrowing NetworkNamespace) throws(NetlinkError) {
    let number: Int32
    do {
      number = try namespace.run { () throws(SystemError) in try NetlinkSocket.open(NETLINK_NETFILTER) }
    } catch {
      throw NetlinkError(error)
    }
    socket = try NetlinkSocket(adopting: number)
  }

  /// The socket's netlink port: the `nlmsg_pid` of notifications about what it changed.
  public var portID: UInt32 { socket.portID }

  /// Carries out a transaction, all of it or nothing.
  /// - Throws: the first refusal, with the object the kernel named; the rule set is as before then. A socket that failed
  ///   (`ENOBUFS`) leaves the outcome unknown: look at the state again.
  public mutating func commit(_ batch: consuming NftBatch) throws(NetlinkError) {
    guard !batch.isEmpty else { return }
    let refusal: (sequence: UInt32, verdict: Acknowledgement)?
    do {
      refusal = try socket.transactAtomically(&batch.writer)
    } catch {
      throw NetlinkError(error)
    }
    guard let (sequence, verdict) = refusal, let errno = verdict.errno else { return }
    let (operation, object) = batch.describe(sequence: sequence, offset: verdict.offset)
    let error = NetlinkError(operation: operation, object: object, errno: errno, message: verdict.text)
    throw sequence == 1 ? error.withCapabilityHint : error
  }
}

extension NetlinkError {
  /// The rule set changed after the generation a transaction was made for: look again and repeat.
  public var isOutdated: Bool { errno.rawValue == 85 /* ERESTART */ }

  /// Says what is missing where the kernel refuses everything, also reading. Not for a refusal of one object (a table with
  /// an owner), which has other reasons.
  var withCapabilityHint: NetlinkError {
    guard errno == .notPermitted else { return self }
    var e = self
    e.operation += " (needs CAP_NET_ADMIN)"
    return e
  }
}

extension NetlinkSocket {
  /// Sends a whole batch of nfnetlink in one datagram, closed by its end. The last change asks for an acknowledgement,
  /// which comes behind all failures (older kernels do not answer the end itself).
  /// - Returns: the first refusal; nil when all was carried out.
  mutating func transactAtomically(
    _ batch: inout MessageWriter
  ) throws(SystemError) -> (sequence: UInt32, verdict: Acknowledgement)? {
    try discardLeftovers()
    let lastSequence = UInt32(truncatingIfNeeded: batch.count)
    batch.requestAcknowledgement()
    batch.message(Netfilter.batchEnd, 0, sequence: lastSequence &+ 1) {
      $0.header(Netfilter.header(family: 0, resource: Netfilter.nftables))
    }
    makeRoom(batch.buffer.count)
    hasLeftovers = true
    let fd = descriptor.number
    let bytes = batch.buffer.bytes
    try retrying("send to netlink") {
      unsafe bytes.withUnsafeBytes { unsafe Glibc.send(fd, $0.baseAddress, $0.count, 0) }
    }
    var refusal: (sequence: UInt32, verdict: Acknowledgement)?
    var isOverrun = false
    while true {
      switch try receive(waiting: !isOverrun) {
      case .datagram: break
      case .nothing:
        guard isOverrun else { continue }
        if let refusal { return refusal }
        throw SystemError("acknowledgements lost, state unknown", "", .noBuffers)
      case .truncated: throw SystemError("acknowledgement too long", "", Errno(rawValue: EMSGSIZE))
      case .overrun:
        // The kernel names every message that fails. With thousands the rest gets lost, but the first are queued.
        isOverrun = true
        continue
      }
      var isComplete = false
      var reader = MessageReader(incoming.bytes)
      while let message = reader.next() {
        guard message.type == ControlType.error else { continue }
        guard let verdict = Acknowledgement(message) else { throw Self.malformed }
        if verdict.errno != nil, refusal == nil { refusal = (message.sequence, verdict) }
        // A refusal of the beginning is one of the whole: nothing of it was looked at, or the commit failed.
        if message.sequence == lastSequence || message.sequence == 1 && verdict.errno != nil { isComplete = true }
      }
      if reader.isMalformed { throw Self.malformed }
      if isComplete { return refusal }
    }
  }

  /// A transaction is one datagram: the send buffer must hold it.
  private func makeRoom(_ size: Int) {
    guard size > 1 << 20 else { return }
    Self.setOption(descriptor.number, SOL_SOCKET, SO_SNDBUFFORCE, Int32(clamping: size + 65536), else: SO_SNDBUF)
  }
}
