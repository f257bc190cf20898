import JSON
import NetTypes
import Testing

@testable import Subnets

@Suite struct NetworkConfigurationTests {
  private func pool(_ text: String, _ family: AddressFamily) throws -> SubnetPool {
    try NetworkConfiguration(parsing: text).pool(family)
  }

  @Test func defaults() throws {
    let c = try NetworkConfiguration(parsing: #"{"network":"10.3.0.0/16"}"#)
    #expect(c.enabledFamilies == [.ipv4] && !c.enableNFTables && c.backendType == "udp" && c.backendOptions.isEmpty)
    #expect(c.network(.ipv4) == IPPrefix("10.3.0.0/16") && c.network(.ipv6) == nil)
    let p = try c.pool(.ipv4)
    #expect(p.length == 24 && p.min == IPAddress("10.3.1.0") && p.max == IPAddress("10.3.255.0"))
    try c.validate(pools: true)
  }

  @Test(arguments: [
    (#"{"Network":"10.0.0.0/24"}"#, AddressFamily.ipv4, 26, "10.0.0.64", "10.0.0.192"),
    (#"{"Network":"10.0.0.9/22"}"#, .ipv4, 24, "10.0.1.0", "10.0.3.0"),
    (#"{"Network":"10.0.0.0/23"}"#, .ipv4, 25, "10.0.0.128", "10.0.1.128"),
    (#"{"Network":"10.0.0.0/28"}"#, .ipv4, 30, "10.0.0.4", "10.0.0.12"),
    (#"{"Network":"255.255.0.0/16"}"#, .ipv4, 24, "255.255.1.0", "255.255.255.0"),
    (#"{"IPv6Network":"fc00::/48"}"#, .ipv6, 64, "fc00:0:0:1::", "fc00:0:0:ffff::"),
    (#"{"IPv6Network":"fc00::/62"}"#, .ipv6, 64, "fc00:0:0:1::", "fc00:0:0:3::"),
    (#"{"IPv6Network":"fc00::/63"}"#, .ipv6, 65, "fc00:0:0:0:8000::", "fc00:0:0:1:8000::"),
    (#"{"IPv6Network":"ff00::/8"}"#, .ipv6, 64, "ff00:0:0:1::", "ffff:ffff:ffff:ffff::"),
    (
      #"{"Network":"10.3.0.0/16","SubnetMin":"10.3.5.0","SubnetMax":"10.3.8.0","SubnetLen":28}"#, .ipv4, 28,
      "10.3.5.0", "10.3.8.0"
    ),
    (
      #"{"IPv6Network":"fc00::/48","IPv6SubnetMin":"fc00:0:0:1::","IPv6SubnetMax":"fc00:0:0:f::","IPv6SubnetLen":124}"#,
      .ipv6, 124, "fc00:0:0:1::", "fc00:0:0:f::"
    ),
    (#"{"Network":"10.3.0.0/16","SubnetMin":"0.0.0.0","SubnetLen":0}"#, .ipv4, 24, "10.3.1.0", "10.3.255.0"),
  ])
  func pools(_ text: String, _ family: AddressFamily, _ length: Int, _ min: String, _ max: String) throws {
    let p = try pool(text, family)
    #expect(p.length == length && p.min == IPAddress(min) && p.max == IPAddress(max))
  }

  @Test(arguments: [
    (#"{}"#, "please define a correct Network parameter in the flannel config"),
    (#"{"Network":"0.0.0.0/0"}"#, "please define a correct Network parameter in the flannel config"),
    (#"{"Network":"10.3.0.0/16","SubnetLen":31}"#, "SubnetLen must be less than /31"),
    (#"{"Network":"10.3.0.0/16","SubnetLen":17}"#, "network must be able to accommodate at least four subnets"),
    (#"{"Network":"10.3.0.0/29"}"#, "network is too small. Minimum useful network prefix is /28"),
    (#"{"Network":"10.3.0.0/16","SubnetMin":"10.4.0.0"}"#, "SubnetMin is not in the range of the Network"),
    (#"{"Network":"10.3.0.0/16","SubnetMax":"10.4.0.0"}"#, "SubnetMax is not in the range of the Network"),
    (#"{"Network":"10.3.0.0/16","SubnetMin":"10.3.1.5"}"#, "SubnetMin is not on a SubnetLen boundary: 10.3.1.5"),
    (#"{"Network":"10.3.0.0/16","SubnetMax":"10.3.9.5"}"#, "SubnetMax is not on a SubnetLen boundary: 10.3.9.5"),
    (
      #"{"Network":"10.3.0.0/16","SubnetMin":"10.3.9.0","SubnetMax":"10.3.8.0"}"#,
      "SubnetMin 10.3.9.0 is above SubnetMax 10.3.8.0: no subnet can be given out"
    ),
    (#"{"EnableIPv4":false}"#, "none defined stack"),
    (
      #"{"Network":"10.3.0.0/16","EnableIPv6":true}"#,
      "please define a correct IPv6Network parameter in the flannel config"
    ),
    (
      #"{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fc00::/48","IPv6SubnetLen":127}"#,
      "SubnetLen must be less than /127"
    ),
    (
      #"{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fc00::/48","IPv6SubnetLen":49}"#,
      "network must be able to accommodate at least four subnets"
    ),
    (
      #"{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fc00::/125"}"#,
      "IPv6Network is too small. Minimum useful network prefix is /124"
    ),
    (
      #"{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fc00::/48","IPv6SubnetMin":"fd00:0:0:1::"}"#,
      "IPv6SubnetMin is not in the range of the IPv6Network"
    ),
    (
      #"{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fc00::/48","IPv6SubnetMax":"fc00::1"}"#,
      "IPv6SubnetMax is not on a SubnetLen boundary: fc00::1"
    ),
  ])
  func validation(_ text: String, _ error: String) throws {
    let c = try NetworkConfiguration(parsing: text)
    let thrown = #expect(throws: ConfigurationError.self) { try c.validate(pools: true) }
    #expect(thrown?.description == error)
  }

  @Test(arguments: [
    (#"{"Network":7}"#, #""Network": 7 is not valid, expected an IPv4 network such as "10.244.0.0/16""#),
    (
      #"{"Network":"10.3.0.0"}"#,
      #""Network": "10.3.0.0" is not valid, expected an IPv4 network such as "10.244.0.0/16""#
    ),
    (
      #"{"IPv6Network":"10.3.0.0/16"}"#,
      #""IPv6Network": "10.3.0.0/16" is not valid, expected an IPv6 network such as "fd00:10:244::/56""#
    ),
    (#"{"EnableIPv6":"true"}"#, #""EnableIPv6": "true" is not valid, expected true or false without quotes"#),
    (#"{"SubnetLen":"24"}"#, #""SubnetLen": "24" is not valid, expected a prefix length without quotes"#),
    (#"{"SubnetLen":-1}"#, #""SubnetLen": -1 is not valid, expected a prefix length without quotes"#),
    (#"{"SubnetMin":"fc00::"}"#, #""SubnetMin": "fc00::" is not valid, expected an IPv4 address in quotes"#),
    (
      #"{"Backend":"vxlan"}"#,
      #""Backend": "vxlan" is not valid, expected a JSON object such as {"Type": "vxlan"}"#
    ),
    (#"{"Backend":{"Type":5}}"#, #""Backend.Type": 5 is not valid, expected a string"#),
    (#"[]"#, #""net-conf": array is not valid, expected a JSON object"#),
    (#"{"Network":"10.3.0.0/16""#, "the network config is not usable: invalid JSON at byte 24: unexpected end"),
    (#""#, "the network config is not usable: invalid JSON at byte 0: unexpected end"),
  ])
  func wrongForms(_ text: String, _ error: String) {
    let thrown = #expect(throws: ConfigurationError.self) { try NetworkConfiguration(parsing: text) }
    #expect(thrown?.description == error)
  }

  @Test func keysAreMatchedAsGoDoes() throws {
    let c = try NetworkConfiguration(
      parsing: """
        {"NETWORK":"10.1.0.0/16","Network":"10.2.0.0/16","network":"10.3.0.0/16","Unknown":{"a":[1]},
         "enableipv6":true,"IPV6NETWORK":"fd00::/48","EnableNFTables":true,"SubnetLen":null,
         "Backend":{"TYPE":"VXLAN","VNI":2},"Backend":{"TYPE":"Host-GW"}}
        """)
    #expect(c.network(.ipv4) == IPPrefix("10.2.0.0/16"), "the exact name goes first")
    #expect(c.enabledFamilies == [.ipv4, .ipv6] && c.network(.ipv6) == IPPrefix("fd00::/48") && c.enableNFTables)
    #expect(c.backendType == "host-gw", "the last duplicate wins; lower case")
    #expect(c.backendOptions.caseInsensitive("type") == "Host-GW")
    #expect(try NetworkConfiguration(parsing: #"{"Backend":{"VNI":1}}"#).backendType == "")
    #expect(try NetworkConfiguration(parsing: #"{"Network":"10.0.0.0/29"}"#).validate(pools: false) == ())
  }

  @Test func noInputTraps() {
    var random = Seeded(7)
    let words = [
      "{", "}", "\"Network\":", "\"IPv6Network\":", "\"SubnetLen\":", "\"SubnetMin\":", "\"10.0.0.0/8\"", "\"::/0\"",
      "\"0.0.0.0/32\"", "\"EnableIPv6\":true", ",", "255", "-1", "9999999999999999999999", "\"255.255.255.255\"", "[",
      "]",
      "\"Backend\":{}", "null", "1e9",
    ]
    for _ in 0..<20_000 {
      let text = (0..<Int.random(in: 0...12, using: &random)).map { _ in words.randomElement(using: &random) ?? "" }
      let c = try? NetworkConfiguration(parsing: "{" + text.joined() + "}")
      _ = try? c?.validate(pools: true)
    }
    // Every prefix length with every subnet length, in both families.
    for f in AddressFamily.allCases {
      for n in 0...f.bitWidth {
        for address in [UInt128(0), .max] {
          let network = IPPrefix(base: IPAddress(f, address), length: n).network
          for length in [nil] + (0...130).map(Optional.some) {
            guard let p = try? SubnetPool(network: network, length: length) else { continue }
            #expect(network.contains(p.min) && network.contains(p.max) && p.min <= p.max)
            #expect(!p.free(avoiding: [], limit: 2).isEmpty)
          }
        }
      }
    }
  }
}

/// A repeatable source of randomness.
struct Seeded: RandomNumberGenerator {
  private var state: UInt64
  init(_ seed: UInt64) { state = seed }
  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
    return z ^ z >> 31
  }
}
