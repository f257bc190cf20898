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
    _ = NftEvent(message)?.table
    _ = NftTable(message)
    _ = NftChain(message)
    _ = NftRule(message).map { ($0.comparable, $0.targets) }
    _ = NftSet(message).map { ($0.keyLength, $0.dataLength) }
    _ = NftElement.list(message)
    walk(AttributeReader(message.payload), depth: 0)
  }
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
