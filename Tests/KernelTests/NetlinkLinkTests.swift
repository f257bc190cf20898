import JSON
import NetTypes
import Netlink
import Syscalls
import TestSupport
import Testing

/// Links against the real kernel; the oracle is `ip -j -d link`.
@Suite(.needsRoot) struct NetlinkLinkTests {
  let ns: TestNamespace
  init() throws { ns = try TestNamespace("link") }

  private func shown(_ name: String) throws -> JSONValue {
    try #require(try ns.ip("-d", "link", "show", "dev", name).arrayValue?.first)
  }

  @Test func createsVXLANAsFlannelDoes() throws {
    try ns.ip("link", "add", "eth0", "type", "veth", "peer", "name", "far0")
    try ns.ip("addr", "add", "172.31.77.11/24", "dev", "eth0")
    var socket = try ns.socket()
    let underlay = try #require(try socket.link(named: "eth0")).index
    let mac = try #require(MACAddress("7e:cd:18:8a:40:15"))
    let options = VXLANOptions(vni: 1, underlay: underlay, local: IPAddress("172.31.77.11"), port: 8472)
    var batch = RouteBatch()
    batch.createLink(Link(name: "flannel.1", kind: .vxlan(options), mac: mac, mtu: 1450), up: true)
    try socket.apply(batch)

    let link = try #require(try socket.link(named: "flannel.1"))
    #expect(link.kind == .vxlan(options))
    #expect(link.mac == mac && link.mtu == 1450 && link.isUp && link.parent == 0)
    #expect(try socket.link(index: link.index) == link)
    let oracle = try shown("flannel.1")
    // As captured from flannel: n1.link-flannel.1-json.txt.
    let expected = """
      {"id":1,"local":"172.31.77.11","link":"eth0","port_range":{"low":0,"high":0},"port":8472,"learning":false,\
      "ttl":0,"df":"unset","ageing":300,"udp_csum":true,"udp_zero_csum6_tx":false,"udp_zero_csum6_rx":false}
      """
    #expect(oracle["linkinfo"]?["info_kind"] == "vxlan")
    let data = try JSONValue(parsing: expected)
    #expect(oracle["linkinfo"]?["info_data"] == data)
    #expect(oracle["address"]?.stringValue == mac.description && oracle["mtu"]?.intValue == 1450)
  }

  @Test func createsVXLANOverIPv6WithEveryOption() throws {
    try ns.ip("link", "add", "eth0", "type", "veth", "peer", "name", "far0")
    var socket = try ns.socket()
    let underlay = try #require(try socket.link(named: "eth0")).index
    let options = VXLANOptions(
      vni: 0xffffff, underlay: underlay, local: IPAddress("fd77::11"), group: IPAddress("ff02::42"), port: 4789,
      learning: true, gbp: true, l2miss: true)
    var batch = RouteBatch()
    batch.createLink(Link(name: "flannel-v6.1", kind: .vxlan(options)))
    try socket.apply(batch)
    #expect(try socket.link(named: "flannel-v6.1")?.kind == .vxlan(options))
    let data = try shown("flannel-v6.1")["linkinfo"]?["info_data"]
    #expect(data?["id"]?.intValue == 0xffffff && data?["local6"] == "fd77::11" && data?["group6"] == "ff02::42")
    #expect(data?["learning"] == true && data?["gbp"] == true && data?["l2miss"] == true)
  }

  @Test func createsBridgeIFBAndUnknownKinds() throws {
    var socket = try ns.socket()
    var batch = RouteBatch()
    batch.createLink(Link(name: "cni0", kind: .bridge(vlanFiltering: nil), mtu: 1450), up: true)
    batch.createLink(Link(name: "cni1", kind: .bridge(vlanFiltering: nil)))
    batch.createLink(Link(name: "ifb7", kind: .ifb))
    try socket.apply(batch)
    // A kernel without the feature answers "no", but refuses the attribute in a request.
    #expect(try socket.link(named: "cni0")?.kind == .bridge(vlanFiltering: false))
    #expect(try socket.link(named: "cni0")?.mtu == 1450)
    #expect(try socket.link(named: "ifb7")?.kind == .ifb)
    #expect(try shown("cni0")["linkinfo"]?["info_kind"] == "bridge")
    #expect(try shown("ifb7")["linkinfo"]?["info_kind"] == "ifb")

    let base = try #require(try socket.link(named: "cni1")).index
    var second = RouteBatch()
    second.createLink(Link(name: "mv0", kind: .other("macvlan"), parent: base))
    try socket.apply(second)
    let macvlan = try #require(try socket.link(named: "mv0"))
    #expect(macvlan.kind == .other("macvlan") && macvlan.parent == base)
    #expect(try shown("mv0")["link"] == "cni1")
  }

