import Glibc
import NetTypes
import Netlink
import Syscalls
import TestSupport
import Testing

/// Events of the real kernel, caused by `ip` and `bridge`.
@Suite(.needsRoot) struct NetlinkMonitorTests {
  /// Reads until `isWanted` accepts an event, or 20 seconds have passed.
  private func wait(
    _ monitor: inout RouteMonitor, for isWanted: (RouteEvent) -> Bool
  ) throws -> Bool {
    let end = Clock.monotonic() + 20_000_000_000
    var found = false
    while !found, Clock.monotonic() < end {
      var set = [pollfd(fd: monitor.descriptor, events: Int16(POLLIN), revents: 0)]
      _ = poll(&set, 1, 500)
      try monitor.read { if isWanted($0) { found = true } }
    }
    return found
  }

  @Test func seesEveryKindOfChange() throws {
    let ns = try TestNamespace("mon")
    var monitor = try RouteMonitor(groups: Set(RouteMonitor.Group.allCases), in: ns.open())
    var events = 0
    try monitor.read { _ in events += 1 }

    try ns.ip("link", "add", "flannel.1", "type", "vxlan", "id", "7", "local", "172.31.77.11", "dstport", "8472")
    var device: Int32 = 0
    #expect(
      try wait(&monitor) {
        guard case .link(let l, removed: false) = $0, l.name == "flannel.1" else { return false }
        device = l.index
        return if case .vxlan(let o) = l.kind { o.vni == 7 } else { false }
      })
    try ns.ip("link", "set", "flannel.1", "up")
    #expect(
      try wait(&monitor) { if case .link(let l, removed: false) = $0 { l.index == device && l.isUp } else { false } })

    let address = InterfaceAddress(device: device, prefix: try #require(IPPrefix("10.244.1.0/32")))
    try ns.ip("addr", "add", "10.244.1.0/32", "dev", "flannel.1")
    #expect(try wait(&monitor) { $0 == .address(address, removed: false) })
    let six = try #require(IPPrefix("fd01::1/64"))
    try ns.ip("addr", "add", "fd01::1/64", "dev", "flannel.1", "nodad")
    #expect(try wait(&monitor) { if case .address(let a, removed: false) = $0 { a.prefix == six } else { false } })

    let mac = try #require(MACAddress("aa:00:00:00:00:01"))
    let neighbour = Neighbour(device: device, address: try #require(IPAddress("10.244.2.0")), mac: mac)
    try ns.ip("neigh", "replace", "10.244.2.0", "lladdr", mac.description, "dev", "flannel.1", "nud", "permanent")
    #expect(try wait(&monitor) { $0 == .neighbour(neighbour, removed: false) })

    let entry = FDBEntry(device: device, mac: mac, remote: IPAddress("172.31.77.12"))
    try ns.bridge("fdb", "append", mac.description, "dev", "flannel.1", "dst", "172.31.77.12")
    #expect(try wait(&monitor) { if case .fdb(let e, removed: false) = $0 { e.id == entry.id } else { false } })
    try ns.bridge("fdb", "del", mac.description, "dev", "flannel.1", "dst", "172.31.77.12")
    #expect(try wait(&monitor) { if case .fdb(let e, removed: true) = $0 { e.id == entry.id } else { false } })

    let route = Route(
      destination: try #require(IPPrefix("10.244.2.0/24")), gateway: IPAddress("10.244.2.0"), device: device,
      isOnlink: true)
    try ns.ip("route", "add", "10.244.2.0/24", "via", "10.244.2.0", "dev", "flannel.1", "onlink")
    #expect(try wait(&monitor) { $0 == .route(route, removed: false) })
    try ns.ip("route", "del", "10.244.2.0/24")
    #expect(try wait(&monitor) { $0 == .route(route, removed: true) })
    let sixRoute = try #require(IPPrefix("fd02::/64"))
    try ns.ip("-6", "route", "add", "fd02::/64", "dev", "flannel.1")
    #expect(
      try wait(&monitor) { if case .route(let r, removed: false) = $0 { r.destination == sixRoute } else { false } })

    try ns.ip("nexthop", "add", "id", "9", "via", "10.244.9.0", "dev", "flannel.1", "onlink")
    #expect(try wait(&monitor) { if case .nexthop(let n, removed: false) = $0 { n.id == 9 } else { false } })
    try ns.ip("nexthop", "del", "id", "9")
    #expect(try wait(&monitor) { if case .nexthop(let n, removed: true) = $0 { n.id == 9 } else { false } })

    try ns.ip("link", "del", "flannel.1")
    #expect(try wait(&monitor) { if case .link(let l, removed: true) = $0 { l.index == device } else { false } })
  }

  @Test func portLeavingABridgeIsNotADeletedLink() throws {
    let ns = try TestNamespace("monport")
    try ns.ipBatch("link add br0 type bridge\nlink add v0 type veth peer name v1\nlink set v0 master br0\n")
    var monitor = try RouteMonitor(groups: [.link], in: ns.open())
    try ns.ip("link", "set", "v0", "nomaster")
    var removals = 0
    #expect(
      try wait(&monitor) {
        if case .link(_, removed: true) = $0 { removals += 1 }
        return if case .link(let l, removed: false) = $0 { l.name == "v0" && l.master == 0 } else { false }
      })
    try monitor.read { if case .link(_, removed: true) = $0 { removals += 1 } }
    #expect(removals == 0)
  }

  @Test func hearsOnlyItsGroupsAndItsNamespace() throws {
    let ns = try TestNamespace("monsel")
    let other = try TestNamespace("monoth")
    var monitor = try RouteMonitor(groups: [.ipv4Address], in: ns.open())
    try other.ip("addr", "add", "10.1.1.1/32", "dev", "lo")
    try ns.ip("link", "add", "br0", "type", "bridge")
    try ns.ip("addr", "add", "fd01::1/64", "dev", "br0")
    try ns.ip("addr", "add", "10.2.2.2/32", "dev", "br0")
    var seen: [RouteEvent] = []
    _ = try wait(&monitor) {
      seen.append($0)
      return true
    }
    #expect(seen.count == 1)
    guard case .address(let a, removed: false) = seen.first else {
      Issue.record("\(seen)")
      return
    }
    #expect(a.prefix.description == "10.2.2.2/32")
  }

  @Test func reportsOverflow() throws {
    let ns = try TestNamespace("monover")
    try ns.ip("link", "add", "br0", "type", "bridge")
    var socket = try ns.socket()
    let device = try #require(try socket.link(named: "br0")).index
    var monitor = try RouteMonitor(groups: [.neighbour], in: ns.open(), receiveBuffer: 65_536)
    var batch = RouteBatch()
    for i in 0..<5000 {
      let address = IPAddress(.ipv4, 0x0a00_0000 + UInt128(i))
      batch.set(Neighbour(device: device, address: address, mac: MACAddress(UInt64(i))))
    }
    #expect(try socket.send(batch).isEmpty)
    var overflows = 0
    var others = 0
    try monitor.read { if $0 == .overflow { overflows += 1 } else { others += 1 } }
    #expect(overflows >= 1 && others > 0 && others < 5000)

    let neighbour = Neighbour(device: device, address: IPAddress(.ipv4, 0x0b00_0000), mac: MACAddress(1))
    batch.clear()
    batch.set(neighbour)
    try socket.apply(batch)
    #expect(try wait(&monitor) { $0 == .neighbour(neighbour, removed: false) }, "goes on after an overflow")
  }
}
