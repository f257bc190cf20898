import JSON
import NetTypes
import Testing

@testable import CNI

@Suite struct HostLocalRangeTests {
  func range(_ text: String) throws -> AddressRange {
    try AddressRange(json: try #require(try JSONValue(parsing: text).objectValue))
  }
  func set(_ subnets: String...) throws -> AddressRangeSet {
    try AddressRangeSet(try subnets.map { try range(#"{"subnet":"\#($0)"}"#) })
  }
  func message(_ body: () throws -> some Any) -> String? {
    do {
      _ = try body()
      return nil
    } catch { return (error as? CNIError)?.message }
  }

  @Test(arguments: [
    ("192.0.2.0/24", "192.0.2.1-192.0.2.254", "192.0.2.1"), ("192.0.2.0/25", "192.0.2.1-192.0.2.126", "192.0.2.1"),
    ("2001:db8:1::/64", "2001:db8:1::1-2001:db8:1:0:ffff:ffff:ffff:ffff", "2001:db8:1::1"),
    ("10.0.0.0/30", "10.0.0.1-10.0.0.2", "10.0.0.1"), ("fd00::/126", "fd00::1-fd00::3", "fd00::1"),
  ])
  func defaults(subnet: String, text: String, gateway: String) throws {
    let r = try range(#"{"subnet":"\#(subnet)"}"#)
    #expect(r.description == text)
    #expect(r.gateway.description == gateway)
  }

  @Test(arguments: [
    (
      #"{"subnet":"192.0.2.12/24"}"#,
      "Network has host bits set. For a subnet mask of length 24 the network address is 192.0.2.0"
    ),
    (
      #"{"subnet":"192.168.127.0/23"}"#,
      "Network has host bits set. For a subnet mask of length 23 the network address is 192.168.126.0"
    ),
    (
      #"{"subnet":"2001:db8:24:19ff::/63"}"#,
      "Network has host bits set. For a subnet mask of length 63 the network address is 2001:db8:24:19fe::"
    ),
    (#"{"subnet":"192.0.2.0/31"}"#, "Network 192.0.2.0/31 too small to allocate from"),
    (#"{"subnet":"192.0.2.0/32"}"#, "Network 192.0.2.0/32 too small to allocate from"),
    (#"{"subnet":"fd00::/127"}"#, "Network fd00::/127 too small to allocate from"),
    (#"{"subnet":"192.0.2.0/24","rangeStart":"192.0.3.0"}"#, "RangeStart 192.0.3.0 not in network 192.0.2.0/24"),
    (#"{"subnet":"192.0.2.0/24","rangeEnd":"192.0.4.0"}"#, "RangeEnd 192.0.4.0 not in network 192.0.2.0/24"),
    (
      #"{"subnet":"192.0.2.0/24","rangeStart":"192.0.2.50","rangeEnd":"192.0.2.40"}"#,
      "RangeStart 192.0.2.50 not in network 192.0.2.0/24"
    ),
    (#"{"subnet":"192.0.2.0/24","rangeStart":"fd00::1"}"#, "RangeStart fd00::1 not in network 192.0.2.0/24"),
    (#"{}"#, "IP <nil> not v4 nor v6"), (#"{"subnet":"10.0.0.0/zz"}"#, "invalid CIDR address: 10.0.0.0/zz"),
    (#"{"subnet":"10.0.0.0/24","gateway":"zz"}"#, "invalid IP address: zz"),
  ])
  func refuses(text: String, expected: String) { #expect(message { try range(text) } == expected) }

  @Test func boundsAreKept() throws {
    for (net, inside, outside) in [
      ("192.0.2.", ["40", "45", "50"], ["39", "51", "1"]), ("2001:db8:1::", ["40", "50"], ["39", "51"]),
    ] {
      let mask = net.hasPrefix("2001") ? "2001:db8:1::/64" : "192.0.2.0/24"
      let r = try range(
        #"{"subnet":"\#(mask)","rangeStart":"\#(net)40","rangeEnd":"\#(net)50","gateway":"\#(net)254"}"#)
      for i in inside { #expect(r.contains(try #require(IPAddress(net + i)))) }
      for i in outside { #expect(!r.contains(try #require(IPAddress(net + i)))) }
      #expect(r.gateway.description == net + "254")
    }
  }

  @Test(arguments: [
    ("10.0.0.0/24", "10.0.1.0/24", false), ("0.0.0.0/24", "::/24", false), ("10.0.0.0/24", "10.0.0.0/24", true),
    ("10.0.0.0/20", "10.0.1.0/24", true),
  ])
  func overlap(a: String, b: String, expected: Bool) throws {
    #expect(try set(a).overlaps(try set(b)) == expected)
    #expect(try set(b).overlaps(try set(a)) == expected)
  }

  @Test func splitSubnetsOverlapAtOneAddress() throws {
    let low = try range(#"{"subnet":"10.0.0.0/24","rangeEnd":"10.0.0.127"}"#)
    let high = try range(#"{"subnet":"10.0.0.0/24","rangeStart":"10.0.0.128"}"#)
    let touching = try range(#"{"subnet":"10.0.0.0/24","rangeStart":"10.0.0.127"}"#)
    #expect(!low.overlaps(high) && !high.overlaps(low))
    #expect(low.overlaps(touching) && touching.overlaps(low))
  }

  @Test func setsAreChecked() throws {
    #expect(message { try AddressRangeSet([]) } == "empty range set")
    #expect(message { try set("10.0.0.0/24", "fd00::/64") } == "mixed address families")
    #expect(
      message { try set("192.168.0.0/20", "192.168.2.0/24") }
        == "subnets 192.168.0.1-192.168.15.254 and 192.168.2.1-192.168.2.254 overlap")
    let s = try set("192.168.0.0/24", "172.16.1.0/24")
    #expect(s.description == "192.168.0.1-192.168.0.254,172.16.1.1-172.16.1.254")
    #expect(s.range(of: try #require(IPAddress("172.16.1.7")))?.subnet.description == "172.16.1.0/24")
    #expect(!s.contains(try #require(IPAddress("192.168.99.99"))))
  }

  func candidates(_ s: AddressRangeSet, _ last: String?, limit: Int = 20) -> [String] {
    s.candidates(after: last.flatMap { IPAddress($0) }).prefix(limit).map(\.address.description)
  }

  @Test func roundRobin() throws {
    let s = try set("192.168.1.0/29")
    let all = (2...6).map { "192.168.1.\($0)" }
    #expect(candidates(s, nil) == all)
    #expect(candidates(s, "192.168.1.6") == all)
    #expect(candidates(s, "192.168.1.3").map { $0.suffix(1) } == ["4", "5", "6", "2", "3"])
    #expect(candidates(s, "10.0.0.128") == all)
    let many = try set("10.0.0.0/30", "10.0.1.0/30", "10.0.2.0/30")
    #expect(candidates(many, nil) == ["10.0.0.2", "10.0.1.2", "10.0.2.2"])
    #expect(candidates(many, "10.0.0.2") == ["10.0.1.2", "10.0.2.2", "10.0.0.2"])
    #expect(candidates(many, "10.0.2.2") == ["10.0.0.2", "10.0.1.2", "10.0.2.2"])
    let explicit = try AddressRangeSet([
      try range(#"{"subnet":"192.168.1.0/24","rangeStart":"192.168.1.0","rangeEnd":"192.168.1.3"}"#),
      try range(#"{"subnet":"192.168.2.0/24","rangeStart":"192.168.2.0","rangeEnd":"192.168.2.3"}"#),
    ])
    #expect(candidates(explicit, "192.168.1.3").first == "192.168.2.0")
    #expect(candidates(explicit, nil).first == "192.168.1.0")
  }

  @Test func edgesOfTheAddressSpace() throws {
    let s = try set("255.255.255.0/24")
    #expect(candidates(s, "255.255.255.254", limit: 1) == ["255.255.255.2"])
    let six = try set("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffc/126")
    #expect(candidates(six, nil).count == 2)
    let one = try AddressRangeSet([
      try range(#"{"subnet":"10.0.0.0/24","rangeStart":"10.0.0.9","rangeEnd":"10.0.0.9"}"#)
    ])
    #expect(candidates(one, nil) == ["10.0.0.9"])
    #expect(candidates(one, "10.0.0.9") == ["10.0.0.9"])
    let onlyGateway = try AddressRangeSet([
      try range(#"{"subnet":"10.0.0.0/24","rangeStart":"10.0.0.1","rangeEnd":"10.0.0.1"}"#)
    ])
    #expect(candidates(onlyGateway, nil).isEmpty)
  }

  @Test func resolverSettings() {
    let dns = CNIResult.DNS(
      resolvConf: "; c\n# c\n  nameserver 192.0.2.3\nnameserver 192.0.2.4 x\ndomain a.b\nsearch x y\n\tsearch z\n"
        + "options one two\noptions three\nnameserver\n")
    #expect(
      dns
        == CNIResult.DNS(
          nameservers: ["192.0.2.3", "192.0.2.4"], domain: "a.b", search: ["x", "y", "z"],
          options: ["one", "two", "three"]))
  }
}
