import HostNetwork
import NetTypes
import Netlink
import Testing

@Suite struct DeviceDecisionTests {
  let mac = MACAddress(0x0a1b2c3d4e5f)

  func device(_ change: (inout Link, inout VXLANOptions) -> Void = { _, _ in }) -> Link {
    var o = VXLANOptions(vni: 1, underlay: 2, local: IPAddress("172.31.77.11"))
    var l = Link(name: "flannel.1", index: 3, mac: mac, mtu: 1450)
    change(&l, &o)
    l.kind = .vxlan(o)
    return l
  }

  @Test func adoptsWhatFlannelLeft() {
    // The kernel reports the default port although none was asked for.
    #expect(DeviceDecision(desired: device(), observed: device { $1.port = 8472 }) == .keep)
    #expect(DeviceDecision(desired: device { $1.port = 8472 }, observed: device()) == .keep)
    #expect(DeviceDecision(desired: device(), observed: nil) == .create)
  }

  @Test func adjustsInPlace() {
    #expect(
      DeviceDecision(desired: device(), observed: device { l, _ in l.mtu = 1400 }) == .adjust(mtu: 1450, mac: nil))
    let other = MACAddress(0x020000000001)
    #expect(
      DeviceDecision(desired: device(), observed: device { l, _ in l.mac = other }) == .adjust(mtu: nil, mac: mac))
    #expect(DeviceDecision(desired: device { l, _ in l.mac = nil }, observed: device()) == .keep)
  }

  @Test func recreatesWhenAnOptionCannotBeChanged() {
    let changes: [(inout Link, inout VXLANOptions) -> Void] = [
      { $1.vni = 7 }, { $1.underlay = 9 }, { $1.local = IPAddress("172.31.77.99") }, { $1.gbp = true },
      { $1.learning = true }, { $1.l2miss = true }, { $1.group = IPAddress("239.0.0.1") },
    ]
    for c in changes {
      guard case .recreate(let reason) = DeviceDecision(desired: device(), observed: device(c)) else {
        Issue.record("not created again")
        continue
      }
      #expect(!reason.isEmpty)
    }
    let a = device { $1.port = 4789 }
    let b = device { $1.port = 8472 }
    #expect(DeviceDecision(desired: a, observed: b) == .recreate(because: "port is 8472 instead of 4789"))
  }

  @Test func leavesADeviceOfAnotherKindAlone() {
    var foreign = device()
    foreign.kind = .bridge(vlanFiltering: nil)
    guard case .conflict(let text) = DeviceDecision(desired: device(), observed: foreign) else {
      Issue.record("a bridge was taken for ours")
      return
    }
    #expect(text.contains("flannel.1") && text.contains("bridge"))
  }
}

@Suite struct NetworkChangesTests {
  @Test func randomStatesConverge() {
    var g = SystemRandomNumberGenerator()
    func plan() -> NetworkPlan {
      var p = NetworkPlan()
      for i in 0..<UInt128.random(in: 0...12, using: &g) {
        let subnet = IPPrefix(base: IPAddress(.ipv4, 0x0af4_0000 + i << 8), length: 24)
        let m = MACAddress(UInt64.random(in: 1...4, using: &g))
        p.neighbours.append(Neighbour(device: 3, address: subnet.base, mac: m))
        p.fdb.append(FDBEntry(device: 3, mac: MACAddress(UInt64(i)), remote: IPAddress(.ipv4, 0xac1f_0000 + i)))
        p.routes.append(
          Route(destination: subnet, gateway: Bool.random(using: &g) ? subnet.base : nil, device: 3, isOnlink: true))
      }
      return p
    }
    for _ in 0..<200 {
      let a = plan()
      let b = plan()
      var state = NetworkState()
      state.neighbours = a.neighbours
      state.fdb = a.fdb
      state.routes = a.routes
      let c = NetworkChanges(plan: b, state: state)
      func applied<T>(_ objects: [T], _ c: Changes<T>) -> [T] {
        objects.filter { o in !c.removals.contains(o) && !c.updates.contains { $0.new.id == o.id } }
          + c.updates.map(\.new)
      }
      state.neighbours = applied(state.neighbours, c.neighbours)
      state.fdb = applied(state.fdb, c.fdb)
      state.routes = applied(state.routes, c.routes)
      #expect(NetworkChanges(plan: b, state: state).isEmpty)
    }
  }

