import JSON
import NetTypes
import Testing

@testable import CNI

/// The configuration of the bridge plugin and its refusals, all before anything is touched.
@Suite struct BridgeConfigurationTests {
  func parse(_ text: String, mac: String? = nil) throws -> BridgeConfiguration {
    try BridgeConfiguration(try #require(try JSONValue(parsing: Array(text.utf8)).objectValue), argumentMAC: mac)
  }

  /// The error a configuration gives.
  func refusal(_ text: String, mac: String? = nil) throws -> CNIError {
    let json = try #require(try JSONValue(parsing: Array(text.utf8)).objectValue)
    return try #require(throws: CNIError.self) { _ = try BridgeConfiguration(json, argumentMAC: mac) }
  }

  @Test func defaults() throws {
    let c = try parse(#"{"name":"n","type":"bridge"}"#)
    #expect(c == BridgeConfiguration())
    #expect(c.bridge == "cni0")
    #expect(c.mtu == 0)
    #expect(c.preserveDefaultVLAN)
    #expect(!c.hasIPAM)
    #expect(!c.needsVLANFiltering)
    #expect(c.gatewayDevice == nil)
  }

  @Test func everyKey() throws {
    let c = try parse(
      """
      {"bridge":"br-x","isGateway":true,"forceAddress":true,"mtu":1450,"hairpinMode":true,"vlan":100,
       "vlanTrunk":[{"id":101},{"minID":200,"maxID":202}],"preserveDefaultVlan":false,"enabledad":true,
       "portIsolation":true,"ipam":{"type":"host-local"},"dns":{"nameservers":["1.1.1.1"]},"ISDEFAULTGATEWAY":null,
       "args":{"cni":{"mac":"02:00:00:00:00:01"}}}
      """)
    var expected = BridgeConfiguration()
    expected.bridge = "br-x"
    expected.isGateway = true
    expected.forceAddress = true
    expected.mtu = 1450
    expected.hairpinMode = true
    expected.vlan = 100
    expected.trunk = [101...101, 200...202]
    expected.preserveDefaultVLAN = false
    expected.enableDAD = true
    expected.portIsolation = true
    expected.ipamType = "host-local"
    expected.dns = CNIResult.DNS(nameservers: ["1.1.1.1"])
    expected.mac = MACAddress("02:00:00:00:00:01")
    #expect(c == expected)
    #expect(c.gatewayDevice == "br-x.100")
  }

  @Test func defaultGatewayImpliesGateway() throws {
    #expect(try parse(#"{"isDefaultGateway":true}"#).isGateway)
    #expect(try parse(#"{"isDefaultGateway":true,"isGateway":false}"#).isGateway)
  }

  @Test func keysWithoutRegardToCase() throws {
    #expect(try parse(#"{"HairpinMode":true,"MTU":1400}"#).mtu == 1400)
  }

  @Test(
    arguments: [
      (#"[]"#, []), (#"[{}]"#, []), (#"[{"minID":100,"maxID":105}]"#, [100...105]), (#"[{"id":10}]"#, [10...10]),
      (#"[{"id":10,"minID":100,"maxID":105}]"#, [10...10, 100...105]),
      (#"[{"minID":5,"maxID":7},{"id":8},{"id":6}]"#, [5...8]),
      (#"[{"minID":1,"maxID":4094}]"#, [1...4094]),
    ] as [(String, [ClosedRange<UInt16>])])
  func trunk(_ text: String, _ expected: [ClosedRange<UInt16>]) throws {
    #expect(try parse(#"{"vlanTrunk":\#(text)}"#).trunk == expected)
  }

  @Test(arguments: [
    (#"[{"minID":100}]"#, "minID and maxID should be configured simultaneously, maxID is missing"),
    (#"[{"maxID":100}]"#, "minID and maxID should be configured simultaneously, minID is missing"),
    (#"[{"minID":-1,"maxID":105}]"#, "incorrect trunk minID parameter"),
    (#"[{"minID":5000,"maxID":105}]"#, "incorrect trunk minID parameter"),
    (#"[{"minID":100,"maxID":5000}]"#, "incorrect trunk maxID parameter"),
    (#"[{"minID":100,"maxID":-105}]"#, "incorrect trunk maxID parameter"),
    (#"[{"id":5000}]"#, "incorrect trunk id parameter"), (#"[{"id":-1}]"#, "incorrect trunk id parameter"),
    (#"[{"id":0}]"#, "incorrect trunk id parameter"),
    (#"[{"minID":105,"maxID":100}]"#, "minID is greater than maxID in trunk parameter"),
  ])
  func trunkErrors(_ text: String, _ message: String) throws {
    let e = try refusal(#"{"vlanTrunk":\#(text)}"#)
    #expect(e.message == message)
    #expect(e.code == .invalidConfiguration)
  }

  @Test(arguments: [
    (#"{"vlan":-100}"#, "invalid VLAN ID -100 (must be between 0 and 4094)"),
    (#"{"vlan":5000}"#, "invalid VLAN ID 5000 (must be between 0 and 4094)"),
    (#"{"hairpinMode":true,"promiscMode":true}"#, "cannot set hairpin mode and promiscuous mode at the same time"),
    (
      #"{"disableContainerInterface":true,"ipam":{"type":"x"}}"#,
      "cannot use IPAM when DisableContainerInterface flag is set"
    ),
    (#"{"ipMasq":true,"ipMasqBackend":"x"}"#, #"unknown ipmasq backend "x""#),
    (#"{"mtu":-1}"#, "invalid MTU -1 (must be 0 for the default, or between 68 and 65535)"),
    (#"{"mtu":9999999999}"#, "invalid MTU 9999999999 (must be 0 for the default, or between 68 and 65535)"),
    (
      #"{"bridge":"../../x"}"#,
      #"invalid bridge name "../../x": expected 1 to 15 characters without /, : and white space"#
    ),
    (#"{"bridge":""}"#, #"invalid bridge name "": expected 1 to 15 characters without /, : and white space"#),
    (
      #"{"bridge":"0123456789abcdef"}"#,
      #"invalid bridge name "0123456789abcdef": expected 1 to 15 characters without /, : and white space"#
    ),
    (#"{"args":{"cni":{"mac":"zz"}}}"#, "address zz: invalid MAC address"),
    (
      #"{"args":{"cni":{"mac":"01:00:5e:00:00:01"}}}"#,
      "address 01:00:5e:00:00:01: the container needs a unicast MAC address"
    ),
  ])
  func refused(_ text: String, _ message: String) throws {
    let e = try refusal(text)
    #expect(e.message == message)
    #expect(e.code == .invalidConfiguration)
  }

  @Test func gatewayDeviceNameTooLong() throws {
    let e = try refusal(#"{"bridge":"bridge-number-1","vlan":100,"isGateway":true}"#)
    #expect(e.message.contains("\"bridge-number-1.100\" of VLAN 100 is longer than 15 characters"))
    #expect(try parse(#"{"bridge":"bridge-number-1","vlan":100}"#).vlan == 100)
  }

  @Test(arguments: [
    #"{"mtu":"1450"}"#, #"{"mtu":1.5}"#, #"{"vlan":1e99}"#, #"{"bridge":7}"#, #"{"isGateway":"yes"}"#,
    #"{"ipam":[]}"#, #"{"ipam":{"type":{}}}"#, #"{"vlanTrunk":{}}"#, #"{"vlanTrunk":[7]}"#, #"{"dns":"x"}"#,
    #"{"dns":{"search":[1]}}"#,
  ])
  func wrongTypes(_ text: String) throws {
    let e = try refusal(text)
    #expect(e.code == .decodingFailure)
    #expect(e.message.hasPrefix("failed to load netconf: cannot read \""))
  }

  /// What ADD refuses does not keep DEL from cleaning up.
  @Test(arguments: [
    #""mtu":-1"#, #""mtu":"x""#, #""hairpinMode":true,"promiscMode":true"#, #""args":{"cni":{"mac":"zz"}}"#,
    #""vlan":9999"#, #""vlanTrunk":[{"id":0}]"#, #""bridge":"../../x""#, #""bridge":7"#, #""ipMasq":true"#,
    #""ipMasq":true,"ipMasqBackend":"x""#,
  ])
  func removalIsLenient(_ member: String) throws {
    var call = PluginCall(BridgePlugin())
    // No such namespace: ADD fails in any case, DEL has nothing to delete.
    #expect(call(#"{"cniVersion":"1.1.0","name":"n","type":"bridge",\#(member)}"#).exitCode == 1)
    call.args = "MAC"
    for command in ["DEL", "GC"] {
      let extra = command == "GC" ? #","cni.dev/valid-attachments":[]"# : ""
      let out = call(#"{"cniVersion":"1.1.0","name":"n","type":"bridge",\#(member)\#(extra)}"#, command)
      #expect(out.exitCode == 0, "\(out.text)")
    }
  }

  @Test func macPrecedence() throws {
    let args = #""args":{"cni":{"mac":"02:00:00:00:00:02"}}"#
    let runtime = #""runtimeConfig":{"mac":"02:00:00:00:00:03"}"#
    #expect(try parse("{}", mac: "02:00:00:00:00:01").mac == MACAddress("02:00:00:00:00:01"))
    #expect(try parse("{\(args)}", mac: "02:00:00:00:00:01").mac == MACAddress("02:00:00:00:00:02"))
    #expect(try parse("{\(runtime),\(args)}", mac: "02:00:00:00:00:01").mac == MACAddress("02:00:00:00:00:03"))
    #expect(try parse("{}").mac == nil)
  }

  @Test func masqueradeBackend() throws {
    #expect(try parse(#"{"ipMasq":true,"ipMasqBackend":"nftables"}"#).ipMasqBackend == .nftables)
    #expect(try parse(#"{"ipMasq":true,"ipMasqBackend":"iptables"}"#).ipMasqBackend == .iptables)
    #expect(try parse(#"{"ipMasq":true}"#).ipMasqBackend == nil)
    // Only asked for when it is used, as in Go.
    #expect(try parse(#"{"ipMasqBackend":"x"}"#).ipMasqBackend == nil)
  }

  @Test func vlansOfThePort() throws {
    func ports(_ text: String) throws -> [BridgeVLAN] {
      let c = try parse(text)
      return c.portVLANs(trunk: c.trunk)
    }
    #expect(try ports(#"{"vlan":100}"#) == [BridgeVLAN(ids: 100...100, isPVID: true, isUntagged: true)])
    #expect(
      try ports(#"{"vlanTrunk":[{"id":101},{"minID":200,"maxID":210}]}"#) == [
        BridgeVLAN(ids: 101...101), BridgeVLAN(ids: 200...210), BridgeVLAN(ids: 1...1, isPVID: true, isUntagged: true),
      ])
    #expect(
      try ports(#"{"vlan":100,"vlanTrunk":[{"id":101}]}"#) == [
        BridgeVLAN(ids: 101...101), BridgeVLAN(ids: 100...100, isPVID: true, isUntagged: true),
      ])
  }
}
