import NetTypes
import Testing

@testable import Netlink

/// Requests as iproute2 6.1 sends them: captured bytes behind the message header, with the command. Each is parsed
/// into our value, and our value is encoded into the same bytes.
@Suite struct RequestTests {
  /// Type and flags (without the ACK bit, which belongs to sending) and body of a batch's only request.
  private func check(
    _ type: UInt16, _ flags: UInt16, _ body: String, _ record: (inout RouteBatch) -> Void,
    location: SourceLocation = #_sourceLocation
  ) {
    var batch = RouteBatch()
    record(&batch)
    let all = array(batch.writer.buffer.bytes)
    let length = UInt32(all.count)
    let header = withUnsafeBytes(of: (length, type, flags | 1, UInt32(1), UInt32(0))) { Array($0) }
    #expect(all == header + bytes(body), sourceLocation: location)
  }

  /// The request read back as an event.
  private func parse(_ type: UInt16, _ body: String) -> RouteEvent? {
    let content = bytes(body)
    let header = withUnsafeBytes(of: (UInt32(16 + content.count), type, UInt16(0), UInt32(1), UInt32(0))) { Array($0) }
    return events(header + content).first
  }

  private let mac = MACAddress(0xaa00_0000_0001)

  // ip link add flannel.1 address aa:bb:cc:00:11:22 mtu 1450 type vxlan id 1 dev eth0 local 172.31.77.11
  //   dstport 8472 nolearning
  @Test func vxlan() throws {
    let body = """
      00000000000000000000000000000000 0a000100aabbcc0011220000 08000400aa050000 0e000300666c616e6e656c2e31000000
      3c001200 0900010076786c616e000000 2c000200 0800030003000000 0800010001000000 08000400ac1f4d0b
      0500070000000000 06000f0021180000
      """
    let options = VXLANOptions(vni: 1, underlay: 3, local: IPAddress("172.31.77.11"), port: 8472)
    let link = Link(name: "flannel.1", kind: .vxlan(options), mac: MACAddress(0xaabb_cc00_1122), mtu: 1450)
    check(16, 0x600, body) { $0.createLink(link) }
    #expect(parse(16, body) == .link(link, removed: false))
  }

  // ip link add v6.1 type vxlan id 2 local fd77::11 dstport 8473 nolearning gbp
  @Test func vxlanOverIPv6() throws {
    // The GBP flag follows the port; iproute2 sends it first.
    let body = """
      00000000000000000000000000000000 0900030076362e3100000000
      44001200 0900010076786c616e000000 34000200 0800010002000000
      14001100fd770000000000000000000000000011 0500070000000000 06000f0021190000 04001700
      """
    let options = VXLANOptions(vni: 2, local: IPAddress("fd77::11"), port: 8473, gbp: true)
    let link = Link(name: "v6.1", kind: .vxlan(options))
    check(16, 0x600, body) { $0.createLink(link) }
    #expect(parse(16, body) == .link(link, removed: false))
  }

  // ip link add cni0 type bridge
  @Test func bridge() throws {
    let body = "00000000000000000000000000000000 09000300636e693000000000 10001200 0a0001006272696467650000"
    let link = Link(name: "cni0", kind: .bridge(vlanFiltering: nil))
    check(16, 0x600, body) { $0.createLink(link) }
    #expect(parse(16, body) == .link(link, removed: false))
  }

  // ip link add veth1 type veth peer name eth0 address 0a:00:00:00:00:01 mtu 1400
  @Test func veth() throws {
    let body = """
      00000000000000000000000000000000 0a0003007665746831000000 44001200 0800010076657468
      38000200 34000100 00000000000000000000000000000000 0a0001000a00000000010000 0800040078050000
      090003006574683000000000
      """
    let link = Link(name: "veth1", kind: .veth)
    let peer = VethPeer(name: "eth0", mac: MACAddress(0x0a00_0000_0001), mtu: 1400)
    check(16, 0x600, body) { $0.createLink(link, peer: peer) }
    #expect(parse(16, body) == .link(link, removed: false))
  }

  // ip link set (index 4) up
  @Test func linkUp() {
    check(16, 0, "00000000040000000100000001000000") { $0.setLink(index: 4, up: true) }
    check(16, 0, "00000000040000000000000001010000") { $0.setLink(index: 4, up: false, promiscuous: false) }
  }

