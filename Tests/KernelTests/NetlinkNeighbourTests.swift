import JSON
import NetTypes
import Netlink
import Syscalls
import TestSupport
import Testing

/// Neighbours and FDB entries against the real kernel; the oracles are `ip -j neigh` and `bridge -j fdb`.
@Suite(.needsRoot) struct NetlinkNeighbourTests {
  let ns: TestNamespace
  init() throws {
    ns = try TestNamespace("neigh")
    try ns.ipBatch(
      """
      link add flannel.1 type vxlan id 1 local 172.31.77.11 dstport 8472 nolearning
      link set flannel.1 up
      link add other.1 type vxlan id 2 local 172.31.77.11 dstport 8473 nolearning
      link set other.1 up

      """)
  }

  private func mac(_ i: Int) -> MACAddress { MACAddress(0xaa00_0000_0000 + UInt64(i)) }

  @Test func setsAndRemovesNeighbours() throws {
    var socket = try ns.socket()
    let device = try #require(try socket.link(named: "flannel.1")).index
    let other = try #require(try socket.link(named: "other.1")).index
    let four = Neighbour(device: device, address: try #require(IPAddress("10.244.5.0")), mac: mac(1))
    let six = Neighbour(device: device, address: try #require(IPAddress("fd00:5::")), mac: mac(2))
    let elsewhere = Neighbour(device: other, address: four.address, mac: mac(3))
    var stale = four
    stale.state = 0x04
    stale.mac = mac(9)
    var batch = RouteBatch()
    batch.set(stale)
    batch.set(six)
    batch.set(elsewhere)
    try socket.apply(batch)
    #expect(try socket.neighbours(.ipv4, device: device).filter { !$0.address.isMulticast } == [stale])
    batch.clear()
    batch.set(four)
    try socket.apply(batch)
    #expect(try socket.neighbours(.ipv4, device: device).filter { !$0.address.isMulticast } == [four], "replaced")
    #expect(try socket.neighbours(.ipv6, device: device).filter { $0.isPermanent } == [six])
    #expect(Set(try socket.neighbours(.ipv4, device: 0).filter(\.isPermanent).map(\.id)) == [four.id, elsewhere.id])
    let oracle = try ns.ip("neigh", "show", "dev", "flannel.1", "nud", "permanent").arrayValue
    let first = oracle?.first { $0["dst"] == "10.244.5.0" }
    #expect(first?["lladdr"]?.stringValue == mac(1).description && first?["state"] == ["PERMANENT"])
    batch.clear()
    batch.remove(four)
    batch.remove(six)
    try socket.apply(batch)
    #expect(try !socket.neighbours(.ipv4, device: device).contains { $0.id == four.id })
    #expect(try !socket.neighbours(.ipv6, device: device).contains { $0.id == six.id })
  }

  @Test func setsAndRemovesFDBEntries() throws {
    var socket = try ns.socket()
    let device = try #require(try socket.link(named: "flannel.1")).index
    let other = try #require(try socket.link(named: "other.1")).index
    let a = FDBEntry(device: device, mac: mac(1), remote: IPAddress("172.31.77.12"))
    var moved = a
    moved.remote = IPAddress("172.31.77.13")
    let flood1 = FDBEntry(device: device, mac: MACAddress(0), remote: IPAddress("172.31.77.14"))
    let flood2 = FDBEntry(device: device, mac: MACAddress(0), remote: IPAddress("172.31.77.15"))
    var batch = RouteBatch()
    batch.set(a)
    batch.set(FDBEntry(device: other, mac: mac(7), remote: IPAddress("172.31.77.12")))
    batch.set(moved)
    batch.set(flood1)
    batch.set(flood2)
    batch.set(flood2)
    try socket.apply(batch)
    #expect(Set(try socket.fdb(device: device).map(\.id)) == [moved.id, flood1.id, flood2.id])
    #expect(try socket.fdb(device: device).first { $0.id == moved.id } == moved)
    #expect(try socket.fdb(device: other).count == 1)
    #expect(try socket.fdb(device: 9999).isEmpty)
    let oracle = try #require(try ns.bridge("fdb", "show", "dev", "flannel.1").arrayValue)
    #expect(oracle.count == 3)
    #expect(oracle.contains { $0["mac"]?.stringValue == mac(1).description && $0["dst"] == "172.31.77.13" })
    batch.clear()
    batch.remove(moved)
    batch.remove(flood1)
    try socket.apply(batch)
    #expect(try socket.fdb(device: device).map(\.id) == [flood2.id])
  }

  @Test func readsFDBOverIPv6() throws {
    try ns.ipBatch("link add v6.1 type vxlan id 3 local fd77::11 dstport 8474 nolearning\nlink set v6.1 up\n")
    var socket = try ns.socket()
    let device = try #require(try socket.link(named: "v6.1")).index
    let entry = FDBEntry(device: device, mac: mac(1), remote: IPAddress("fd77::12"))
    var batch = RouteBatch()
    batch.set(entry)
    try socket.apply(batch)
    #expect(try socket.fdb(device: device) == [entry])
    #expect(try ns.bridge("fdb", "show", "dev", "v6.1").arrayValue?.first?["dst"] == "fd77::12")
  }

  @Test func namesTheBadRequestInABatch() throws {
    var socket = try ns.socket()
    let device = try #require(try socket.link(named: "flannel.1")).index
    var batch = RouteBatch()
    for i in 0..<5000 {
      // Interface 9999 does not exist; the last one is in the last datagram.
      let bad = i == 2500 || i == 4999
      let address = IPAddress(.ipv4, 0x0a00_0000 + UInt128(i))
      batch.set(Neighbour(device: bad ? 9999 : device, address: address, mac: mac(i)))
    }
    let destination = try #require(IPPrefix("10.77.0.0/16"))
    batch.set(Route(destination: destination, gateway: IPAddress("203.0.113.1"), device: device))
    let failures = try socket.send(batch)
    #expect(failures.map(\.index) == [2500, 4999, 5000])
    #expect(failures.first?.errno == .noDevice)
    #expect(failures.last?.message == "Nexthop has invalid gateway", "the kernel's own text")
    #expect(
      try socket.neighbours(.ipv4, device: device).filter(\.isPermanent).count == 4998, "the others are carried out")
    let last = try #require(failures.last)
    #expect(
      batch.error(last).description
        == "set route 10.77.0.0/16 via 203.0.113.1 on interface \(device): network is unreachable "
        + "(kernel: Nexthop has invalid gateway)")
    let first = #expect(throws: NetlinkError.self) { try socket.apply(batch) }
    #expect(first?.operation == "set neighbour" && first?.errno == .noDevice)
    #expect(batch.label(of: 2500) == "set neighbour 10.0.9.196 on interface 9999")
    #expect(try socket.links().count == 3, "the socket goes on working")
  }

