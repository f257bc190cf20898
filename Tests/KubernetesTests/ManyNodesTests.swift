import JSON
import KubeSupport
import KubeTypes
import Syscalls
import TestSupport
import Testing

@Suite(.needsRoot) struct ManyNodesTests {
  /// Nodes come, go and change all the time, somebody disturbs the kernel: in the end all is as it must be.
  @Test(arguments: ["never", "always"]) func everythingIsAsItMustBeInTheEnd(_ nexthops: String) throws {
    let cluster = try KubernetesCluster(
      nodes: 1,
      configuration: #"{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan","NexthopObjects":"\#(nexthops)"}}"#)
    defer { cluster.remove() }
    cluster.server.put((20..<120).map { KubernetesCluster.peer($0) })
    let agent = try cluster.agent(0)
    try eventually("all peers\n\(agent.log)", within: 20) { try cluster.routes(0).count == 100 }
    var random = SplitMix64(seed: 7)
    var known = Dictionary(uniqueKeysWithValues: (20..<120).map { ($0, $0) })
    for round in 0..<150 {
      let i = Int.random(in: 20..<140, using: &random)
      if known[i] != nil, Bool.random(using: &random) {
        known[i] = nil
        cluster.server.remove("peer-\(i)")
      } else {
        let mac = Int.random(in: 10..<100, using: &random)
        known[i] = mac
        cluster.server.put(
          KubernetesCluster.peer(
            i,
            data:
              #"{"VNI":1,"VtepMAC":"0a:00:00:00:\#(mac):\#(String(i, radix: 16).count < 2 ? "0" : "")\#(String(i, radix: 16))"}"#
          ))
      }
      if round % 30 == 7 { try cluster.nodes[0].ip("link", "set", "flannel.1", "down") }
      if round % 10 == 3 { Clock.sleep(nanoseconds: 20_000_000) }
    }
    let subnets = Set(known.keys.map { "10.244.\($0).0/24" })
    func matches() throws -> Bool {
      let routes = try cluster.routes(0)
      let entries = try cluster.nodes[0].forwarding("flannel.1")
      let neighbours = try cluster.nodes[0].lines("neigh", "show", "dev", "flannel.1", "nud", "permanent")
      return routes.count == subnets.count
        && Set(routes.compactMap { $0.split(separator: " ").first.map(String.init) }) == subnets
        && entries.count == subnets.count && neighbours.count == subnets.count
        && known.allSatisfy { i, _ in entries.contains { $0.hasSuffix("dst 172.31.77.\(i) self permanent") } }
    }
    try eventually("the end\n\(agent.log.suffix(3000))", within: 20, matches)
    #expect(try matches())
  }
}
