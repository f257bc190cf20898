import JSON
import NetTypes
import Testing

@testable import Subnets

@Suite struct LeaseKeyTests {
  @Test func roundTrips() throws {
    let one = try #require(LeaseKey("10.12.13.0-24"))
    #expect(one.subnets == PerFamily(ipv4: IPPrefix("10.12.13.0/24")) && one.description == "10.12.13.0-24")
    let both = try #require(LeaseKey("10.12.13.0-24&fd00:12:13::-56"))
    #expect(both.subnets == PerFamily(ipv4: IPPrefix("10.12.13.0/24"), ipv6: IPPrefix("fd00:12:13::/56")))
    #expect(both.description == "10.12.13.0-24&fd00:12:13::-56")
    let six = try #require(LeaseKey("fd00:1:2::-64"))
    #expect(six.subnets == PerFamily(ipv6: IPPrefix("fd00:1:2::/64")) && six.description == "fd00:1:2::-64")
  }

  @Test(arguments: [
    "10", "10.12.13.0", "10.12.13-24", "10.12.13.300-24", "10.12.13.0-24hi", "&2001::-56",
    "10.12.13.0-24&:12:13:-56", "10.12.13.0-24&20011::-56", "10.12.13.0-24&2001-56", "10.12.13.0-24&2001::",
    "10.12.13.0-24&2001::-56hi",
    // Ours.
    "", "-", "&", "-24", "10.12.13.0-", "10.12.13.0-32", "10.12.13.0-99999999999999999999", "10.12.13.0-24&",
    "10.12.13.0-24&fd00::-128", "10.12.13.0-24&FD00::-64", "fd00::-64&10.12.13.0-24", "10.12.13.0-24&10.12.14.0-24",
    "10.12.13.0-24&fd00::-56&fd01::-56", "x10.12.13.0-24", ".10.12.13.0-24.tmp", "10.12.13.0-24~", "010.12.13.0-24",
    "10.12.13.0-+4", "10.12.13.0--4", "..", "config",
  ])
  func refused(_ text: String) { #expect(LeaseKey(text) == nil) }

  @Test func unusualSpellingsAreRecognised() throws {
    for (text, usual) in [
      ("10.12.13.7-24", "10.12.13.0-24"), ("10.12.13.0-024", "10.12.13.0-24"),
      ("fd00:0:0::-64", "fd00::-64"), ("fd00::5-64", "fd00::-64"),
    ] {
      let key = try #require(LeaseKey(text))
      #expect(key.canonical.description == usual && !key.isSpelled(text) && key.isSpelled(usual))
    }
  }

  @Test func randomKeysRoundTripAndOrder() throws {
    var random = Seeded(3)
    var keys: [LeaseKey] = []
    for _ in 0..<5000 {
      func prefix(_ f: AddressFamily) -> IPPrefix {
        let value = UInt128(random.next()) << 64 | UInt128(random.next())
        return IPPrefix(base: IPAddress(f, value), length: Int.random(in: 0..<f.bitWidth, using: &random)).network
      }
      let kind = Int.random(in: 0..<3, using: &random)
      keys.append(LeaseKey(PerFamily(ipv4: kind < 2 ? prefix(.ipv4) : nil, ipv6: kind > 0 ? prefix(.ipv6) : nil)))
    }
    for key in keys {
      #expect(LeaseKey(key.description) == key && key.isSpelled(key.description))
    }
    let sorted = keys.sorted()
    for (a, b) in zip(sorted, sorted.dropFirst()) { #expect(!(b < a)) }
    // Damaged keys never trap, and what is accepted means what it says.
    for key in keys {
      var bytes = Array(key.description.utf8)
      for _ in 0..<2 {
        if let i = bytes.indices.randomElement(using: &random) { bytes[i] = UInt8.random(in: 32...126, using: &random) }
      }
      let text = String(decoding: bytes, as: UTF8.self)
      if let parsed = LeaseKey(text) { #expect(LeaseKey(parsed.description) == parsed) }
    }
  }
}

@Suite struct LeaseValueTests {
  /// Values as a Go daemon left them in etcd.
  static let captured = [
    #"{"PublicIP":"1.2.3.4","PublicIPv6":null}"#,
    #"{"PublicIP":"172.31.77.11","PublicIPv6":null,"BackendType":"host-gw"}"#,
    #"{"PublicIP":"172.31.77.11","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"5e:6e:b8:f8:bd:06"}}"#,
    #"{"PublicIP":"172.31.77.12","PublicIPv6":"fd77::12","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"76:ea:6b:ad:b3:f1"},"BackendV6Data":{"VNI":1,"VtepMAC":"02:06:41:77:52:46"}}"#,
    #"{"PublicIP":null,"PublicIPv6":"fd77::12","BackendType":"vxlan","BackendV6Data":{"VNI":1,"VtepMAC":"02:06:41:77:52:46"}}"#,
    #"{"PublicIP":"1.2.3.4","PublicIPv6":null,"BackendType":"extension","BackendData":"line \"one\"\nline two"}"#,
    #"{"PublicIP":"1.2.3.4","PublicIPv6":null,"BackendType":"x","BackendData":{"a":[1,2.5,{}],"b":{"c":null}}}"#,
  ]

  @Test(arguments: captured) func bytesRoundTrip(_ text: String) throws {
    let value = try LeaseAttributes(parsing: Array(text.utf8))
    #expect(String(decoding: value.json, as: UTF8.self) == text)
    #expect(try LeaseAttributes(parsing: Array((text + "\n").utf8)) == value, "an editor's final newline")
    let root = try #require(try JSONValue(parsing: text).objectValue)
    #expect(value.backendData.ipv4?.value == root["BackendData"])
    #expect(value.backendData.ipv6?.value == root["BackendV6Data"])
    #expect(value.publicIPs.ipv4?.description == root["PublicIP"]?.stringValue)
  }

  @Test func anyLayoutIsRead() throws {
    let value = try LeaseAttributes(
      parsing: Array(
        """
        { "backendtype" : "vxlan", "More": 1,
          "BackendData": { "VNI" : 1 }, "publicip": "10.0.0.1", "PublicIPv6": null, "BackendV6Data": null }
        """.utf8))
    #expect(
      String(decoding: value.json, as: UTF8.self)
        == #"{"PublicIP":"10.0.0.1","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1}}"#)
    let zero = try LeaseAttributes(parsing: Array(#"{"PublicIP":"0.0.0.0","PublicIPv6":"fd00::1"}"#.utf8))
    #expect(zero.publicIPs == PerFamily(ipv6: IPAddress("fd00::1")), "what the Go daemon writes with IPv6 alone")
  }

  @Test(arguments: [
    ("", "it is empty"),
    ("[]", "expected a JSON object with \"PublicIP\", found array"),
    ("{}", "neither \"PublicIP\" nor \"PublicIPv6\" holds an address"),
    (#"{"PublicIP":null,"PublicIPv6":null}"#, "neither \"PublicIP\" nor \"PublicIPv6\" holds an address"),
    (#"{"PublicIP":"1.2.3"}"#, "\"PublicIP\" is \"1.2.3\", expected an IPv4 address"),
    (#"{"PublicIP":"fd00::1"}"#, "\"PublicIP\" is \"fd00::1\", expected an IPv4 address"),
    (#"{"PublicIPv6":"1.2.3.4"}"#, "\"PublicIPv6\" is \"1.2.3.4\", expected an IPv6 address"),
    (#"{"PublicIP":5}"#, "\"PublicIP\" is 5, expected an IPv4 address"),
    (#"{"PublicIP":"1.2.3.4","BackendType":{}}"#, "\"BackendType\" is {}, expected a string"),
    (#"{"PublicIP":"1.2.3.4""#, "invalid JSON at byte 21: unexpected end"),
  ])
  func explainsWhatIsWrong(_ text: String, _ reason: String) {
    let error = #expect(throws: LeaseValueError.self) { try LeaseAttributes(parsing: Array(text.utf8)) }
    #expect(error?.description == reason)
  }

  /// The quick reader must accept a subset of what the general parser accepts, with the same meaning.
  @Test func quickReaderAgreesWithTheParser() throws {
    var random = Seeded(11)
    var accepted = 0
    for _ in 0..<15_000 {
      var bytes = Array((Self.captured.randomElement(using: &random) ?? "").utf8)
      for _ in 0..<Int.random(in: 0...2, using: &random) {
        guard let i = bytes.indices.randomElement(using: &random) else { break }
        switch Int.random(in: 0..<3, using: &random) {
        case 0: bytes[i] = UInt8.random(in: 0...255, using: &random)
        case 1: bytes.remove(at: i)
        default: bytes.insert(Array("\"{}[],:0 1".utf8).randomElement(using: &random) ?? 0, at: i)
        }
      }
      var plain = PlainText(bytes.span)
      guard let quick = plain.leaseAttributes() else {
        _ = try? LeaseAttributes(parsing: bytes)
        continue
      }
      accepted += 1
      let slow = try LeaseAttributes.parseAny(bytes.span)
      #expect(quick.publicIPs == slow.publicIPs && quick.backendType == slow.backendType)
      #expect(quick.backendData.ipv4?.value == slow.backendData.ipv4?.value)
      #expect(quick.backendData.ipv6?.value == slow.backendData.ipv6?.value)
    }
    #expect(accepted > 300)
  }
}

@Suite struct SubnetPoolTests {
  @Test func freeSubnetsAgreeWithTryingEach() throws {
    var random = Seeded(5)
    let network = try #require(IPPrefix("10.0.0.0/20"))
    let pool = try SubnetPool(network: network, length: 26)
    for _ in 0..<300 {
      let used = (0..<Int.random(in: 0...40, using: &random)).map { _ in
        IPPrefix(
          base: IPAddress(.ipv4, 0x09ff_ff00 + UInt128(random.next() % 5000)),
          length: Int.random(in: 20...32, using: &random)
        ).network
      }
      var expected: [IPPrefix] = []
      var candidate: IPPrefix? = IPPrefix(base: pool.min, length: pool.length)
      while let c = candidate, c.base <= pool.max {
        if !used.contains(where: { $0.overlaps(c) }) { expected.append(c) }
        candidate = c.next()
      }
      #expect(pool.free(avoiding: used, limit: 1000) == expected)
      #expect(pool.free(avoiding: used, limit: 7) == Array(expected.prefix(7)))
    }
  }

  @Test func endOfTheAddressSpace() throws {
    let pool = try SubnetPool(network: try #require(IPPrefix("255.255.255.0/24")))
    #expect(
      pool.free(avoiding: []).map(\.description) == ["255.255.255.64/26", "255.255.255.128/26", "255.255.255.192/26"])
    #expect(
      pool.free(avoiding: [try #require(IPPrefix("255.255.255.128/25"))]).map(\.description) == ["255.255.255.64/26"])
    #expect(pool.contains(try #require(IPPrefix("255.255.255.64/26"))))
    #expect(!pool.contains(try #require(IPPrefix("255.255.255.0/26"))), "the first subnet is never given out")
    #expect(!pool.contains(try #require(IPPrefix("255.255.255.64/27"))))
    #expect(!pool.contains(try #require(IPPrefix("255.255.255.65/26"))))
  }
}
