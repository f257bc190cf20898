import NetTypes
import Testing

@testable import CNI

/// What the bridge plugin makes of the IPAM plugin's answer.
@Suite struct BridgePlanTests {
  func prefix(_ text: String) throws -> IPPrefix { try #require(IPPrefix(text)) }
  func address(_ text: String) throws -> IPAddress { try #require(IPAddress(text)) }

  func configuration(gateway: Bool = false, defaultGateway: Bool = false) -> BridgeConfiguration {
    var c = BridgeConfiguration()
    c.isGateway = gateway || defaultGateway
    c.isDefaultGateway = defaultGateway
    return c
  }

  func answer(_ addresses: [(String, String?)], routes: [CNIResult.Route] = []) throws -> CNIResult {
    CNIResult(
      ips: try addresses.map {
        CNIResult.IP(address: try prefix($0.0), gateway: try $0.1.map { try address($0) }, interface: 7)
      }, routes: routes)
  }

  @Test func noAddress() throws {
    let e = try #require(throws: CNIError.self) { _ = try PodPlan(CNIResult(), configuration()) }
    #expect(e.message == "IPAM plugin returned missing IP config")
  }

  @Test func gatewayIsFirstAddress() throws {
    let plan = try PodPlan(try answer([("10.1.2.7/24", nil), ("fd00::7/64", nil)]), configuration(gateway: true))
    #expect(plan.ips.map(\.gateway) == [try address("10.1.2.1"), try address("fd00::1")])
    #expect(plan.ips.map(\.interface) == [2, 2])
    #expect(plan.gateways == [try prefix("10.1.2.1/24"), try prefix("fd00::1/64")])
    #expect(plan.routes.isEmpty)
    #expect(plan.hasIPv6Gateway)
  }

  @Test func withoutGatewayNothingIsInvented() throws {
    let plan = try PodPlan(try answer([("10.1.2.7/24", nil), ("fd00::7/64", "fd00::9")]), configuration())
    #expect(plan.ips.map(\.gateway) == [nil, try address("fd00::9")])
    #expect(plan.gateways.isEmpty)
  }

  @Test func defaultRoutes() throws {
    let given = CNIResult.Route(dst: try prefix("10.244.0.0/16"))
    let plan = try PodPlan(
      try answer(
        [("10.244.1.5/24", "10.244.1.1"), ("10.9.0.5/24", "10.9.0.1"), ("fd00::5/64", "fd00::1")], routes: [given]),
      configuration(defaultGateway: true))
    #expect(
      plan.routes == [
        given, CNIResult.Route(dst: try prefix("0.0.0.0/0"), gw: try address("10.244.1.1")),
        CNIResult.Route(dst: try prefix("::/0"), gw: try address("fd00::1")),
      ])
  }

  @Test func defaultRouteWithGatewayIsKept() throws {
    let own = CNIResult.Route(dst: try prefix("0.0.0.0/0"), gw: try address("10.1.2.254"))
    let c = configuration(defaultGateway: true)
    #expect(try PodPlan(try answer([("10.1.2.7/24", nil)], routes: [own]), c).routes == [own])
    let bare = CNIResult.Route(dst: try prefix("0.0.0.0/0"))
    #expect(try PodPlan(try answer([("10.1.2.7/24", nil)], routes: [bare]), c).routes.count == 2)
  }

  /// A default route without a gateway becomes the one that `isDefaultGateway` adds.
  @Test func sameRouteOnce() throws {
    let bare = CNIResult.Route(dst: try prefix("0.0.0.0/0"))
    let other = CNIResult.Route(dst: try prefix("0.0.0.0/0"), gw: try address("10.1.2.9"))
    let metric = CNIResult.Route(dst: try prefix("0.0.0.0/0"), priority: 7)
    let plan = try PodPlan(
      try answer([("10.1.2.7/24", nil)], routes: [bare, bare, metric]), configuration(defaultGateway: true))
    #expect(plan.kernelRoutes(device: 5).map(\.gateway) == [try address("10.1.2.1"), try address("10.1.2.1")])
    #expect(plan.kernelRoutes(device: 5).map(\.metric) == [0, 7])
    let two = try PodPlan(try answer([("10.1.2.7/24", nil)], routes: [bare, other]), configuration(gateway: true))
    #expect(two.kernelRoutes(device: 5).count == 2)
  }

  /// A flannel route without gateway goes through the gateway of the first address of its family.
  @Test func routesOfTheKernel() throws {
    let plan = try PodPlan(
      try answer(
        [("fd00::5/64", nil), ("10.244.1.5/24", nil)],
        routes: [
          CNIResult.Route(dst: try prefix("10.244.0.0/16")), CNIResult.Route(dst: try prefix("fd00::/56")),
          CNIResult.Route(
            dst: try prefix("10.9.0.1/16"), gw: try address("10.244.1.9"), mtu: 1400, priority: 7, table: 100,
            scope: 253),
        ]),
      configuration(gateway: true))
    #expect(
      plan.kernelRoutes(device: 5) == [
        Route(destination: try prefix("10.244.0.0/16"), gateway: try address("10.244.1.1"), device: 5),
        Route(destination: try prefix("fd00::/56"), gateway: try address("fd00::1"), device: 5),
        Route(
          destination: try prefix("10.9.0.0/16"), gateway: try address("10.244.1.9"), device: 5, table: 100, scope: 253,
          metric: 7, mtu: 1400),
      ])
    #expect(
      plan.addresses(device: 5) == [
        InterfaceAddress(device: 5, prefix: try prefix("fd00::5/64")),
        InterfaceAddress(device: 5, prefix: try prefix("10.244.1.5/24"), broadcast: try address("10.244.1.255")),
      ])
  }

  @Test func noRoomForAGateway() throws {
    let c = configuration(gateway: true)
    #expect(throws: CNIError.self) { _ = try PodPlan(try answer([("255.255.255.255/32", nil)]), c) }
    #expect(throws: CNIError.self) { _ = try PodPlan(try answer([("10.0.0.5/24", "fd00::1")]), c) }
  }

  // MARK: gateway addresses

  func plan(_ wanted: [String], present: [String], force: Bool = false) throws -> GatewayPlan {
    try GatewayPlan(
      try wanted.map { try prefix($0) }, on: "cni0", present: try present.map { try prefix($0) }, force: force)
  }

  @Test func gatewayPresent() throws {
    #expect(try plan(["10.1.2.1/24", "fd00::1/64"], present: ["10.1.2.1/24", "fd00::1/64", "fe80::5/64"]).isEmpty)
    #expect(try plan(["10.1.2.1/24"], present: ["10.0.0.1/8", "10.1.2.1/24"]).isEmpty)
  }

  @Test(arguments: [
    ("10.1.2.3/16", "10.0.0.1/8"), ("10.1.2.3/16", "192.168.0.1/24"), ("2001:db8:1:2::1/64", "2001:db8:1::1/48"),
  ])
  func gatewayConflict(_ wanted: String, _ present: String) throws {
    let e = try #require(throws: CNIError.self) { _ = try plan([wanted], present: [present]) }
    #expect(e.message == "failed to set bridge addr: \"cni0\" already has an IP address different from \(wanted)")
    let forced = try plan([wanted], present: [present, "fe80::1/64"], force: true)
    #expect(forced.removals == [try prefix(present)])
    #expect(forced.additions == [try prefix(wanted)])
  }

  @Test func disjointIPv6IsKept() throws {
    let p = try plan(["fd00:1234::1/64"], present: ["2001:db8:1:2::1/64", "fe80::1/64"])
    #expect(p.additions == [try prefix("fd00:1234::1/64")])
    #expect(p.removals.isEmpty)
  }

  /// The second gateway's conflict is found although the first one is fine: nothing is added then.
  @Test func allGatewaysAreCheckedFirst() throws {
    #expect(throws: CNIError.self) { _ = try plan(["10.1.2.1/24", "fd00::1/64"], present: ["fd00::2/64"]) }
    #expect(throws: CNIError.self) { _ = try plan(["10.1.2.1/24", "10.1.3.1/24"], present: []) }
    #expect(try plan(["10.1.2.1/24", "10.1.3.1/24"], present: [], force: true).additions.count == 2)
  }
}
