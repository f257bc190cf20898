import JSON
import NetTypes
import Testing

@testable import Lab

@Suite struct PlanTests {
  @Test func addressesOfNodes() throws {
    #expect(LabPlan.underlayAddress(node: 1, .ipv4).description == "172.31.77.11/24")
    #expect(LabPlan.underlayAddress(node: 200, .ipv4).description == "172.31.77.210/24")
    #expect(LabPlan.underlayAddress(node: 1, .ipv6).description == "fd77::11/64")
    #expect(LabPlan.underlayAddress(node: 200, .ipv6).description == "fd77::210/64")
    #expect(LabPlan.router(.ipv4).address.description == "172.31.77.1")
    #expect(LabPlan.router(.ipv6).address.description == "fd77::1")
    let all = Set((1...LabPlan.nodeLimit).map { LabPlan.underlayAddress(node: $0, .ipv6).address })
    #expect(all.count == LabPlan.nodeLimit)
    #expect(Underlay.mac(7).description == "02:77:6c:61:00:07")
  }

  @Test func defaults() throws {
    let plan = try LabPlan(nodes: 3, pods: 2)
    #expect(plan.netConf.text() == #"{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}"#)
    let dual = try LabPlan(nodes: 3, pods: 2, dualStack: true)
    #expect(dual.ipv6Network?.description == "fd00:10:244::/56")
    #expect(dual.families == [.ipv4, .ipv6])
    #expect(try LabPlan(nodes: 1, pods: 0, ipv6Network: "fd01::/48").families == [.ipv4, .ipv6])
    let nft = try LabPlan(nodes: 1, pods: 0, nftables: true)
    #expect(nft.netConf.text() == #"{"Network":"10.244.0.0/16","EnableNFTables":true,"Backend":{"Type":"vxlan"}}"#)
  }

  @Test func internet() {
    #expect(Internet.gateway(.ipv4).description == "198.51.100.1/24")
    #expect(Internet.address(.ipv4).description == "198.51.100.2/24")
    #expect(Internet.gateway(.ipv6).description == "2001:db8:51:100::1/64")
    #expect(Internet.address(.ipv6).description == "2001:db8:51:100::2/64")
  }

