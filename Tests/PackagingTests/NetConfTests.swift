import JSON
import Testing

/// `net-conf.json` for every back end: what the flannel chart writes, member for member and in its order (contract
/// install §1.2), valid JSON always (§8.1), and what it cannot write (§8.2).
@Suite struct NetConfTests {
  struct Case: CustomTestStringConvertible {
    let values: String
    let document: String
    var testDescription: String { values }
  }

  static let network = #""Network":"10.244.0.0/16""#

  static let flannels: [Case] = [
    Case(values: "{}", document: #"{\#(network),"Backend":{"Type":"vxlan"}}"#),
    Case(
      values: "flannel: {enableNFTables: true}",
      document: #"{\#(network),"EnableNFTables":true,"Backend":{"Type":"vxlan"}}"#),
    Case(
      values: "flannel: {enableNFTables: 'true'}",
      document: #"{\#(network),"EnableNFTables":true,"Backend":{"Type":"vxlan"}}"#),
    Case(
      values: "{podCidr: '', podCidrv6: 'fd00:10:244::/56'}",
      document: #"{"EnableIPv4":false,"IPv6Network":"fd00:10:244::/56","EnableIPv6":true,"Backend":{"Type":"vxlan"}}"#),
    Case(
      values: "podCidrv6: 'fd00:10:244::/56'",
      document: #"{\#(network),"IPv6Network":"fd00:10:244::/56","EnableIPv6":true,"Backend":{"Type":"vxlan"}}"#),
    Case(
      values: "flannel: {backendPort: 8472, vni: 4096, GBP: true, directRouting: true, mtu: 1400, macPrefix: 0E-2A}",
      document: #"""
        {\#(network),"Backend":{"Port":8472,"VNI":4096,"GBP":true,"DirectRouting":true,"MTU":1400,"MacPrefix":"0E-2A",\#
        "Type":"vxlan"}}
        """#),
    Case(
      values: "flannel: {backendPort: '4789', vni: '1', directRouting: 'true', GBP: 'false', mtu: ''}",
      document: #"{\#(network),"Backend":{"Port":4789,"VNI":1,"GBP":false,"DirectRouting":true,"Type":"vxlan"}}"#),
    Case(
      values: "flannel: {vni: 16777215}", document: #"{\#(network),"Backend":{"VNI":16777215,"Type":"vxlan"}}"#),
    Case(
      values: "flannel: {backend: VXLAN, vni: 2}", document: #"{\#(network),"Backend":{"VNI":2,"Type":"VXLAN"}}"#),
    Case(
      values: """
        flannel: {backend: wireguard, backendPort: 51820, backendPortv6: 51821, psk: c2VjcmV0, mtu: 1420, \
        tunnelMode: auto, keepaliveInterval: 25, vni: 7}
        """,
      document: #"""
        {\#(network),"Backend":{"ListenPort":51820,"ListenPortV6":51821,"PSK":"c2VjcmV0","MTU":1420,"Mode":"auto",\#
        "PersistentKeepaliveInterval":25,"Type":"wireguard"}}
        """#),
    Case(
      values: "flannel: {backend: wireguard, backendPort: 0, psk: 0, keepaliveInterval: 0, tunnelMode: ''}",
      document: #"{\#(network),"Backend":{"Type":"wireguard"}}"#),
    Case(
      values: #"flannel: {backend: udp, backendPort: 8285, mtu: 1400}"#,
      document: #"{\#(network),"Backend":{"Port":8285,"Type":"udp"}}"#),
    Case(
      values: "flannel: {backend: host-gw, mtu: 1400, backendPort: 1}",
      document: #"{\#(network),"Backend":{"Type":"host-gw"}}"#),
  ]

  @Test(arguments: flannels) func isFlannels(_ c: Case) throws { try expect(c) }

  @Test(arguments: ["ipip", "alloc", "ipsec", "extension", "host-gw"]) func onlyTheType(_ backend: String) throws {
    try expect(
      Case(
        values: "flannel: {backend: \(backend), directRouting: true}",
        document: #"{\#(Self.network),"Backend":{"Type":"\#(backend)"}}"#))
  }

  /// In flannel's chart quotes inside the value were the only way to set the mode.
  @Test(arguments: ["separate", "auto", "ipv4", "ipv6"]) func tunnelModes(_ mode: String) throws {
    for value in [mode, #"'"\#(mode)"'"#] {
      try expect(
        Case(
          values: "flannel: {backend: wireguard, tunnelMode: \(value)}",
          document: #"{\#(Self.network),"Backend":{"Mode":"\#(mode)","Type":"wireguard"}}"#))
    }
  }

  static let further: [Case] = [
    Case(
      values: "flannel: {backend: ipip, backendConfig: {DirectRouting: true}}",
      document: #"{\#(network),"Backend":{"DirectRouting":true,"Type":"ipip"}}"#),
    Case(
      values: "flannel: {vni: 1, mtu: 1400, backendConfig: {vni: 16777214, Learning: true, NexthopObjects: always}}",
      document: #"""
        {\#(network),"Backend":{"MTU":1400,"Learning":true,"NexthopObjects":"always","vni":16777214,"Type":"vxlan"}}
        """#),
    Case(
      values: #"flannel: {backend: extension, backendConfig: {SubnetAddCommand: "ip route add \"$SUBNET\""}}"#,
      document: #"""
        {\#(network),"Backend":{"SubnetAddCommand":"ip route add \"$SUBNET\"","Type":"extension"}}
        """#),
  ]

  @Test(arguments: further) func backendConfigIsMerged(_ c: Case) throws { try expect(c) }

  private func expect(_ c: Case) throws {
    let document = try Chart.renderParsed(c.values).at("ConfigMap/data/net-conf.json")
    #expect(try document?.text() == JSONValue(parsing: c.document).text())
  }
}
