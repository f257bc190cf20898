import NetTypes

@testable import Netlink

/// Reads the bytes as a datagram of the kernel, with every decoder for every message.
func fuzzNetlink(_ input: [UInt8]) {
  var reader = MessageReader(input.span.bytes)
  while let message = reader.next() {
    _ = RouteEvent(message)
    _ = Link(message)
    _ = InterfaceAddress(message)
    _ = Neighbour(message)
    _ = FDBEntry(message)
    _ = Route(message, includingCache: true)
    _ = Nexthop(message)
    _ = BridgeVLAN.decode(message)
    _ = Acknowledgement(message)
    _ = ConntrackEvent(message)
    _ = ConntrackStatistics(message)
    _ = ConntrackStatistics.Processor(message)
    fuzzNftables(message)
    walk(AttributeReader(message.payload), depth: 0)
  }
}

/// Rules and what they need. What is read can be sent, and reads as the same from then on.
private func fuzzNftables(_ message: borrowing Message) {
  _ = NftEvent(message)?.table
  var batch = NftBatch()
  if let table = NftTable(message) { batch.add(table) }
  if let chain = NftChain(message) { batch.add(chain) }
  if let set = NftSet(message) {
    batch.add(set)
    batch.add(NftElement.list(message), to: set.name, of: set.table)
  }
  if let first = NftRule(message), let second = sentAndRead(first) {
    precondition(sentAndRead(second) == second)
    batch.append(first)
  }
  var reader = MessageReader(batch.writer.buffer.bytes)
  while let m = reader.next() { _ = batch.describe(sequence: m.sequence) }
  precondition(!reader.isMalformed)
}

private func sentAndRead(_ rule: NftRule) -> NftRule? {
  var batch = NftBatch()
  batch.append(rule)
  var reader = MessageReader(batch.writer.buffer.bytes)
  var out: NftRule?
  while let m = reader.next() { if m.sequence == 2 { out = NftRule(m) } }
  return out
}

/// Every attribute in every reading, nested ones to some depth.
private func walk(_ attributes: consuming AttributeReader, depth: Int) {
  var reader = attributes
  while let a = reader.next() {
    _ = (a.uint8, a.uint16, a.uint32, a.int32, a.address, a.mac)
    _ = a.string
    if depth < 4 { walk(a.nested(), depth: depth + 1) }
  }
}
