import JSON
import KubeTypes
import NetTypes
import Subnets
import Syscalls
import TestSupport
import Testing

/// Contract flanneld §6, and "annotation prefixes" of the upstream tests.
@Suite struct NodeLeaseTests {
  private let prefix = "flannel.alpha.coreos.com/"

  @Test(arguments: [
    ("flannel.alpha.coreos.com", "flannel.alpha.coreos.com/backend-data"),
    ("flannel.alpha.coreos.com/", "flannel.alpha.coreos.com/backend-data"),
    ("flannel.alpha.coreos.com/foo", "flannel.alpha.coreos.com/foo-backend-data"),
    ("flannel.alpha.coreos.com/foo-", "flannel.alpha.coreos.com/foo-backend-data"),
    ("org.com", "org.com/backend-data"), ("a.b/c_d", "a.b/c_d-backend-data"),
  ])
  func prefixesThatWork(_ given: String, _ name: String) throws {
    #expect(try AnnotationNames(prefix: given).backendData(.ipv4) == name)
  }

  @Test(arguments: ["org.com/a/b", "org", "org.COM", "", "/", "org.com/A", "org.com/-", ".com", "a..b/", "org./x"])
  func prefixesThatAreRejected(_ given: String) {
    #expect(throws: AnnotationPrefixError.self) { try AnnotationNames(prefix: given) }
  }

