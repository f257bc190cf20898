import NetTypes
import Syscalls
import Testing

@testable import Netlink

/// What the kernel (6.18) sends: captured, except where a comment says otherwise.
@Suite struct AnswerTests {
  private func link(_ hex: String) throws -> Link {
    guard case .link(let link, removed: false)? = events(bytes(hex)).first else {
      throw SystemError("no link in the capture", "", .invalid)
    }
    return link
  }

  @Test func readsVXLAN() throws {
    let options = VXLANOptions(vni: 1, underlay: 3, local: IPAddress("172.31.77.11"), port: 8472)
    #expect(
      try link(GoldenLinks.vxlan)
        == Link(
          name: "flannel.1", index: 4, kind: .vxlan(options), mac: MACAddress(0xaabb_cc00_1122), mtu: 1450,
          flags: 0x1002, operationalState: 2))
  }

  @Test func readsBridgePort() throws {
    let veth = try link(GoldenLinks.port)
    #expect(veth.name == "veth1" && veth.kind == .veth && veth.master == 5 && veth.parent == 6)
    #expect(veth.port == BridgePort(hairpin: true, isolated: true))
  }

  @Test func readsBridge() throws {
    let bridge = try link(GoldenLinks.bridge)
    #expect(bridge.name == "cni0" && bridge.kind == .bridge(vlanFiltering: false) && bridge.port == nil)
  }

  // ip route show table all, with
  // ip route replace 10.3.0.0/24 via 172.31.77.2 mtu 1400 table 1000
  // ip route replace 10.9.0.0/24 nexthop via 172.31.77.2 nexthop via 172.31.77.3 weight 5
  @Test func readsRoutes() throws {
    let dump = """
      48000000180022001d3f046be855000002180000fc0300010000000008000f00e8030000080001000a0300000c0008000800020078050000
      08000500ac1f4d020800040003000000
      50000000180022001d3f046be855000002180000fe0300010000000008000f00fe000000080001000a090000
      24000900100000000300000008000500ac1f4d02100000040300000008000500ac1f4d03
      3c000000180022001d3f046be855000002180000fe02fd010000000008000f00fe00000008000100ac1f4d0008000700ac1f4d0b
      0800040003000000
      3c000000180022001d3f046be855000002200000ff02fe020000000008000f00ff00000008000100ac1f4d0b08000700ac1f4d0b
      0800040003000000
      74000000180022001d3f046be85500000a400000fe0200010000000008000f00fe00000014000100fe800000000000000000000000000000
      0800060000010000080004000200000024000c00000000000000000000000000000000000000000000000000000000000000000005001400
      00000000
      """
    func prefix(_ text: String) throws -> IPPrefix { try #require(IPPrefix(text)) }
    let source = IPAddress("172.31.77.11")
    let expected = [
      Route(
        destination: try prefix("10.3.0.0/24"), gateway: IPAddress("172.31.77.2"), device: 3, table: 1000, mtu: 1400),
      Route(destination: try prefix("10.9.0.0/24"), gateway: IPAddress("172.31.77.2"), device: 3, extraHops: 1),
      Route(destination: try prefix("172.31.77.0/24"), device: 3, source: source, origin: 2, scope: 253),
      Route(
        destination: try prefix("172.31.77.11/32"), device: 3, source: source, table: 255, origin: 2, scope: 254,
        kind: .local),
      Route(destination: try prefix("fe80::/64"), device: 2, origin: 2, metric: 256),
    ]
    #expect(events(bytes(dump)) == expected.map { .route($0, removed: false) })
  }

  // ip addr show, ip neigh show, bridge fdb show, ip nexthop show
  @Test func readsAddressesNeighboursAndNexthops() throws {
    let dump = """
      5000000014002200e43e046b97530000021880000300000008000100ac1f4d0b08000200ac1f4d0b0900030065746830000000000800080080
      00000014000600ffffffffffffffff6e2405006e240500
      4c0000001c000200e53e046b9d530000020000000400000080000001080001000af405000a000200aa000000000100000800040000000000
      1400030036000000360000003600000000000000
      440000001c000200e53e046b9f5300000700000004000000c00002010a000200aa0000000001000008000100ac1f4d0c14000300
      00000000340000003400000000000000
      3000000068000200e43e046ba153000002fd00000400000008000100070000000800050004000000080006000a010000
      """
    let mac = MACAddress(0xaa00_0000_0001)
    let address = try #require(IPAddress("10.244.5.0"))
    let read = events(bytes(dump))
    #expect(
      read == [
        .address(InterfaceAddress(device: 3, prefix: try #require(IPPrefix("172.31.77.11/24"))), removed: false),
        .neighbour(Neighbour(device: 4, address: address, mac: mac), removed: false),
        .fdb(FDBEntry(device: 4, mac: mac, remote: IPAddress("172.31.77.12"), state: 0xc0), removed: false),
        .nexthop(
          Nexthop(id: 7, gateway: IPAddress("10.1.0.0"), device: 4, isOnlink: true, origin: 0), removed: false),
      ])
    guard case .address(let a, _) = read.first else { return }
    #expect(a.isPermanent && !a.isTentative)
  }

  // Written by hand after linux/if_bridge.h: VLANs 7, 42 (PVID, untagged) and 100-200.
  @Test func readsVLANRanges() {
    let hex = """
      3400000010000000000000000000000007000000080000000000000000000000
      24001a00 0800020000000700 0800020006002a00 0800020008006400 080002001000c800
      """
    var read: [BridgeVLAN] = []
    let whole = bytes(hex).count
    var all = bytes(hex)
    all[0] = UInt8(whole)
    #expect(forEachMessage(all) { read += BridgeVLAN.decode($0) })
    #expect(
      read == [
        BridgeVLAN(ids: 7...7), BridgeVLAN(ids: 42...42, isPVID: true, isUntagged: true), BridgeVLAN(ids: 100...200),
      ])
  }

  // ip route add 10.77.0.0/16 via 203.0.113.1
  @Test func readsTheKernelsExplanation() {
    // Without NETLINK_CAP_ACK the whole request is quoted.
    let refusal = """
      60000000020000021d3f046be65500009bffffff2c000000180005061d3f046b0000000002100000fe03000100000000080001000a4d0000
      08000500cb007101200001004e657874686f702068617320696e76616c6964206761746577617900
      """
    forEachMessage(bytes(refusal)) {
      let verdict = Acknowledgement($0)
      #expect(verdict?.errno == Errno(rawValue: 101) && verdict?.text == "Nexthop has invalid gateway")
    }
    // With it, only its header (shortened by hand).
    let short = """
      44000000020000031d3f046be65500009bffffff2c000000180005061d3f046b00000000
      200001004e657874686f702068617320696e76616c6964206761746577617900
      """
    forEachMessage(bytes(short)) {
      let verdict = Acknowledgement($0)
      #expect(verdict?.errno == Errno(rawValue: 101) && verdict?.text == "Nexthop has invalid gateway")
    }
    let success = "2400000002000001e33e046b70530000000000003000000014000505e33e046b00000000"
    forEachMessage(bytes(success)) {
      let verdict = Acknowledgement($0)
      #expect(verdict != nil && verdict?.errno == nil)
    }
  }
}
