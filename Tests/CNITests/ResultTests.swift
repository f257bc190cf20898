import JSON
import NetTypes
import Testing

@testable import CNI

@Suite struct ResultTests {
  func prefix(_ s: String) -> IPPrefix { IPPrefix(s) ?? IPPrefix(host: IPAddress(.ipv4, 0)) }

  var full: CNIResult {
    CNIResult(
      interfaces: [
        .init(name: "cni0", mac: "f2:94:cf:89:9e:64"), .init(name: "veth31b5a361", mac: "4e:10:91:9f:69:7e"),
        .init(
          name: "eth0", mac: "b6:aa:7b:01:b5:42", mtu: 1450, sandbox: "/run/netns/p1", socketPath: "/s", pciID: "0:1"),
      ],
      ips: [
        .init(address: prefix("10.244.41.2/24"), gateway: IPAddress("10.244.41.1"), interface: 2),
        .init(address: prefix("fd00::2/64"), gateway: IPAddress("fd00::1"), interface: 0),
        .init(address: prefix("10.9.9.9/32")),
      ],
      routes: [
        .init(dst: prefix("10.244.0.0/16")), .init(dst: prefix("::/0"), gw: IPAddress("fd00::1")),
        .init(
          dst: prefix("0.0.0.0/0"), gw: IPAddress("10.244.41.1"), mtu: 1400, advmss: 1360, priority: 5, table: 100,
          scope: 253),
      ],
      dns: .init(nameservers: ["1.1.1.1"], domain: "d", search: ["s"], options: ["o"]))
  }

  /// A real result of the reference plugins, byte for byte.
  @Test func printsAsTheReference031() throws {
    let r = CNIResult(
      interfaces: [
        .init(name: "cni0", mac: "f2:94:cf:89:9e:64", mtu: 1450),
        .init(name: "eth0", mac: "b6:aa:7b:01:b5:42", sandbox: "/run/netns/p1"),
      ], ips: [.init(address: prefix("10.244.41.2/24"), gateway: IPAddress("10.244.41.1"), interface: 1)],
      routes: [
        .init(dst: prefix("10.244.0.0/16")), .init(dst: prefix("0.0.0.0/0"), gw: IPAddress("10.244.41.1")),
      ])
    let expected = """
      {
          "cniVersion": "0.3.1",
          "interfaces": [
              {
                  "name": "cni0",
                  "mac": "f2:94:cf:89:9e:64"
              },
              {
                  "name": "eth0",
                  "mac": "b6:aa:7b:01:b5:42",
                  "sandbox": "/run/netns/p1"
              }
          ],
          "ips": [
              {
                  "version": "4",
                  "interface": 1,
                  "address": "10.244.41.2/24",
                  "gateway": "10.244.41.1"
              }
          ],
          "routes": [
              {
                  "dst": "10.244.0.0/16"
              },
              {
                  "dst": "0.0.0.0/0",
                  "gw": "10.244.41.1"
              }
          ],
          "dns": {}
      }
      """
    #expect(String(decoding: try r.document(as: .v0_3_1), as: UTF8.self) == expected)
  }

  @Test func printsAsTheReference010() throws {
    let r = CNIResult(
      ips: [.init(address: prefix("10.0.0.2/24"), gateway: IPAddress("10.0.0.1"))],
      routes: [.init(dst: prefix("0.0.0.0/0"), gw: IPAddress("10.0.0.1"))])
    let expected =
      #"{"cniVersion":"0.1.0","ip4":{"ip":"10.0.0.2/24","gateway":"10.0.0.1","#
      + #""routes":[{"dst":"0.0.0.0/0","gw":"10.0.0.1"}]},"dns":{}}"#
    #expect(try r.json(as: .v0_1_0).text() == expected)
  }

  @Test func newVersionsSortTheirMembers() throws {
    let text = String(decoding: try full.document(as: .v1_1_0), as: UTF8.self)
    let top = try #require(try JSONValue(parsing: text).objectValue)
    #expect(top.names == ["cniVersion", "dns", "interfaces", "ips", "routes"])
    let interface = try #require(top["interfaces"]?.arrayValue?.last?.objectValue)
    #expect(interface.names == ["mac", "mtu", "name", "pciID", "sandbox", "socketPath"])
    let route = try #require(top["routes"]?.arrayValue?.last?.objectValue)
    #expect(route.names == ["advmss", "dst", "gw", "mtu", "priority", "scope", "table"])
    #expect(try CNIResult().json(as: .v1_0_0).text() == #"{"cniVersion":"1.0.0"}"#)
  }

  @Test(arguments: CNIVersion.all)
  func readsWhatItPrints(version: CNIVersion) throws {
    let json = try JSONValue(parsing: try full.document(as: version))
    let back = try CNIResult(parsing: json, version: .v0_1_0)
    #expect(back == (try full.reduced(to: version)))
    #expect(try back.json(as: version) == json)
    #expect(try CNIResult(previous: json, version: version) == back)
  }

  @Test func onlyTheLabelChangesFrom110To100() throws {
    let json = try full.json(as: .v1_0_0)
    #expect(
      try CNIResult(parsing: json, version: .v1_0_0).json(as: .v1_1_0).objectValue?["ips"] == json.objectValue?["ips"])
    #expect(try CNIResult(parsing: json, version: .v1_0_0) == full)
  }

  @Test func reducesTo040And020() throws {
    let r = try full.reduced(to: .v0_4_0)
    #expect(r.interfaces.allSatisfy { $0.mtu == 0 && $0.pciID.isEmpty && $0.socketPath.isEmpty })
    #expect(r.ips == full.ips)
    let old = try full.reduced(to: .v0_2_0)
    #expect(old.interfaces.isEmpty)
    #expect(old.ips.map(\.address.description) == ["10.244.41.2/24", "fd00::2/64"])
    #expect(old.routes.map(\.dst.description) == ["10.244.0.0/16", "0.0.0.0/0", "::/0"])
    #expect(old.routes.allSatisfy { $0.mtu == 0 && $0.table == nil })
    #expect(throws: CNIError.plain("cannot convert: no valid IP addresses")) {
      try CNIResult().reduced(to: .v0_2_0)
    }
  }

  @Test func interfaceIndexZeroIsKept() throws {
    let ips = try #require(try full.json(as: .v1_0_0).objectValue?["ips"]?.arrayValue)
    #expect(ips[1].objectValue?["interface"]?.intValue == 0)
    #expect(ips[2].objectValue?["interface"] == nil)
  }

  @Test func previousResultMustHaveTheLayoutOfTheConfiguration() throws {
    let json = try full.json(as: .v0_4_0)
    #expect(throws: CNIError.self) { try CNIResult(previous: json, version: .v1_0_0) }
    #expect(try CNIResult(previous: json, version: .v0_3_1).ips.count == 3)
    #expect(throws: CNIError.self) { try CNIResult(previous: ["cniVersion": "5678.4.5"], version: .v1_0_0) }
    #expect(throws: CNIError.self) { try CNIResult(previous: ["ips": [["address": "x"]]], version: .v1_0_0) }
  }

  @Test func versionOrder() throws {
    #expect(try CNIVersion(parsing: "1.1.1") > .v1_1_0)
    #expect(!(CNIVersion.v1_1_0 > .v1_1_0))
    #expect(try CNIVersion(parsing: "") == .v0_1_0)
    #expect(try CNIVersion(parsing: "1") == .v1_0_0)
    for bad in ["x", "1.x", "1.2.3.4", "1..2", "99999999999999999999"] {
      #expect(throws: CNIError.self) { try CNIVersion(parsing: bad) }
    }
  }
}