  private func node(_ name: String, _ podCIDRs: [String], _ annotations: [(String, String)]) throws -> KubeNode {
    let text = KubeFixtures.node(name, podCIDRs: podCIDRs, annotations: annotations.map { (prefix + $0.0, $0.1) })
    var decoder = ResponseDecoder<KubeNode, One>(annotations: .prefix(prefix), receiver: One())
    decoder.start(.json, .object)
    try decoder.read(text.bytes().span)
    try decoder.finish()
    return KubeNode(try #require(decoder.receiver.record))
  }

  private struct One: ObjectReceiver, Sendable {
    var record: ObjectRecord?
    mutating func object(_ draft: ObjectDraft) { record = draft.record }
    mutating func event(_ kind: WatchEventKind, _ draft: ObjectDraft) {}
    mutating func status(_ status: KubeStatus) {}
    mutating func page(continue token: String, version: String) {}
  }

  private func peer(_ name: String, _ subnet: String, _ ip: String = "192.168.0.9") throws -> KubeNode {
    try node(
      name, [subnet],
      [
        ("kube-subnet-manager", "true"), ("public-ip", ip), ("backend-type", "vxlan"),
        ("backend-data", #"{"VNI":1,"VtepMAC":"0a:00:00:00:00:01"}"#),
      ])
  }

  private func reader(_ families: [AddressFamily] = [.ipv4]) throws -> NodeLeaseReader {
    NodeLeaseReader(names: try AnnotationNames(prefix: prefix), families: families)
  }

  @Test func theFirstOfEachFamilyCounts() throws {
    let dual = try node(
      "n", ["10.244.1.0/24", "fd00:1::/64"],
      [
        ("kube-subnet-manager", "true"), ("public-ip", "192.168.0.9"), ("public-ipv6", "fd01::9"),
        ("backend-type", "host-gw"), ("backend-data", "null"), ("backend-v6-data", #"{"VNI":1}"#),
      ])
    let lease = try #require(try reader([.ipv4, .ipv6]).lease(of: dual))
    #expect(lease.subnets.values.map(\.description) == ["10.244.1.0/24", "fd00:1::/64"])
    #expect(lease.attributes.publicIPs.values.map(\.description) == ["192.168.0.9", "fd01::9"])
    #expect(lease.attributes.backendData[.ipv4] == nil)
    #expect(lease.attributes.backendData[.ipv6]?.text == #"{"VNI":1}"#)
    #expect(try reader().lease(of: dual)?.subnets.ipv6 == nil)
  }

  @Test func ofTheOwnNodeTheLastOfEachFamilyCounts() throws {
    let configuration = try NetworkConfiguration(parsing: #"{"Network":"10.244.0.0/16"}"#)
    let own = try node("n", ["10.244.1.0/24", "10.244.2.0/24"], [])
    #expect(try own.ownSubnets(in: configuration).ipv4?.description == "10.244.2.0/24")
    #expect(try reader().lease(of: try peer("p", "10.244.1.0/24"))?.subnets.ipv4?.description == "10.244.1.0/24")
    let dual = try NetworkConfiguration(
      parsing: #"{"Network":"10.244.0.0/16","EnableIPv6":true,"IPv6Network":"fd00::/48"}"#)
    #expect(throws: OwnSubnetError.familyMissing(node: "n", .ipv6)) { try own.ownSubnets(in: dual) }
  }

  @Test func nodesThatTakeNoPart() throws {
    #expect(try reader().lease(of: node("n", ["10.244.1.0/24"], [("public-ip", "192.168.0.9")])) == nil)
    #expect(try reader().lease(of: node("n", ["10.244.1.0/24"], [("kube-subnet-manager", "false")])) == nil)
    #expect(
      try reader().lease(of: node("n", [], [("kube-subnet-manager", "true"), ("public-ip", "192.168.0.9")])) == nil)
    #expect(throws: NodeLeaseError.self) {
      try reader().lease(of: node("n", ["10.244.1.0/24"], [("kube-subnet-manager", "true"), ("public-ip", "x")]))
    }
    #expect(throws: NodeLeaseError.self) {
      try reader().lease(of: node("n", ["10.244.1.0/24"], [("kube-subnet-manager", "true")]))
    }
  }

  /// Whatever the order and the size of the batches, the same is known in the end as after one look at everything.
  @Test(arguments: 0..<20) func batchesOfAnySizeEndInTheSame(_ seed: UInt64) throws {
    var random = SplitMix64(seed: seed)
    var known: [String: KubeNode] = [:]
    var leases = NodeLeases(reader: try reader(), own: "node-0")
    for _ in 0..<12 {
      var batch: [KubeNode] = []
      for _ in 0..<Int.random(in: 1...150, using: &random) {
        let name = "node-\(Int.random(in: 0..<200, using: &random))"
        guard !batch.contains(where: { $0.name == name }) else { continue }
        batch.append(
          try peer(
            name, "10.244.\(Int.random(in: 0..<250, using: &random)).0/24",
            "192.168.0.\(Int.random(in: 1..<250, using: &random))"))
      }
      for n in batch { known[n.name] = n }
      let before = leases.snapshot
      #expect(leases.put(batch) == (leases.snapshot.revision != before.revision))
      let gone = known.keys.filter { _ in Int.random(in: 0..<10, using: &random) == 0 }
      for name in gone { known[name] = nil }
      _ = leases.remove(gone)
      let snapshot = leases.snapshot
      let wanted = try known.values.filter { $0.name != "node-0" }.compactMap { try reader().lease(of: $0) }
      #expect(Set(snapshot.leases.map(\.node)) == Set(wanted.map(\.node)))
      for lease in wanted {
        let mine = try #require(snapshot.leases.first { $0.node == lease.node })
        #expect(mine.subnets == lease.subnets && mine.attributes == lease.attributes)
      }
      #expect(
        zip(snapshot.leases, snapshot.leases.dropFirst()).allSatisfy {
          $0.key < $1.key || $0.key == $1.key && $0.rank < $1.rank
        })
      #expect(leases.put(batch.filter { known[$0.name] == $0 }) == false)
    }
  }

  @Test func theArchiveHoldsWhatMatters() throws {
    let directory = try TemporaryDirectory("archive")
    let path = directory.file("sub/nodes.json")
    #expect(try NodeArchive.read(path) == nil)
    let own = try node("own", ["10.244.1.0/24"], [("public-ip", "192.168.0.1"), ("backend-data", #"{"a":"\"\\"}"#)])
    let others = [try peer("a", "10.244.2.0/24"), own, try peer("b", "10.244.3.0/24")]
    try NodeArchive.write(own: own, others: others, prefix: prefix, to: path)
    #expect(try Files.status(path).mode & 0o777 == 0o600)
    let read = try #require(try NodeArchive.read(path))
    #expect(read.own.name == "own" && read.own.annotations.elementsEqual(own.annotations, by: ==))
    #expect(read.own.podCIDRs == ["10.244.1.0/24"] && read.own.uid == own.uid)
    #expect(read.others.map(\.name) == ["a", "b"])
    #expect(
      try read.others.map { try reader().lease(of: $0) } == [others[0], others[2]].map { try reader().lease(of: $0) })
    for text in ["", "{", #"{"items":[]}"#, #"{"items":[{}]}"#, "[1]"] {
      try Files.writeAtomically(Array(text.utf8), to: path, mode: 0o600)
      #expect(throws: NodeArchiveError.self) { try NodeArchive.read(path) }
    }
  }

  @Test func onlyWhatDiffersIsPatched() throws {
    let names = try AnnotationNames(prefix: prefix)
    var attributes = LeaseAttributes(
      publicIPs: PerFamily(ipv4: IPAddress("192.168.0.1")), backendType: "vxlan",
      backendData: PerFamily(ipv4: BackendData(["VNI": 1])))
    let fresh = try node("own", ["10.244.1.0/24"], [])
    let all = fresh.annotationChanges(attributes, names: names)
    #expect(
      all.map(\.name) == ["backend-data", "backend-type", "kube-subnet-manager", "public-ip"].map { prefix + $0 })
    #expect(all.map(\.value) == [#"{"VNI":1}"#, "vxlan", "true", "192.168.0.1"])
    let marks = all.map { (String($0.name.dropFirst(prefix.utf8.count)), $0.value) }
    #expect(try node("own", [], marks).annotationChanges(attributes, names: names).isEmpty)
    attributes.publicIPs.ipv4 = IPAddress("192.168.0.2")
    #expect(try node("own", [], marks).annotationChanges(attributes, names: names).map(\.value) == ["192.168.0.2"])
    let overwritten = try node("own", [], marks + [("public-ip-overwrite", "203.0.113.1")])
    #expect(overwritten.annotationChanges(attributes, names: names).map(\.value) == ["203.0.113.1"])
  }
}