  @Test func createsVethIntoAnotherNamespace() throws {
    let pod = try TestNamespace("pod")
    let inside = try pod.open()
    var socket = try ns.socket()
    var batch = RouteBatch()
    batch.createLink(Link(name: "cni0", kind: .bridge(vlanFiltering: nil)), up: true)
    try socket.apply(batch)
    let bridge = try #require(try socket.link(named: "cni0")).index
    batch.clear()
    let mac = try #require(MACAddress("0a:00:00:00:00:01"))
    batch.createLink(
      Link(name: "veth1", kind: .veth, mtu: 1400, master: bridge), up: true,
      peer: VethPeer(name: "eth0", namespace: inside.descriptor, mac: mac, mtu: 1400))
    try socket.apply(batch)

    var podSocket = try pod.socket()
    let host = try #require(try socket.link(named: "veth1"))
    let peer = try #require(try podSocket.link(named: "eth0"))
    #expect(peer.mac == mac && peer.mtu == 1400 && !peer.isUp && peer.kind == .veth && peer.port == nil)
    #expect(host.master == bridge && host.parent == peer.index && host.isUp && host.port == BridgePort())
    #expect(try socket.namespaceID(of: inside) == host.parentNamespace && host.parentNamespace != nil)
    #expect(try shown("veth1")["master"] == "cni0")
    #expect(try pod.ip("-d", "link", "show", "dev", "eth0").arrayValue?.first?["address"] == "0a:00:00:00:00:01")
    let host0 = try NetworkNamespace.current()
    #expect(try podSocket.namespaceID(of: host0) == nil)
  }

  @Test func setsPortOptions() throws {
    try ns.ipBatch("link add cni0 type bridge\nlink add v0 type veth peer name v1\n")
    var socket = try ns.socket()
    let bridge = try #require(try socket.link(named: "cni0")).index
    let port = try #require(try socket.link(named: "v0")).index
    var batch = RouteBatch()
    batch.setLink(index: port, up: true, mtu: 1300, master: bridge)
    batch.setBridgePort(index: port, BridgePort(hairpin: true, isolated: true))
    try socket.apply(batch)

    let link = try #require(try socket.link(named: "v0"))
    #expect(link.port == BridgePort(hairpin: true, isolated: true))
    #expect(link.master == bridge && link.mtu == 1300)
    let oracle = try ns.bridge("-d", "link", "show", "dev", "v0").arrayValue?.first
    #expect(oracle?["hairpin"] == true && oracle?["isolated"] == true)

    batch.clear()
    batch.setBridgePort(index: port, BridgePort())
    batch.setLink(index: port, master: 0)
    try socket.apply(batch)
    #expect(try socket.link(named: "v0")?.master == 0)
    #expect(try socket.link(named: "v0")?.port == nil)
  }