  @Test func roundTrip() throws {
    let plan = try LabPlan(
      nodes: 5, pods: 7, network: "10.3.0.0/16", ipv6Network: "fd01::/48",
      backend: #"{"Type":"vxlan","DirectRouting":true}"#, nftables: true)
    #expect(try LabPlan(json: plan.json) == plan)
    #expect(try LabPlan(json: JSONValue(parsing: plan.json.text(.pretty))) == plan)
  }

  @Test func documentOfAnEarlierVersion() throws {
    let text =
      #"{"version":1,"nodes":2,"pods":1,"network":"10.3.0.0/16","ipv6Network":null,"backend":{"Type":"vxlan"}}"#
    #expect(try LabPlan(json: JSONValue(parsing: text)) == LabPlan(nodes: 2, pods: 1, network: "10.3.0.0/16"))
  }

  @Test(arguments: [
    ("nodes", #"{"version":1,"nodes":0,"pods":0,"network":"10.0.0.0/16","backend":{"Type":"vxlan"}}"#),
    ("description", #"{"version":2,"nodes":1,"pods":0,"network":"10.0.0.0/16","backend":{"Type":"vxlan"}}"#),
    ("description", #"{"version":1}"#), ("description", "[]"),
  ])
  func badDocuments(word: String, text: String) throws {
    let json = try JSONValue(parsing: text)
    let error = #expect(throws: LabError.self) { try LabPlan(json: json) }
    #expect(error?.description.contains(word) == true)
  }

  @Test func bounds() {
    func reason(_ body: () throws(LabError) -> LabPlan) -> String {
      do throws(LabError) {
        _ = try body()
        return ""
      } catch { return error.description }
    }
    #expect(reason { () throws(LabError) in try LabPlan(nodes: 0, pods: 1) }.contains("1 to 200"))
    #expect(reason { () throws(LabError) in try LabPlan(nodes: 201, pods: 1) }.contains("1 to 200"))
    #expect(reason { () throws(LabError) in try LabPlan(nodes: 1, pods: -1) }.contains("0 to 100"))
    #expect(reason { () throws(LabError) in try LabPlan(nodes: 1, pods: 101) }.contains("0 to 100"))
    for (network, word) in [
      ("172.31.0.0/16", "underlay"), ("198.51.0.0/16", "the lab's internet"), ("172.31.77.128/25", "underlay"),
      ("0.0.0.0/1", "reserved"),
      ("10.244.0.1/16", "10.244.0.0/16"), ("10.244.0.0", "not an IPv4 network"), ("fd00::/48", "not an IPv4 network"),
      ("10.0.0.0/31", "too small"), ("10.0.0.0/22", "room for 3 nodes"), ("224.0.0.0/8", "reserved"),
      ("169.254.0.0/17", "reserved"), ("127.0.0.0/16", "reserved"),
    ] {
      let text = reason { () throws(LabError) in try LabPlan(nodes: 4, pods: 1, network: network) }
      #expect(text.contains(word), "\(network): \(text)")
    }
    for network in ["fe80::/48", "ff00::/48", "::/48"] {
      let text = reason { () throws(LabError) in try LabPlan(nodes: 1, pods: 1, ipv6Network: network) }
      #expect(text.contains("reserved"), "\(network): \(text)")
    }
    #expect(
      reason { () throws(LabError) in try LabPlan(nodes: 1, pods: 1, ipv6Network: "fd77::/48") }.contains("underlay"))
    #expect(
      reason { () throws(LabError) in try LabPlan(nodes: 3, pods: 70, network: "10.0.0.0/24") }.contains("61 pods"))
    for backend in ["vlan", "host-gw", #"{"Type":"udp"}"#] {
      let text = reason { () throws(LabError) in try LabPlan(nodes: 1, pods: 1, backend: backend) }
      #expect(text.contains("supports vxlan"), "\(backend): \(text)")
    }
    #expect(reason { () throws(LabError) in try LabPlan(nodes: 1, pods: 1, backend: #"{"VNI":1}"#) }.contains("Type"))
    #expect(reason { () throws(LabError) in try LabPlan(nodes: 1, pods: 1, backend: "{") }.contains("JSON"))
  }
}

@Suite struct LabProcessTests {
  @Test func commandLines() throws {
    let processes = LabProcesses(LabDirectory(root: "/r", names: try LabNames(lab: "nosuchlab")))
    let enter = ["/bin/weft", "lab", "enter", "--name", "nosuchlab", "--state-dir", "/r", "--node", "n1", "--", "x"]
    #expect(processes.isStarted(enter))
    #expect(processes.isStarted(["weft", "agent", "--registry-dir", "/r/nosuchlab/registry", "--ip-masq", ""]))
    for other in [
      ["weft", "lab", "up", "--name", "nosuchlab", "--state-dir", "/r"],
      ["weft", "lab", "enter", "--name", "nosuchlab"],
      ["weft", "lab", "enter", "--name", "other", "--state-dir", "/r", "--node", "n1"],
      ["weft", "agent", "--registry-dir", "/r/other/registry"], ["vi", "/r/nosuchlab/registry"], [],
    ] { #expect(!processes.isStarted(other), "\(other)") }
    #expect(processes.running().isEmpty)
  }
}

@Suite struct AgentFailureTests {
  @Test func theLastErrorIsTheReason() {
    let flags = "I0102 10:00:00.000000  7 main.swift:1] CLI flags config: a=\"b] c\""
    let info = (0..<9).map { "I0102 10:00:00.000000  7 main.swift:\($0)] line \($0)" }
    let error = "E0102 10:00:00.000000  7 main.swift:9] bad [1] VNI"
    let (reason, lines) = NodeAgent.explanation(log: [error, flags] + info + [error, "I0102 x] stopping"])
    #expect(reason == "bad [1] VNI")
    #expect(lines == info.suffix(4) + [error])
    let none = NodeAgent.explanation(log: [error, flags, "killed"])
    #expect(none.reason == nil, "an error of an earlier start is not the reason")
    #expect(none.lines == ["killed"])
    #expect(NodeAgent.explanation(log: []).lines.isEmpty)
  }
}

@Suite struct NameTests {
  @Test func labNames() throws {
    for good in ["lab", "a", "l2", "abcdefghijklmnopqrst"] { #expect(try LabNames(lab: good).lab == good) }
    for bad in ["", "Lab", "a-b", "a/b", "..", "a b", "ä", "abcdefghijklmnopqrstu"] {
      #expect(throws: LabError.self) { try LabNames(lab: bad) }
    }
  }

  @Test func nodeNumbers() {
    #expect(LabNames.nodeNumber("n1") == 1)
    #expect(LabNames.nodeNumber("n200") == 200)
    for bad in ["n0", "n201", "n01", "n+1", "n", "m1", "", "n1 ", "n99999999999999999999"] {
      #expect(LabNames.nodeNumber(bad) == nil, "\(bad)")
    }
  }

  @Test func namespaces() throws {
    let names = try LabNames(lab: "a")
    let pod = try PodName(node: "n1", name: "web-1")
    #expect(names.namespace(pod: pod) == "weft-a-n1-web-1")
    for own in ["weft-a-lan", "weft-a-internet", "weft-a-n1", "weft-a-n12-p1", "weft-a-n1-web-1"] {
      #expect(names.owns(namespace: own), "\(own)")
    }
    for other in [
      "weft-ab-n1", "weft-a", "weft-a-", "weft-a-lan2", "weft-a-internet-p1", "weft-ab-internet", "weft-a-nx",
      "weft-a-lan-n1", "a-n1", "weft-b-a-n1",
    ] {
      #expect(!names.owns(namespace: other), "\(other)")
    }
  }

  @Test func podNames() throws {
    for bad in ["", "-a", "a-", "A", "a_b", "a/b", ".", String(repeating: "a", count: 31)] {
      #expect(throws: LabError.self) { try PodName(node: "n1", name: bad) }
    }
    let sorted = try [("n10", "p1"), ("n2", "p10"), ("n2", "web"), ("n2", "p2")].map {
      try PodName(node: $0.0, name: $0.1)
    }
    .sorted().map(\.description)
    #expect(sorted == ["n2-p2", "n2-p10", "n2-web", "n10-p1"])
  }
}
