import JSON
import NetTypes
import Netlink
import Syscalls
import TestSupport
import Testing

/// Addresses and routes against the real kernel; the oracle is `ip -j`.
@Suite(.needsRoot) struct NetlinkRouteTests {
  let ns: TestNamespace
  init() throws {
    ns = try TestNamespace("route")
    try ns.ipBatch(
      """
      link add eth0 type veth peer name far0
      link set eth0 up
      link set far0 up

      """)
  }

  private func prefix(_ text: String) throws -> IPPrefix { try #require(IPPrefix(text)) }
  private func address(_ text: String) throws -> IPAddress { try #require(IPAddress(text)) }

  @Test func setsAndRemovesAddresses() throws {
    var socket = try ns.socket()
    let device = try #require(try socket.link(named: "eth0")).index
    let four = InterfaceAddress(
      device: device, prefix: try prefix("10.244.3.1/24"), broadcast: try address("10.244.3.255"))
    let host = InterfaceAddress(device: device, prefix: try prefix("10.244.3.0/32"))
    let six = InterfaceAddress(device: device, prefix: try prefix("fd00:3::1/64"))
    var batch = RouteBatch()
    batch.set(four)
    batch.set(host)
    batch.set(six, noDAD: true)
    batch.set(four)
    try socket.apply(batch)

    #expect(Set(try socket.addresses(.ipv4, device: device).map(\.id)) == [four.id, host.id])
    #expect(try socket.addresses(.ipv4, device: device).first { $0.id == four.id } == four)
    let read = try #require(try socket.addresses(device: device).first { $0.id == six.id })
    #expect(read == six && read.isPermanent && !read.isTentative)
    let oracle = try #require(try ns.ip("addr", "show", "dev", "eth0").arrayValue?.first?["addr_info"]?.arrayValue)
    let first = oracle.first { $0["local"] == "10.244.3.1" }
    #expect(first?["prefixlen"]?.intValue == 24 && first?["broadcast"] == "10.244.3.255")
    #expect(oracle.contains { $0["local"] == "fd00:3::1" && $0["nodad"] == true })

    batch.clear()
    batch.remove(four)
    batch.remove(host)
    batch.remove(six)
    try socket.apply(batch)
    #expect(try socket.addresses(.ipv4, device: device).isEmpty)
    #expect(try !socket.addresses(.ipv6, device: device).contains { $0.id == six.id })
    #expect(try socket.addresses(device: 9999).isEmpty)
    #expect(try socket.addresses().contains { $0.prefix.address.isLoopback })
  }

  @Test func setsRoutesOfEveryForm() throws {
    try ns.ipBatch("addr add 172.31.77.11/24 dev eth0\naddr add fd77::11/64 dev eth0 nodad\n")
    var socket = try ns.socket()
    let device = try #require(try socket.link(named: "eth0")).index
    let routes = [
      Route(destination: try prefix("10.1.0.0/24"), gateway: try address("172.31.77.12"), device: device),
      Route(
        destination: try prefix("10.2.0.0/24"), gateway: try address("10.2.0.0"), device: device, isOnlink: true),
      Route(destination: try prefix("10.3.0.0/24"), device: device, source: try address("172.31.77.11"), scope: 253),
      Route(destination: try prefix("10.4.0.0/16"), metric: 77, kind: .blackhole),
      Route(
        destination: try prefix("10.5.0.0/24"), gateway: try address("172.31.77.12"), device: device, table: 1000,
        origin: 4, mtu: 1400),
      Route(destination: try prefix("0.0.0.0/0"), gateway: try address("172.31.77.1"), device: device),
      Route(destination: try prefix("10.6.0.0/24"), gateway: try address("fd77::12"), device: device),
    ]
    let six = [
      Route(destination: try prefix("fd01::/64"), gateway: try address("fd77::12"), device: device),
      Route(
        destination: try prefix("fd02::/64"), gateway: try address("fd02::"), device: device, isOnlink: true,
        metric: 5),
      Route(destination: try prefix("::/0"), gateway: try address("fe80::1"), device: device),
      Route(destination: try prefix("fd03::/64"), device: device, origin: 17),
    ]
    var batch = RouteBatch()
    for r in routes + six { batch.set(r) }
    try socket.apply(batch)

    for r in routes {
      #expect(try socket.routes(.ipv4, table: r.table).filter { $0.id == r.id } == [r], "\(r.destination)")
    }
    for r in six { #expect(try socket.routes(.ipv6).filter { $0.id == r.id } == [r], "\(r.destination)") }
    let oracle = try #require(try ns.ip("route", "show", "table", "all").arrayValue)
    func shown(_ destination: String) -> JSONValue? { oracle.first { $0["dst"]?.stringValue == destination } }
    #expect(shown("10.1.0.0/24")?["gateway"] == "172.31.77.12" && shown("10.1.0.0/24")?["dev"] == "eth0")
    #expect(shown("10.2.0.0/24")?["flags"] == ["onlink"])
    #expect(shown("10.3.0.0/24")?["scope"] == "link" && shown("10.3.0.0/24")?["prefsrc"] == "172.31.77.11")
    #expect(shown("10.4.0.0/16")?["type"] == "blackhole" && shown("10.4.0.0/16")?["metric"]?.intValue == 77)
    #expect(shown("10.5.0.0/24")?["table"] == "1000" && shown("10.5.0.0/24")?["protocol"] == "static")
    #expect(shown("10.6.0.0/24")?["via"]?["host"] == "fd77::12")
    #expect(shown("default")?["gateway"] == "172.31.77.1")

    #expect(try socket.routes(.ipv4, device: device).allSatisfy { $0.device == device && $0.table == 254 })
    #expect(try socket.routes(.ipv4, table: 0, device: device).contains { $0.table == 1000 })
    #expect(try socket.routes(.ipv4, table: 4711).isEmpty)
    #expect(try socket.routes(.ipv6, table: 4711).isEmpty)
    #expect(try socket.routes(.ipv4, device: 9999).isEmpty)

    #expect(try socket.route(to: address("10.1.0.9"))?.gateway == address("172.31.77.12"))
    #expect(try socket.route(to: address("fd01::9"))?.gateway == address("fd77::12"))
    #expect(try socket.route(to: address("10.4.1.1")) == nil, "black hole")

    batch.clear()
    for r in routes + six { batch.remove(r) }
    try socket.apply(batch)
    for r in routes { #expect(try !socket.routes(.ipv4, table: r.table).contains { $0.id == r.id }) }
    for r in six { #expect(try !socket.routes(.ipv6).contains { $0.id == r.id }) }
    #expect(try socket.route(to: address("203.0.113.1")) == nil)
    #expect(try socket.route(to: address("2001:db8::1")) == nil)
  }

  @Test func replacesAppendsAndReadsMultipath() throws {
    try ns.ipBatch("addr add 172.31.77.11/24 dev eth0\naddr add fd77::11/64 dev eth0 nodad\n")
    var socket = try ns.socket()
    let device = try #require(try socket.link(named: "eth0")).index
    let a = Route(destination: try prefix("10.1.0.0/24"), gateway: try address("172.31.77.12"), device: device)
    var b = a
    b.gateway = try address("172.31.77.13")
    var c = a
    c.gateway = try address("172.31.77.14")
    var batch = RouteBatch()
    batch.set(a)
    batch.set(b)
    try socket.apply(batch)
    #expect(try socket.routes(.ipv4).filter { $0.id == a.id } == [b], "replaced")
    batch.clear()
    batch.append(c)
    try socket.apply(batch)
    #expect(try socket.routes(.ipv4).filter { $0.id == a.id } == [b, c])
    batch.clear()
    batch.remove(b)
    try socket.apply(batch)
    #expect(try socket.routes(.ipv4).filter { $0.id == a.id } == [c], "the one with this gateway")

    try ns.ip("route", "add", "10.9.0.0/24", "nexthop", "via", "172.31.77.2", "nexthop", "via", "172.31.77.3")
    let destination = try prefix("10.9.0.0/24")
    let first = try address("172.31.77.2")
    let many = try #require(try socket.routes(.ipv4).first { $0.destination == destination })
    #expect(many.extraHops == 1 && many.gateway == first && many.device == device)
    batch.clear()
    batch.remove(many)
    try socket.apply(batch)
    #expect(try !socket.routes(.ipv4).contains { $0.id == many.id })
  }

  @Test func usesNexthopObjects() throws {
    var socket = try ns.socket()
    let device = try #require(try socket.link(named: "eth0")).index
    let hop = Nexthop(id: 7, gateway: try address("10.1.0.0"), device: device, isOnlink: true, origin: 3)
    let six = Nexthop(id: 8, gateway: try address("fd01::"), device: device, isOnlink: true, origin: 17)
    let route = Route(destination: try prefix("10.1.0.0/24"), device: device, nexthop: 7)
    let route6 = Route(destination: try prefix("fd01::/64"), device: device, nexthop: 8)
    var batch = RouteBatch()
    batch.set(hop)
    batch.set(six)
    batch.set(route)
    batch.set(route6)
    batch.set(hop)
    try socket.apply(batch)
    #expect(try socket.nexthops() == [hop, six])
    #expect(try socket.routes(.ipv4, device: device).filter { $0.id == route.id } == [route])
    #expect(try socket.routes(.ipv6, device: device).filter { $0.id == route6.id } == [route6])
    let oracle = try ns.ip("nexthop").arrayValue?.first { $0["id"]?.intValue == 7 }
    #expect(oracle?["gateway"] == "10.1.0.0" && oracle?["dev"] == "eth0" && oracle?["flags"] == ["onlink"])
    let shown = try ns.ip("route").arrayValue?.first { $0["dst"] == "10.1.0.0/24" }
    #expect(shown?["nhid"]?.intValue == 7 && shown?["gateway"] == "10.1.0.0")

    batch.clear()
    batch.remove(route6)
    batch.removeNexthop(id: 7)
    try socket.apply(batch)
    #expect(try socket.nexthops() == [six])
    #expect(try !socket.routes(.ipv4).contains { $0.id == route.id }, "goes with its next hop")
    #expect(try !socket.routes(.ipv6).contains { $0.id == route6.id })
  }

  @Test func dumpsFiveThousandRoutes() throws {
    var socket = try ns.socket()
    let device = try #require(try socket.link(named: "eth0")).index
    var batch = RouteBatch()
    var wanted: Set<Route.ID> = []
    for i in 0..<5000 {
      let base = IPAddress(.ipv4, 0x0a00_0000 + UInt128(i) << 8)
      let route = Route(destination: IPPrefix(base: base, length: 24), device: device, scope: 253)
      wanted.insert(route.id)
      batch.set(route)
    }
    #expect(try socket.send(batch).isEmpty)
    #expect(Set(try socket.routes(.ipv4, device: device).map(\.id)) == wanted)
    #expect(try ns.ip("route").arrayValue?.count == 5000)
  }
}