  @Test func ownershipIsNarrow() throws {
    let o = Ownership(devices: [3], networks: [try #require(IPPrefix("10.244.0.0/16"))])
    let inside = try #require(IPPrefix("10.244.1.0/24"))
    #expect(o.owns(Route(destination: inside, gateway: inside.base, device: 3, isOnlink: true)))
    #expect(!o.owns(Route(destination: inside, device: 5)), "the pod bridge's")
    #expect(!o.owns(Route(destination: inside, device: 3, origin: RouteOrigin.kernel)))
    #expect(!o.owns(Route(destination: inside, device: 3, origin: 4)), "an administrator's static route")
    #expect(!o.owns(Route(destination: try #require(IPPrefix("192.168.0.0/24")), device: 3)))
    #expect(!o.owns(Route(destination: inside, device: 3, table: 100)))
    #expect(o.owns(Route(destination: inside, device: 2, origin: RouteOrigin.weft)))
    #expect(!o.owns(Neighbour(device: 3, address: inside.base, mac: nil, state: 0x40)), "not permanent")
    #expect(!o.owns(FDBEntry(device: 3, mac: MACAddress(0), remote: IPAddress("239.1.1.1"))))
    #expect(o.owns(InterfaceAddress(device: 3, prefix: try #require(IPPrefix("fd00::1/128")))))
    #expect(!o.owns(InterfaceAddress(device: 3, prefix: try #require(IPPrefix("fe80::1/64")))))
    #expect(!o.owns(InterfaceAddress(device: 3, prefix: try #require(IPPrefix("192.168.7.1/24")))))
  }
}

@Suite struct RelevanceTests {
  @Test func onlyContradictionsMatter() throws {
    let subnet = try #require(IPPrefix("10.244.1.0/24"))
    let route = Route(destination: subnet, gateway: subnet.base, device: 3, isOnlink: true)
    let neighbour = Neighbour(device: 3, address: subnet.base, mac: MACAddress(1))
    let entry = FDBEntry(device: 3, mac: MACAddress(1), remote: IPAddress("172.31.77.12"))
    var plan = NetworkPlan()
    plan.routes = [route]
    plan.neighbours = [neighbour]
    plan.fdb = [entry]
    let device = Link(name: "flannel.1", index: 3, mtu: 1450, flags: 1)
    let eth = Link(name: "eth0", index: 2, mtu: 1500, flags: 1)
    var r = Relevance(
      plan: plan, ownership: Ownership(devices: [3], networks: [try #require(IPPrefix("10.244.0.0/16"))]),
      deviceNames: ["flannel.1"], underlay: "eth0", links: [device, eth])
    func concerns(_ e: RouteEvent) -> Bool { r.concerns(e) }
    // Echoes of our own changes.
    #expect(!concerns(.route(route, removed: false)))
    #expect(!concerns(.neighbour(neighbour, removed: false)))
    #expect(!concerns(.fdb(entry, removed: false)))
    // Removals and foreign values.
    #expect(concerns(.route(route, removed: true)))
    #expect(concerns(.neighbour(neighbour, removed: true)))
    #expect(concerns(.fdb(entry, removed: true)))
    #expect(concerns(.neighbour(Neighbour(device: 3, address: subnet.base, mac: MACAddress(9)), removed: false)))
    #expect(concerns(.fdb(FDBEntry(device: 3, mac: MACAddress(8), remote: IPAddress("1.2.3.4")), removed: false)))
    // Other people's business.
    #expect(!concerns(.neighbour(Neighbour(device: 2, address: subnet.base, mac: nil, state: 2), removed: true)))
    #expect(!concerns(.route(Route(destination: try #require(IPPrefix("10.9.0.0/16")), device: 2), removed: true)))
    #expect(!concerns(.link(Link(name: "veth1", index: 9), removed: true)))
    // Links: statistics do not matter, state does.
    #expect(!concerns(.link(device, removed: false)))
    var changed = device
    changed.mtu = 1400
    #expect(concerns(.link(changed, removed: false)))
    #expect(!concerns(.link(changed, removed: false)))
    #expect(concerns(.link(device, removed: true)))
    var down = eth
    down.flags = 0
    #expect(concerns(.link(down, removed: false)))
    #expect(concerns(.overflow))
  }
}
