import Backends
import JSON
import NetTypes
import Testing

private func prefix(_ s: String) throws -> IPPrefix { try #require(IPPrefix(s)) }
private func address(_ s: String) throws -> IPAddress { try #require(IPAddress(s)) }
private func mac(_ s: String) throws -> MACAddress { try #require(MACAddress(s)) }

private func peer(_ subnet: String, _ ip: String, _ m: String?) throws -> Peer {
  let p = try prefix(subnet)
  let f = p.family
  return Peer(
    subnets: PerFamily { $0 == f ? p : nil }, publicIPs: PerFamily { $0 == f ? IPAddress(ip) : nil },
    macs: PerFamily { $0 == f ? m.flatMap { MACAddress($0) } : nil })
}

@Suite struct VXLANPlannerTests {
  let planner: VXLANPlanner
  let context: VXLANPlanner.Context

  init() throws {
    planner = VXLANPlanner(
      configuration: VXLANConfiguration(),
      networks: PerFamily(ipv4: try prefix("10.244.0.0/16"), ipv6: try prefix("fd00:10:244::/56")))
    context = VXLANPlanner.Context(
      own: PerFamily(ipv4: try prefix("10.244.99.0/24"), ipv6: try prefix("fd00:10:244:11::/64")),
      ownPublicIPs: PerFamily(ipv4: try address("172.31.77.11"), ipv6: try address("fd77::11")),
      devices: PerFamily(ipv4: 3, ipv6: 4))
  }

  /// The state that flanneld leaves for one dual-stack peer, as in the recorded kernel state.
  @Test func dualStackPeer() throws {
    let p = Peer(
      subnets: PerFamily(ipv4: try prefix("10.244.101.0/24"), ipv6: try prefix("fd00:10:244:59::/64")),
      publicIPs: PerFamily(ipv4: try address("172.31.77.12"), ipv6: try address("fd77::12")),
      macs: PerFamily(ipv4: try mac("76:ea:6b:ad:b3:f1"), ipv6: try mac("02:06:41:77:52:46")))
    let plan = planner.plan(peers: [p], context)
    #expect(plan.warnings.isEmpty)
    #expect(plan.addresses.map(\.prefix) == [try prefix("10.244.99.0/32"), try prefix("fd00:10:244:11::/128")])
    #expect(
      plan.neighbours == [
        Neighbour(device: 3, address: try address("10.244.101.0"), mac: try mac("76:ea:6b:ad:b3:f1")),
        Neighbour(device: 4, address: try address("fd00:10:244:59::"), mac: try mac("02:06:41:77:52:46")),
      ])
    #expect(
      plan.fdb == [
        FDBEntry(device: 3, mac: try mac("76:ea:6b:ad:b3:f1"), remote: try address("172.31.77.12")),
        FDBEntry(device: 4, mac: try mac("02:06:41:77:52:46"), remote: try address("fd77::12")),
      ])
    #expect(
      plan.routes == [
        Route(
          destination: try prefix("10.244.101.0/24"), gateway: try address("10.244.101.0"), device: 3, isOnlink: true),
        Route(
          destination: try prefix("fd00:10:244:59::/64"), gateway: try address("fd00:10:244:59::"), device: 4,
          isOnlink: true),
      ])
    #expect(plan.nexthops.isEmpty)
  }

  @Test func devices() throws {
    let links = planner.devices(
      on: Underlay(
        name: "eth0", index: 2, mtu: 1500,
        addresses: PerFamily(ipv4: try address("172.31.77.11"), ipv6: try address("fd77::11"))),
      macs: PerFamily(ipv4: try mac("7e:cd:18:8a:40:15")))
    #expect(links.map(\.name) == ["flannel.1", "flannel-v6.1"])
    #expect(links.map(\.mtu) == [1450, 1430])
    #expect(links[0].mac == (try mac("7e:cd:18:8a:40:15")))
    guard case .vxlan(let o)? = links[1].kind else { throw BackendError("not a vxlan") }
    #expect(o == VXLANOptions(vni: 1, underlay: 2, local: try address("fd77::11")))
  }

  @Test func refusesWhatCannotBeRight() throws {
    var own = context
    own.ownMACs.ipv4 = try mac("02:00:00:00:00:aa")
    let plan = planner.plan(
      peers: [
        try peer("10.244.1.0/24", "172.31.77.12", "02:00:00:00:00:01"),
        try peer("10.244.1.128/25", "172.31.77.13", "02:00:00:00:00:02"),  // overlaps the first
        try peer("10.245.1.0/24", "172.31.77.14", "02:00:00:00:00:03"),  // outside of the network
        try peer("10.244.2.0/24", "172.31.77.15", nil),  // no MAC
        try peer("10.244.3.0/24", "172.31.77.16", "02:00:00:00:00:01"),  // MAC of the first
        try peer("10.244.99.0/24", "172.31.77.11", "02:00:00:00:00:05"),  // own
        try peer("10.244.98.0/24", "172.31.77.11", "02:00:00:00:00:06"),  // old lease of this node
        try peer("10.244.99.0/25", "172.31.77.17", "02:00:00:00:00:07"),  // overlaps the own subnet
        try peer("10.244.4.0/24", "172.31.77.18", "00:00:00:00:00:00"),
        try peer("10.244.5.0/24", "172.31.77.19", "01:00:5e:00:00:01"),
        try peer("10.244.6.0/24", "172.31.77.20", "02:00:00:00:00:aa"),  // own MAC
        try peer("10.244.7.0/24", "10.244.8.1", "02:00:00:00:00:08"),
        try peer("10.244.8.0/24", "224.0.0.1", "02:00:00:00:00:09"),
      ], own)
    #expect(plan.routes.map(\.destination) == [try prefix("10.244.1.0/24")])
    #expect(plan.fdb.count == 1 && plan.neighbours.count == 1)
    #expect(plan.warnings.count == 11)
    for text in [
      "10.244.1.128/25", "10.245.1.0/24", "10.244.2.0/24", "10.244.3.0/24", "10.244.99.0/25", "10.244.98.0/24",
      "10.244.4.0/24", "10.244.5.0/24", "10.244.6.0/24", "10.244.7.0/24", "10.244.8.0/24",
    ] {
      #expect(plan.warnings.contains { $0.hasPrefix("ignoring the lease of \(text)") }, "\(text)")
    }
  }

  /// A node that came back under another address has left a lease with its MAC behind: the living one is served.
  @Test func ofTwoLeasesWithOneMACTheYoungerIsServed() throws {
    var old = try peer("10.244.1.0/24", "172.31.77.12", "02:00:00:00:00:01")
    var new = try peer("10.244.2.0/24", "172.31.77.13", "02:00:00:00:00:01")
    old.expiration = 1000
    new.expiration = 2000
    let plan = planner.plan(peers: [old, new], context)
    #expect(plan.routes.map(\.destination) == [try prefix("10.244.2.0/24")])
    #expect(plan.warnings.count == 1 && plan.warnings[0].hasPrefix("ignoring the lease of 10.244.1.0/24"))
  }

  @Test func directRouting() throws {
    var configuration = VXLANConfiguration()
    configuration.directRouting = true
    let direct = VXLANPlanner(configuration: configuration, networks: planner.networks)
    var c = context
    let near = try address("172.31.77.12")
    c.directInterface = { $0 == near ? 2 : nil }
    let plan = direct.plan(
      peers: [
        try peer("10.244.1.0/24", "172.31.77.12", nil), try peer("10.244.2.0/24", "172.31.88.12", "02:00:00:00:00:01"),
      ], c)
    #expect(
      plan.routes == [
        Route(destination: try prefix("10.244.1.0/24"), gateway: near, device: 2, origin: RouteOrigin.weft),
        Route(
          destination: try prefix("10.244.2.0/24"), gateway: try address("10.244.2.0"), device: 3, isOnlink: true),
      ])
    #expect(plan.fdb.count == 1 && plan.neighbours.count == 1)
  }

  @Test func nexthopObjects() throws {
    var configuration = VXLANConfiguration()
    configuration.nexthopObjects = .always
    let p = VXLANPlanner(configuration: configuration, networks: planner.networks)
    let peers = [
      try peer("10.244.1.0/24", "172.31.77.12", "02:00:00:00:00:01"),
      try peer("fd00:10:244:1::/64", "fd77::12", "02:00:00:00:00:01"),
    ]
    let plan = p.plan(peers: peers, context)
    #expect(plan.nexthops.count == 2 && plan.routes.count == 2)
    #expect(plan.nexthops.map(\.id) == plan.routes.map(\.nexthop))
    #expect(plan.nexthops.allSatisfy { $0.isOnlink && $0.origin == RouteOrigin.weft })
    #expect(plan.routes.allSatisfy { $0.gateway == nil && !$0.isOnlink })
    // Another program's ids are left alone.
    var c = context
    c.foreignNexthops = Set(plan.nexthops.map(\.id))
    let other = p.plan(peers: peers, c)
    #expect(Set(other.nexthops.map(\.id)).isDisjoint(with: c.foreignNexthops))
  }

  @Test func automaticNexthopsHaveHysteresis() {
    #expect(!planner.wantsNexthops(peers: 999, current: false))
    #expect(planner.wantsNexthops(peers: 1000, current: false))
    #expect(planner.wantsNexthops(peers: 999, current: true))
    #expect(!planner.wantsNexthops(peers: 749, current: true))
  }

  @Test func oneFamilyMissingInALeaseDoesNotHideTheOther() throws {
    let plan = planner.plan(peers: [try peer("10.244.1.0/24", "172.31.77.12", "02:00:00:00:00:01")], context)
    #expect(plan.routes.count == 1 && plan.warnings.isEmpty)
  }
}

