import NetTypes
import Testing

@testable import Netlink

/// Decoders must survive any bytes. A trap would end the test program, so that it cannot pass.
@Suite struct HostileInputTests {
  static let samples: [[UInt8]] = {
    var batch = RouteBatch()
    let options = VXLANOptions(
      vni: 1, underlay: 3, local: IPAddress("fd77::11"), group: IPAddress("239.1.1.1"), port: 1)
    batch.createLink(Link(name: "flannel.1", kind: .vxlan(options), mac: MACAddress(1), mtu: 1450))
    batch.createLink(Link(name: "a", kind: .veth), peer: VethPeer(name: "b", namespace: 3, mac: MACAddress(2), mtu: 9))
    batch.setBridgePort(index: 4, BridgePort(hairpin: true, isolated: true))
    batch.addBridgeVLANs(index: 4, [BridgeVLAN(ids: 1...9), BridgeVLAN(ids: 10...10, isPVID: true)])
    for text in ["10.0.0.1/24", "fd00::1/64"] {
      guard let prefix = IPPrefix(text) else { continue }
      batch.set(InterfaceAddress(device: 4, prefix: prefix, broadcast: prefix.last))
      batch.set(Neighbour(device: 4, address: prefix.address, mac: MACAddress(3)))
      batch.set(FDBEntry(device: 4, mac: MACAddress(3), remote: prefix.address))
      batch.set(Nexthop(id: 7, gateway: prefix.address, device: 4, isOnlink: true, origin: 3))
      batch.set(
        Route(
          destination: prefix.network, gateway: prefix.address, device: 4, isOnlink: true, source: prefix.address,
          table: 1000, metric: 5, mtu: 1400))
      batch.set(Route(destination: prefix.network, gateway: IPAddress("fe80::1"), device: 4))
    }
    var out = [array(batch.writer.buffer.bytes)]
    out += [GoldenLinks.vxlan, GoldenLinks.port, GoldenLinks.bridge].map { bytes($0) }
    out.append(
      bytes(
        """
        50000000180022001d3f046be855000002180000fe0300010000000008000f00fe000000080001000a090000
        24000900100000000300000008000500ac1f4d02100000040300000008000500ac1f4d03
        """))
    out.append(
      bytes(
        """
        44000000020000031d3f046be65500009bffffff2c000000180005061d3f046b00000000
        200001004e657874686f702068617320696e76616c6964206761746577617900
        """))
    out += [GoldenConntrack.dump, GoldenConntrack.tcp, GoldenConntrack.events, GoldenConntrack.statistics].map {
      bytes($0)
    }
    return out
  }()

  /// Runs every decoder on every message.
  private func decodeAll(_ input: [UInt8]) {
    forEachMessage(input) { message in
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
    }
  }

  @Test(arguments: samples.indices)
  func anyTruncation(_ i: Int) {
    let sample = Self.samples[i]
    for n in 0..<sample.count {
      let part = Array(sample[..<n])
      // With the true length, and with one the header agrees with.
      decodeAll(part)
      var claimed = part
      if n >= 16 {
        for k in 0..<4 { claimed[k] = UInt8(truncatingIfNeeded: n >> (8 * k)) }
        decodeAll(claimed)
      }
    }
  }

  @Test(arguments: samples.indices)
  func anyFlippedBit(_ i: Int) {
    var sample = Self.samples[i]
    for n in 0..<min(sample.count, 700) {
      for bit in 0..<8 {
        sample[n] ^= 1 << bit
        decodeAll(sample)
        sample[n] ^= 1 << bit
      }
    }
  }

  @Test func randomBytes() {
    var seed = SplitMix(state: 42)
    for _ in 0..<5_000 {
      let type = [16, 17, 20, 24, 28, 104, 2, 3, 0x100, 0x102, 0x104, 0x105].randomElement(using: &seed) ?? 16
      let body = (0..<Int.random(in: 0...120, using: &seed)).map { _ in
        // Small numbers make attribute lengths that sometimes fit.
        UInt8.random(in: 0...(Bool.random(using: &seed) ? 40 : 255), using: &seed)
      }
      let length = UInt32(16 + body.count)
      let header = withUnsafeBytes(
        of: (length, UInt16(type), UInt16.random(in: 0 ... .max, using: &seed), UInt32(1), UInt32(0))
      ) { Array($0) }
      decodeAll(header + body)
      decodeAll(body)
    }
  }

  @Test func malformedLengthsAreReported() {
    #expect(forEachMessage([]) { _ in })
    #expect(!forEachMessage([1, 2, 3]) { _ in })
    #expect(!forEachMessage([UInt8](repeating: 0, count: 16)) { _ in }, "length 0")
    #expect(!forEachMessage(bytes("11000000 1000 0000 00000000 00000000")) { _ in }, "one byte short")
    #expect(!forEachMessage(bytes("ffffffff 1000 0000 00000000 00000000")) { _ in })
  }
}

/// A small reproducible source of randomness.
struct SplitMix: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
    return z ^ z >> 31
  }
}
