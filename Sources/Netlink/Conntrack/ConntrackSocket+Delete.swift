import NetTypes
import Syscalls

extension ConntrackSocket {
  /// Bytes of requests that are collected before they are sent: some 800 connections. Bounds the memory.
  private static let batchSize = 96 << 10

  /// Times the whole table is gone through while the kernel says that parts of it were missed.
  private static let attempts = 20

  /// Removes a connection, known by its original direction, its zone and its number.
  /// - Returns: false when it was gone already.
  @discardableResult
  public mutating func delete(_ entry: ConntrackEntry) throws(NetlinkError) -> Bool {
    var deletions = ConntrackDeletions()
    deletions.add(entry)
    deletions.send(&writer)
    return try deletions.result() == 1
  }

  /// Removes the connections that are meant, in one pass over the table and in bounded memory, however many there are.
  /// - Parameter isMeant: what the filter cannot say.
  /// - Returns: how many were removed. Those that ended by themselves in the meantime do not count.
  /// - Throws: the first refusal, after the others were carried out: `EBUSY` for a connection that a flow table forwards.
  @discardableResult
  public mutating func delete(
    matching filter: ConntrackFilter, where isMeant: (ConntrackEntry) -> Bool = { _ in true }
  ) throws(NetlinkError) -> Int {
    var deletions = ConntrackDeletions()
    for _ in 0..<Self.attempts {
      let isComplete = try reader.ask("list connections", ConntrackMessage.get, flags: MessageFlags.dump) {
        filter.encodeRequest(into: &$0)
      } each: {
        guard let entry = ConntrackEntry($0), filter.matches(entry), isMeant(entry) else { return }
        deletions.add(entry)
        if deletions.size >= Self.batchSize { deletions.send(&writer) }
      }
      deletions.send(&writer)
      if isComplete { return try deletions.result() }
    }
    throw NetlinkError(operation: "delete connections, which keep changing,", object: "", errno: .wouldBlock)
  }

  /// Removes connections of UDP by the port, and the address if given, that their first packet went to. Their next packet
  /// is looked at by the rules again: without this, a client that keeps its port keeps going where it went before a
  /// mapping or an endpoint changed (contract cni §B5 "After the rules").
  /// - Returns: how many were removed.
  @discardableResult
  public mutating func flushUDP(
    destinationPorts ports: Set<UInt16>, family: AddressFamily, destination: IPAddress? = nil
  ) throws(NetlinkError) -> Int {
    guard !ports.isEmpty else { return 0 }
    return try delete(
      matching: ConntrackFilter(
        family: family, transport: TransportProtocol.udp,
        original: .init(destination: destination.map(IPPrefix.init(host:)), destinationPorts: ports)))
  }
}

/// Requests to remove connections, and what became of those that were sent.
private struct ConntrackDeletions: ~Copyable {
  private var batch = MessageWriter()
  private var removed = 0
  private var failure: NetlinkError?

  /// Bytes not sent yet.
  var size: Int { batch.buffer.count }

  mutating func add(_ entry: ConntrackEntry) {
    let sequence = UInt32(truncatingIfNeeded: batch.count &+ 1)
    batch.message(ConntrackMessage.delete, 0, sequence: sequence) { entry.encodeKey(into: &$0) }
  }

  /// Sends what was added. Once a socket has failed nothing more is sent.
  mutating func send(_ socket: inout NetlinkSocket) {
    guard !hasSocketFailed, batch.count > 0 else { return batch.clear() }
    var refused = 0
    var refusal: (sequence: UInt32, errno: Errno, text: String?)?
    do throws(SystemError) {
      try socket.transact(batch) { sequence, errno, text in
        refused += 1
        // Gone is what was wanted.
        if errno != .noEntry, refusal == nil { refusal = (sequence, errno, text) }
      }
      removed += batch.count - refused
      if let refusal, failure == nil {
        failure = NetlinkError(
          operation: "delete connection", object: describe(refusal.sequence), errno: refusal.errno,
          message: refusal.text)
      }
    } catch {
      failure = NetlinkError(error)
      hasSocketFailed = true
    }
    batch.clear()
  }

  private var hasSocketFailed = false

  /// The connection of a request, read back from its bytes.
  private func describe(_ sequence: UInt32) -> String {
    var reader = MessageReader(batch.buffer.bytes)
    while let message = reader.next() {
      guard message.sequence == sequence else { continue }
      var attributes = message.attributes(after: Netfilter.headerSize)
      if let a = attributes.next(), let tuple = ConntrackTuple(a.nested()) { return tuple.description }
    }
    return ""
  }

  /// How many were removed.
  func result() throws(NetlinkError) -> Int {
    if let failure { throw failure }
    return removed
  }
}