@Suite struct VXLANConfigurationTests {
  @Test func defaultsAndCase() throws {
    #expect(try VXLANConfiguration(JSONObject()) == VXLANConfiguration())
    let o = try #require(
      try JSONValue(
        parsing: #"{"type":"vxlan","vni":7,"PORT":4789,"mtu":1400,"gbp":true,"learning":true,"directrouting":true,"#
          + #""MacPrefix":"0E-2A","Name":"x","NexthopObjects":"Always"}"#
      ).objectValue)
    let c = try VXLANConfiguration(o)
    #expect(c.vni == 7 && c.port == 4789 && c.mtu == 1400 && c.gbp && c.learning && c.directRouting)
    #expect(c.nexthopObjects == .always)
    #expect(c.deviceName(.ipv4) == "flannel.7" && c.deviceName(.ipv6) == "flannel-v6.7")
    #expect(c.deviceMTU(.ipv4, underlayMTU: 1500) == 1350)
    #expect(c.deviceMTU(.ipv6, underlayMTU: 1500) == 1330)
    #expect(c.deviceMTU(.ipv4, underlayMTU: 1300) == 1250, "never larger than the underlay carries")
    #expect(c.deviceMTU(.ipv6, underlayMTU: 60) == 0)
  }

  @Test(arguments: [
    #"{"VNI":"x"}"#, #"{"VNI":16777216}"#, #"{"VNI":-1}"#, #"{"Port":65536}"#, #"{"MTU":1.5}"#, #"{"GBP":1}"#,
    #"{"Learning":"yes"}"#, #"{"NexthopObjects":"sometimes"}"#, #"{"VNI":99999999999999999999}"#,
  ])
  func refuses(text: String) throws {
    let o = try #require(try JSONValue(parsing: text).objectValue)
    let name = try #require(o.names.first)
    let error = #expect(throws: BackendError.self) { try VXLANConfiguration(o) }
    #expect(error?.description.contains("\"\(name)\"") == true)
    #expect(error?.description.contains("expected") == true)
  }

  @Test func publishedData() throws {
    let text = #"{"VNI":1,"VtepMAC":"0a:1b:2c:3d:4e:5f"}"#
    let d = try VXLANData(try JSONValue(parsing: text))
    #expect(d.json.text() == text)
    for bad in ["null", "{}", #"{"VtepMAC":"x"}"#, "[]", #"{"VtepMAC":1}"#] {
      #expect(throws: BackendError.self) { try VXLANData(try JSONValue(parsing: bad)) }
    }
  }
}