  @Test func everyRequestOfALargeBatchMayFail() throws {
    var socket = try ns.socket()
    var batch = RouteBatch()
    for i in 0..<15_000 {
      batch.set(Neighbour(device: 9999, address: IPAddress(.ipv4, 0x0a00_0000 + UInt128(i)), mac: mac(i)))
    }
    #expect(try socket.send(batch).map(\.index) == Array(0..<15_000))
    let empty = RouteBatch()
    #expect(try socket.send(empty).isEmpty)
  }

  @Test func handlesFiveThousandPeers() throws {
    var socket = try ns.socket()
    let device = try #require(try socket.link(named: "flannel.1")).index
    var batch = RouteBatch()
    for i in 0..<5000 {
      let address = IPAddress(.ipv4, 0x0af4_0000 + UInt128(i) << 8)
      batch.set(Neighbour(device: device, address: address, mac: mac(i)))
      batch.set(FDBEntry(device: device, mac: mac(i), remote: IPAddress(.ipv4, 0xac1f_0000 + UInt128(i))))
      batch.set(
        Nexthop(id: UInt32(i + 1), gateway: address, device: device, isOnlink: true, origin: 3))
      batch.set(Route(destination: IPPrefix(base: address, length: 24), device: device, nexthop: UInt32(i + 1)))
    }
    let start = Clock.processCPU()
    #expect(try socket.send(batch).isEmpty)
    let neighbours = try socket.neighbours(.ipv4, device: device)
    #expect(neighbours.filter(\.isPermanent).count == 5000)
    #expect(try socket.fdb(device: device).count == 5000)
    #expect(try socket.routes(.ipv4, device: device).count == 5000)
    #expect(try socket.nexthops().count == 5000)
    #expect(Clock.processCPU() - start < 20_000_000_000)
  }
}