  @Test(.needsBridgeVLANs) func filtersVLANs() throws {
    try ns.ipBatch("link add v0 type veth peer name v1\n")
    var socket = try ns.socket()
    var batch = RouteBatch()
    batch.createLink(Link(name: "cni0", kind: .bridge(vlanFiltering: true)), up: true)
    try socket.apply(batch)
    #expect(try socket.link(named: "cni0")?.kind == .bridge(vlanFiltering: true))
    let bridge = try #require(try socket.link(named: "cni0")).index
    let port = try #require(try socket.link(named: "v0")).index
    batch.clear()
    batch.setLink(index: port, up: true, master: bridge)
    batch.addBridgeVLANs(
      index: port,
      [BridgeVLAN(ids: 100...200), BridgeVLAN(ids: 42...42, isPVID: true, isUntagged: true), BridgeVLAN(ids: 7...7)])
    batch.removeBridgeVLANs(index: port, [BridgeVLAN(ids: 1...1)])
    batch.addBridgeVLANs(index: bridge, [BridgeVLAN(ids: 42...42)], onBridge: true)
    try socket.apply(batch)
    #expect(
      try socket.bridgeVLANs(device: port) == [
        BridgeVLAN(ids: 7...7), BridgeVLAN(ids: 42...42, isPVID: true, isUntagged: true), BridgeVLAN(ids: 100...200),
      ])
    #expect(try socket.bridgeVLANs(device: bridge).map(\.ids) == [1...1, 42...42])
    let vlans = try ns.bridge("-compressvlans", "vlan", "show", "dev", "v0").arrayValue?.first?["vlans"]
    let expected = #"[{"vlan":7},{"vlan":42,"flags":["PVID","Egress Untagged"]},{"vlan":100,"vlanEnd":200}]"#
    let wanted = try JSONValue(parsing: expected)
    #expect(vlans == wanted)
  }

  @Test func bringsUpBothEnds() throws {
    var socket = try ns.socket()
    var batch = RouteBatch()
    batch.createLink(Link(name: "a0", kind: .veth), up: true, peer: VethPeer(name: "b0"))
    try socket.apply(batch)
    #expect(try socket.link(named: "a0")?.isUp == true)
    let peer = try #require(try socket.link(named: "b0"))
    #expect(!peer.isUp)
    batch.clear()
    batch.setLink(index: peer.index, up: true)
    try socket.apply(batch)
    #expect(try shown("b0")["operstate"] == "UP")
  }

  @Test func changesAndDeletesLinks() throws {
    let other = try TestNamespace("other")
    let target = try other.open()
    try ns.ip("link", "add", "a0", "type", "veth", "peer", "name", "b0")
    var socket = try ns.socket()
    let index = try #require(try socket.link(named: "a0")).index
    let mac = try #require(MACAddress("02:11:22:33:44:55"))
    var batch = RouteBatch()
    batch.setLink(index: index, mtu: 1280, mac: mac, name: "renamed0", promiscuous: true)
    batch.setLink(index: index, up: true)
    try socket.apply(batch)
    #expect(try socket.link(named: "a0") == nil)
    let link = try #require(try socket.link(named: "renamed0"))
    #expect(link.isPromiscuous && link.isUp && link.mac == mac && link.mtu == 1280)
    let oracle = try shown("renamed0")
    #expect(oracle["flags"]?.arrayValue?.contains("PROMISC") == true && oracle["mtu"]?.intValue == 1280)

    batch.clear()
    batch.setLink(index: index, up: false, promiscuous: false)
    batch.setLink(index: index, namespace: target.descriptor)
    try socket.apply(batch)
    #expect(try socket.link(named: "renamed0") == nil)
    var far = try other.socket()
    let moved = try #require(try far.link(named: "renamed0"))
    #expect(!moved.isUp && !moved.isPromiscuous)

    batch.clear()
    batch.deleteLink(index: moved.index)
    try far.apply(batch)
    #expect(try far.links().map(\.name) == ["lo"])
    #expect(try socket.links().map(\.name) == ["lo"], "the peer goes with it")
  }

  @Test func listsEveryLink() throws {
    try ns.ipBatch((0..<50).map { "link add v\($0) type veth peer name w\($0)\n" }.joined())
    var socket = try ns.socket()
    let names = try #require(try ns.ip("link").arrayValue).compactMap { $0["ifname"]?.stringValue }
    let links = try socket.links()
    #expect(links.count == 101 && Set(links.map(\.name)) == Set(names))
    #expect(links.filter { $0.kind == .veth }.count == 100)
    #expect(links.first { $0.name == "lo" }?.isLoopback == true)
    #expect(try socket.link(named: "nosuch0") == nil)
    #expect(try socket.link(named: "a-name-that-is-too-long") == nil)
    #expect(try socket.link(index: 9999) == nil)
  }
}
