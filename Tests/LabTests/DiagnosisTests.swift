import NetTypes
import Testing

@testable import Lab

/// Breaks one thing after the other in a scene that works, and looks whether it is named.
@Suite struct DiagnosisTests {
  static let underlay = [IPAddress(.ipv4, 0xac1f_4d0b), IPAddress(.ipv4, 0xac1f_4d0c)]

  static func prefix(_ text: String) throws -> IPPrefix { try #require(IPPrefix(text)) }
  static func ip(_ text: String) throws -> IPAddress { try #require(IPAddress(text)) }

  /// Node `k` of 2, whose pods have 10.244.k.0/24; its peer is node 3 - k.
  static func node(_ k: Int) throws -> NamespaceView {
    let peer = 3 - k
    var v = NamespaceView()
    let vxlan = VXLANOptions(vni: 1, port: 8472)
    v.links = [
      Link(name: "lo", index: 1, flags: 9), Link(name: "eth0", index: 2, kind: .veth, flags: 1, operationalState: 6),
      Link(
        name: "flannel.1", index: 3, kind: .vxlan(vxlan), mac: MACAddress(UInt64(k)), flags: 1),
      Link(name: "cni0", index: 4, kind: .bridge(vlanFiltering: nil), flags: 1),
      Link(name: "veth1", index: 5, kind: .veth, flags: 1, master: 4, parent: 2),
    ]
    v.addresses = try [
      InterfaceAddress(device: 2, prefix: prefix("172.31.77.1\(k)/24")),
      InterfaceAddress(device: 4, prefix: prefix("10.244.\(k).1/24")),
    ]
    v.routes = try [
      Route(destination: prefix("0.0.0.0/0"), gateway: ip("172.31.77.1"), device: 2),
      Route(destination: prefix("10.244.\(k).0/24"), device: 4),
      Route(destination: prefix("10.244.\(peer).0/24"), gateway: ip("10.244.\(peer).0"), device: 3, isOnlink: true),
    ]
    v.neighbours = try [Neighbour(device: 3, address: ip("10.244.\(peer).0"), mac: MACAddress(UInt64(peer)))]
    v.fdb = try [FDBEntry(device: 3, mac: MACAddress(UInt64(peer)), remote: ip("172.31.77.1\(peer)"))]
    v.forwarding = [.ipv4]
    return v
  }

  static func pod(_ k: Int) throws -> NamespaceView {
    var v = NamespaceView()
    v.links = [Link(name: "eth0", index: 2, kind: .veth, flags: 1, parent: 5, operationalState: 6)]
    v.addresses = [InterfaceAddress(device: 2, prefix: try prefix("10.244.\(k).2/24"))]
    v.routes = [Route(destination: AddressFamily.ipv4.any, gateway: try ip("10.244.\(k).1"), device: 2)]
    return v
  }

  static func scene() throws -> Scene {
    var s = Scene()
    for k in 1...2 {
      s.nodes["n\(k)"] = Scene.Node(view: try node(k), agentRuns: true, underlay: [.ipv4: underlay[k - 1]])
      s.pods[try PodName(node: "n\(k)", name: "p1")] = try pod(k)
    }
    var lan = NamespaceView()
    lan.links = [
      Link(name: "lan", index: 2, kind: .bridge(vlanFiltering: nil), flags: 1),
      Link(name: "n1", index: 3, kind: .veth, flags: 1, master: 2),
      Link(name: "n2", index: 4, kind: .veth, flags: 1, master: 2),
    ]
    s.lan = lan
    return s
  }

  static func diagnose(_ scene: Scene) throws -> String? {
    try Diagnosis(scene, .ipv4).firstBrokenLink(
      from: PodName(node: "n1", name: "p1"), to: PodName(node: "n2", name: "p1"), destination: ip("10.244.2.2"))
  }

  @Test func nothingIsBroken() throws {
    #expect(try Self.diagnose(Self.scene()) == nil)
  }

  /// A change to a scene and what has to be said about it.
  struct Fault: Sendable, CustomTestStringConvertible {
    var says: String
    var damage: @Sendable (inout Scene) throws -> Void
    var testDescription: String { says }
  }

  static let faults: [Fault] = [
    Fault(says: "pod n1-p1: its network namespace is gone") { s in
      s.pods[try PodName(node: "n1", name: "p1")] = nil
    },
    Fault(says: "pod n1-p1: eth0 is down") { s in s.pods[try PodName(node: "n1", name: "p1")]?.links[0].flags = 0 },
    Fault(says: "pod n1-p1: eth0 has no IPv4 address") { s in
      s.pods[try PodName(node: "n1", name: "p1")]?.addresses = []
    },
    Fault(says: "pod n1-p1: it has no route to 10.244.2.2") { s in
      s.pods[try PodName(node: "n1", name: "p1")]?.routes = []
    },
    Fault(says: "node n1: veth1 of pod n1-p1 is not a port of the bridge") { s in
      s.nodes["n1"]?.view?.links[4].master = 0
    },
    Fault(says: "node n1: the bridge cni0 is down") { s in s.nodes["n1"]?.view?.links[3].flags = 0 },
    Fault(says: "node n1: the bridge cni0 lacks the pods' gateway address 10.244.1.1") { s in
      s.nodes["n1"]?.view?.addresses.removeLast()
    },
    Fault(says: "node n1: IPv4 forwarding is switched off") { s in s.nodes["n1"]?.view?.forwarding = [] },
    Fault(says: "node n1: it has no route to 10.244.2.0/24, the pods of n2; the agent of n1 is not running") { s in
      s.nodes["n1"]?.view?.routes.removeLast()
      s.nodes["n1"]?.agentRuns = false
    },
    Fault(says: "node n1: flannel.1, the device of route 10.244.2.0/24, is down") { s in
      s.nodes["n1"]?.view?.links[2].flags = 0
    },
    Fault(says: "node n1: flannel.1 has no neighbour entry for 10.244.2.0, the VTEP of n2") { s in
      s.nodes["n1"]?.view?.neighbours = []
    },
    Fault(says: "node n1: flannel.1 has no FDB entry for 00:00:00:00:00:02, the VTEP of n2") { s in
      s.nodes["n1"]?.view?.fdb = []
    },
    Fault(says: "leads to 172.31.77.99, not to n2 at 172.31.77.12") { s in
      s.nodes["n1"]?.view?.fdb[0].remote = IPAddress("172.31.77.99")
    },
    Fault(says: "node n2: the VXLAN device flannel.1 is missing; the agent of n2 is not running") { s in
      s.nodes["n2"]?.view?.links.remove(at: 2)
      s.nodes["n2"]?.agentRuns = false
    },
    Fault(says: "it takes 00:00:00:00:00:02 for the VTEP of n2, whose flannel.1 has 00:00:00:00:00:09") { s in
      s.nodes["n2"]?.view?.links[2].mac = MACAddress(9)
    },
    Fault(says: "node n2: its interface eth0 is down") { s in s.nodes["n2"]?.view?.links[1].flags = 0 },
    Fault(says: "the underlay: the port of n2 is down, gone or not in the bridge") { s in s.lan?.links[2].master = 0 },
    Fault(says: "node n2: the host end of the veth of pod n2-p1 is gone") { s in
      s.nodes["n2"]?.view?.links.removeLast()
    },
    Fault(says: "pod n2-p1: it has no address 10.244.2.2") { s in
      s.pods[try PodName(node: "n2", name: "p1")]?.addresses = [
        InterfaceAddress(device: 2, prefix: try DiagnosisTests.prefix("10.244.2.9/24"))
      ]
    },
    Fault(says: "on the way back: node n2: flannel.1 has no FDB entry for 00:00:00:00:00:01, the VTEP of n1") { s in
      s.nodes["n2"]?.view?.fdb = []
    },
  ]

  @Test(arguments: faults) func namesTheFault(_ fault: Fault) throws {
    var scene = try Self.scene()
    try fault.damage(&scene)
    let text = try Self.diagnose(scene)
    #expect(text?.contains(fault.says) == true, "\(text ?? "nothing")")
  }

  @Test func routesByNexthopObject() throws {
    var scene = try Self.scene()
    let gateway = try Self.ip("10.244.2.0")
    scene.nodes["n1"]?.view?.routes.removeLast()
    scene.nodes["n1"]?.view?.routes.append(Route(destination: try Self.prefix("10.244.2.0/24"), nexthop: 7))
    scene.nodes["n1"]?.view?.nexthops = [Nexthop(id: 7, gateway: gateway, device: 3, isOnlink: true, origin: 4)]
    #expect(try Self.diagnose(scene) == nil)
    let view = try #require(scene.nodes["n1"]?.view)
    let route = try #require(view.routes.last)
    #expect(IPText.route(route, in: view) == "10.244.2.0/24 nhid 7 via 10.244.2.0 dev flannel.1")
  }

  @Test func asTheToolsPrintIt() throws {
    let view = try Self.node(1)
    #expect(
      view.routes.map { IPText.route($0, in: view) } == [
        "default via 172.31.77.1 dev eth0", "10.244.1.0/24 dev cni0",
        "10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink",
      ])
    #expect(view.fdb.map(IPText.fdb) == ["00:00:00:00:00:02 dst 172.31.77.12 self permanent"])
    #expect(view.neighbours.map(IPText.neighbour) == ["10.244.2.0 lladdr 00:00:00:00:00:02 PERMANENT"])
  }
}