  // bridge link set dev veth1 hairpin on; … isolated on (in one request)
  @Test func bridgePort() {
    let body = "07000000080000000000000000000000 14000c80 0500040001000000 0500210001000000"
    check(19, 0, body) { $0.setBridgePort(index: 8, BridgePort(hairpin: true, isolated: true)) }
  }

  // bridge vlan add dev veth1 vid 100-200; bridge vlan add dev veth1 vid 42 pvid untagged;
  // bridge vlan del dev cni0 vid 1 self
  @Test func bridgeVLANs() {
    check(19, 0, "07000000080000000000000000000000 14001a00 0800020008006400 080002001000c800") {
      $0.addBridgeVLANs(index: 8, [BridgeVLAN(ids: 100...200)])
    }
    check(19, 0, "07000000080000000000000000000000 0c001a00 0800020006002a00") {
      $0.addBridgeVLANs(index: 8, [BridgeVLAN(ids: 42...42, isPVID: true, isUntagged: true)])
    }
    check(17, 0, "07000000060000000000000000000000 14001a00 0600000002000000 0800020000000100") {
      $0.removeBridgeVLANs(index: 6, [BridgeVLAN(ids: 1...1)], onBridge: true)
    }
  }

  // ip addr replace 10.244.3.1/24 brd 10.244.3.255 dev flannel.1; ip addr del 10.244.3.1/24 dev flannel.1
  @Test func addresses() throws {
    var address = InterfaceAddress(
      device: 4, prefix: try #require(IPPrefix("10.244.3.1/24")), broadcast: IPAddress("10.244.3.255"))
    let body = "0218000004000000 080002000af40301 080004000af403ff 080001000af40301"
    check(20, 0x500, body) { $0.set(address) }
    #expect(parse(20, body) == .address(address, removed: false))
    address.broadcast = nil
    let removal = "0218000004000000 080002000af40301 080001000af40301"
    check(21, 0, removal) { $0.remove(address) }
    #expect(parse(21, removal) == .address(address, removed: true))
  }

  // ip neigh replace 10.244.5.0 lladdr aa:00:00:00:00:01 dev flannel.1 nud permanent; the same for fd00:5::
  @Test(arguments: [
    ("10.244.5.0", "020000000400000080000000 080001000af40500 0a000200aa00000000010000"),
    ("fd00:5::", "0a0000000400000080000000 14000100fd000005000000000000000000000000 0a000200aa00000000010000"),
  ])
  func neighbours(_ text: String, _ body: String) throws {
    let neighbour = Neighbour(device: 4, address: try #require(IPAddress(text)), mac: mac)
    check(28, 0x500, body) { $0.set(neighbour) }
    #expect(parse(28, body) == .neighbour(neighbour, removed: false))
    check(29, 0, body) { $0.remove(neighbour) }
    #expect(parse(29, body) == .neighbour(neighbour, removed: true))
  }

  // bridge fdb replace aa:00:00:00:00:01 dev flannel.1 dst 172.31.77.12 self permanent
  @Test func fdb() throws {
    let body = "0700000004000000c0000200 0a000200aa00000000010000 08000100ac1f4d0c"
    let entry = FDBEntry(device: 4, mac: mac, remote: IPAddress("172.31.77.12"), state: 0xc0)
    check(28, 0x500, body) { $0.set(entry) }
    #expect(parse(28, body) == .fdb(entry, removed: false))
    let flood = FDBEntry(device: 4, mac: MACAddress(0), remote: IPAddress("172.31.77.12"), state: 0xc0)
    check(28, 0xc00, "0700000004000000c0000200 0a000200000000000000 0000 08000100ac1f4d0c") { $0.set(flood) }
  }

  // ip route replace 10.244.5.0/24 via 10.244.5.0 dev flannel.1 onlink; and so on, see the arguments.
  @Test func routes() throws {
    func prefix(_ text: String) throws -> IPPrefix { try #require(IPPrefix(text)) }
    let cases: [(Route, String)] = [
      (
        Route(
          destination: try prefix("10.244.5.0/24"), gateway: IPAddress("10.244.5.0"), device: 4, isOnlink: true),
        "02180000fe03000104000000 080001000af40500 080005000af40500 0800040004000000"
      ),
      // ip route replace 10.3.0.0/24 dev eth0 src 172.31.77.11 metric 77 mtu 1400 table 1000 (order of ours)
      (
        Route(
          destination: try prefix("10.3.0.0/24"), device: 3, source: IPAddress("172.31.77.11"), table: 1000,
          scope: 253, metric: 77, mtu: 1400),
        """
        021800000003fd0100000000 080001000a030000 08000f00e8030000 080006004d000000 0800040003000000
        08000700ac1f4d0b 0c000800 0800020078050000
        """
      ),
      // ip route replace default via 172.31.77.1
      (
        Route(destination: try prefix("0.0.0.0/0"), gateway: IPAddress("172.31.77.1")),
        "02000000fe03000100000000 08000500ac1f4d01"
      ),
      // ip route replace 10.6.0.0/24 via inet6 fd77::12 dev eth0
      (
        Route(destination: try prefix("10.6.0.0/24"), gateway: IPAddress("fd77::12"), device: 3),
        "02180000fe03000100000000 080001000a060000 160012000a00fd770000000000000000000000000012 0000 0800040003000000"
      ),
      // ip route replace 10.1.0.0/24 nhid 7
      (
        Route(destination: try prefix("10.1.0.0/24"), nexthop: 7),
        "02180000fe03000100000000 080001000a010000 08001e0007000000"
      ),
    ]
    for (route, body) in cases {
      check(24, 0x500, body) { $0.set(route) }
      check(24, 0xc00, body) { $0.append(route) }
      #expect(parse(24, body) == .route(route, removed: false))
    }
  }

  // ip -6 route replace fd02::/64 via fd02:: dev flannel.1 onlink
  @Test func ipv6RouteHasNoDefaultMetric() throws {
    let body = """
      0a400000fe03000104000000 14000100fd020000000000000000000000000000 14000500fd020000000000000000000000000000
      0800040004000000
      """
    var route = Route(
      destination: try #require(IPPrefix("fd02::/64")), gateway: IPAddress("fd02::"), device: 4, isOnlink: true)
    check(24, 0x500, body) { $0.set(route) }
    route.metric = 0  // the kernel always tells it; a request does not
    #expect(parse(24, body) == .route(route, removed: false))
  }

  // Removal names what identifies the route: any scope, the metric if there is one.
  @Test func routeRemoval() throws {
    let four = Route(destination: try #require(IPPrefix("10.3.0.0/24")), device: 3, scope: 253, mtu: 1400)
    check(25, 0, "02180000fe03ff0100000000 080001000a030000 0800040003000000") { $0.remove(four) }
    let six = Route(destination: try #require(IPPrefix("fd02::/64")), device: 4)
    let body = """
      0a400000fe03000100000000 14000100fd020000000000000000000000000000 0800060000040000 0800040004000000
      """
    check(25, 0, body) { $0.remove(six) }
  }

  // ip nexthop replace id 7 via 10.1.0.0 dev flannel.1 onlink
  @Test func nexthop() throws {
    let body = "0200000004000000 0800010007000000 080006000a010000 0800050004000000"
    let hop = Nexthop(id: 7, gateway: IPAddress("10.1.0.0"), device: 4, isOnlink: true, origin: 0)
    check(104, 0x500, body) { $0.set(hop) }
    #expect(parse(104, body) == .nexthop(hop, removed: false))
    check(105, 0, "0000000000000000 0800010007000000") { $0.removeNexthop(id: 7) }
  }

  @Test func labels() throws {
    var batch = RouteBatch()
    batch.createLink(Link(name: "flannel.1", kind: .veth))
    batch.setLink(index: 4, up: true)
    batch.deleteLink(index: 4)
    batch.setBridgePort(index: 4, BridgePort())
    batch.addBridgeVLANs(index: 4, [BridgeVLAN(ids: 1...1)])
    batch.set(InterfaceAddress(device: 4, prefix: try #require(IPPrefix("10.0.0.1/24"))))
    batch.set(FDBEntry(device: 4, mac: mac, remote: IPAddress("172.31.77.12")))
    batch.remove(Route(destination: try #require(IPPrefix("10.1.0.0/24")), table: 1000, nexthop: 7))
    batch.removeNexthop(id: 7)
    #expect(
      (0...batch.count).map { batch.label(of: $0) } == [
        "create link flannel.1", "set link 4", "delete link 4", "set bridge port options of interface 4",
        "add VLANs of interface 4", "set address 10.0.0.1/24 on interface 4",
        "set FDB entry aa:00:00:00:00:01 dst 172.31.77.12 on interface 4",
        "remove route 10.1.0.0/24 nhid 7 table 1000", "remove next hop 7", "request 9",
      ])
  }
}