/// A few peers planned alone, as a pass over changed leases does.
@Suite struct RelatedPeersTests {
  /// What is planned for the changed peers and their relatives, put in place of what was planned for them before, is
  /// the plan for all.
  @Test(arguments: 0..<200) func aPartOfThePlanIsTheDifference(_ seed: UInt64) throws {
    var random = Random(state: seed &+ 1)
    let planner = VXLANPlanner(
      configuration: VXLANConfiguration(), networks: PerFamily(ipv4: try prefix("10.244.0.0/16")))
    var context = VXLANPlanner.Context(
      own: PerFamily(ipv4: try prefix("10.244.3.0/24")), ownPublicIPs: PerFamily(ipv4: try address("172.31.77.11")),
      devices: PerFamily(ipv4: 3))
    context.nexthopChoice = seed % 2 == 0
    var rank = 0
    // Few subnets and MACs, so that many clash.
    func some() throws -> Peer {
      rank += 1
      let subnet = try prefix(
        Bool.random(using: &random)
          ? "10.244.\(Int.random(in: 0..<24, using: &random)).0/24"
          : "10.244.\(Int.random(in: 0..<6, using: &random) * 4).0/22")
      return Peer(
        subnets: PerFamily(ipv4: subnet),
        publicIPs: PerFamily(ipv4: try address("192.168.0.\(Int.random(in: 1..<200, using: &random))")),
        macs: PerFamily(ipv4: try mac("0a:00:00:00:00:0\(Int.random(in: 0..<9, using: &random))")), name: "p\(rank)",
        rank: rank)
    }
    let before = try (0..<14).map { _ in try some() }
    let gone = before.filter { _ in Int.random(in: 0..<5, using: &random) == 0 }
    let new = try (0..<Int.random(in: 0..<4, using: &random)).map { _ in try some() }
    let after = before.filter { !gone.contains($0) } + new
    let old = planner.plan(peers: planner.related(to: gone + new, in: before), context)
    let part = planner.plan(peers: planner.related(to: gone + new, in: after), context)
    func patched<T: Hashable>(_ path: KeyPath<NetworkPlan, [T]>) -> Bool {
      let all = Set(planner.plan(peers: before, context)[keyPath: path])
      return all.isSuperset(of: old[keyPath: path])
        && all.subtracting(old[keyPath: path]).union(part[keyPath: path])
          == Set(planner.plan(peers: after, context)[keyPath: path])
    }
    #expect(patched(\.routes) && patched(\.fdb) && patched(\.neighbours) && patched(\.nexthops))
  }

  private struct Random: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return state ^ state >> 29
    }
  }
}
