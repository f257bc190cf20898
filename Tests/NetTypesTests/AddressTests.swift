import NetTypes
import Testing

@Suite struct AddressTests {
  @Test(arguments: [
    ("1.2.3.4", "1.2.3.4"), ("0.0.0.0", "0.0.0.0"), ("255.255.255.255", "255.255.255.255"), ("::", "::"),
    ("::1", "::1"), ("2001:DB8::1", "2001:db8::1"), ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
    ("1:0:0:2:0:0:0:3", "1:0:0:2::3"), ("fe80:0:0:0:1:2:3:0", "fe80::1:2:3:0"), ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"),
    ("::ffff:10.0.0.1", "::ffff:10.0.0.1"), ("64:ff9b::10.0.0.1", "64:ff9b::a00:1"),
    ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"), ("0:1:0:1:0:1:0:1", "0:1:0:1:0:1:0:1"),
  ])
  func parsesAndPrintsCanonically(text: String, canonical: String) throws {
    #expect(try #require(IPAddress(text)).description == canonical)
  }

  @Test(arguments: [
    "", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "1.2.3.-4", "1..3.4", "a.b.c.d", ":", ":::", "1:", ":1",
    "1::2::3", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::", "12345::", "g::", "::1.2.3", "fe80::1%eth0",
    "::1.2.3.4:5", " 1.2.3.4",
  ])
  func refuses(text: String) { #expect(IPAddress(text) == nil) }

  @Test func bytesRoundTrip() throws {
    for text in ["10.1.2.3", "fd00::1:2"] {
      let a = try #require(IPAddress(text))
      #expect(IPAddress(bytes: a.bytes) == a)
    }
    #expect(IPAddress(bytes: [1, 2, 3]) == nil)
    #expect(IPAddress(bytes: [UInt8](repeating: 0, count: 17)) == nil)
  }

  @Test func privateRanges() throws {
    for t in ["192.168.0.1", "172.16.0.1", "172.31.0.1", "10.1.2.3", "fd00::1"] {
      #expect(try #require(IPAddress(t)).isPrivate, "\(t)")
    }
    for t in ["8.8.8.8", "172.32.0.1", "192.167.0.1", "192.169.0.1", "2001:db8::1"] {
      #expect(try !#require(IPAddress(t)).isPrivate, "\(t)")
    }
  }

  @Test func classes() throws {
    #expect(try #require(IPAddress("169.254.1.1")).isLinkLocalUnicast)
    #expect(try #require(IPAddress("fe80::1")).isLinkLocalUnicast)
    #expect(try #require(IPAddress("224.0.0.1")).isMulticast)
    #expect(try #require(IPAddress("ff02::1")).isMulticast)
    #expect(try #require(IPAddress("10.0.0.1")).isGlobalUnicast)
    for t in ["255.255.255.255", "0.0.0.0", "127.0.0.1", "::", "::1", "fe80::1"] {
      #expect(try !#require(IPAddress(t)).isGlobalUnicast, "\(t)")
    }
  }

  @Test func steps() throws {
    #expect(IPAddress("10.0.0.255")?.advanced(by: 1) == IPAddress("10.0.1.0"))
    #expect(IPAddress("fd00::ffff")?.advanced(by: 1) == IPAddress("fd00::1:0"))
    #expect(IPAddress("10.0.0.0")?.advanced(by: -1) == IPAddress("9.255.255.255"))
    #expect(IPAddress("255.255.255.255")?.advanced(by: 1) == nil)
    #expect(IPAddress("0.0.0.0")?.advanced(by: -1) == nil)
  }

  @Test func prefixes() throws {
    let p = try #require(IPPrefix("1.2.3.4/24"))
    #expect(p.description == "1.2.3.4/24")
    #expect(p.network.description == "1.2.3.0/24")
    #expect(p.last.description == "1.2.3.255")
    #expect(p.contains(try #require(IPAddress("1.2.3.9"))))
    #expect(!p.contains(try #require(IPAddress("1.2.4.0"))))
    #expect(!p.contains(try #require(IPAddress("::1"))))
    #expect(p.overlaps(try #require(IPPrefix("1.2.0.0/16"))))
    #expect(!p.overlaps(try #require(IPPrefix("1.2.4.0/24"))))
    #expect(!p.overlaps(try #require(IPPrefix("7.2.4.0/22"))))
    #expect(p.next()?.description == "1.2.4.0/24")
    #expect(IPPrefix("255.255.255.0/24")?.next() == nil)
    #expect(IPPrefix("0.0.0.0/0")?.contains(try #require(IPAddress("9.9.9.9"))) == true)
    #expect(IPPrefix("fd00::1/64")?.network.description == "fd00::/64")
    for bad in ["1.2.3.4", "1.2.3.4/33", "::/129", "1.2.3.4/", "1.2.3.4/+1", "1.2.3.4/-1", "1.2.3.4/24/1", "/24"] {
      #expect(IPPrefix(bad) == nil, "\(bad)")
    }
  }

  @Test func macAddresses() throws {
    #expect(MACAddress("0A:1b:2c:3d:4e:5f")?.description == "0a:1b:2c:3d:4e:5f")
    for bad in ["", "0a:1b:2c:3d:4e", "0a:1b:2c:3d:4e:5f:60", "0a:1b:2c:3d:4e:5g", "0a1b2c3d4e5f"] {
      #expect(MACAddress(bad) == nil, "\(bad)")
    }
    for _ in 0..<100 {
      let m = MACAddress.random().bytes
      #expect(m[0] & 1 == 0 && m[0] & 2 == 2)
    }
  }

  @Test func anythingAcceptedPrintsAndParsesBack() throws {
    var g = SystemRandomNumberGenerator()
    let alphabet = Array("0123456789abcdef:./")
    for _ in 0..<20_000 {
      let s = String((0..<Int.random(in: 0...24, using: &g)).map { _ in alphabet.randomElement(using: &g) ?? "0" })
      if let a = IPAddress(s) { #expect(IPAddress(a.description) == a, "\(s)") }
      if let p = IPPrefix(s) { #expect(IPPrefix(p.description) == p, "\(s)") }
    }
    for _ in 0..<2_000 {
      let a = IPAddress(.ipv6, UInt128.random(in: 0 ... .max, using: &g) & UInt128.random(in: 0 ... .max, using: &g))
      #expect(IPAddress(a.description) == a)
    }
  }
}

@Suite struct DiffTests {
  /// Appended or prepended routes share a key with ours.
  @Test func severalUnderOneKey() throws {
    let subnet = try #require(IPPrefix("10.244.1.0/24"))
    func route(_ gateway: String) -> Route { Route(destination: subnet, gateway: IPAddress(gateway), device: 3) }
    let (ours, first, second) = (route("10.244.1.0"), route("10.244.2.0"), route("10.244.3.0"))
    for observed in [[first, ours], [ours, first], [first, ours, second]] {
      let changes = diff(desired: [ours], observed: observed)
      #expect(changes.updates.isEmpty)
      #expect(Set(changes.removals) == Set(observed).subtracting([ours]))
    }
    let changes = diff(desired: [ours], observed: [first, second])
    #expect(changes.updates.map(\.new) == [ours])
    #expect(Set(changes.removals) == [first, second])
    #expect(Set(diff(desired: [], observed: [first, second]).removals) == [first, second])
  }

  @Test func applyingTheChangesLeavesNoDifference() {
    var g = SystemRandomNumberGenerator()
    func some() -> [Neighbour] {
      var seen: [Neighbour.ID: Neighbour] = [:]
      for _ in 0..<Int.random(in: 0...20, using: &g) {
        let n = Neighbour(
          device: 1, address: IPAddress(.ipv4, UInt128.random(in: 0...30, using: &g)),
          mac: MACAddress(UInt64.random(in: 0...2, using: &g)))
        seen[n.id] = n
      }
      return Array(seen.values)
    }
    for _ in 0..<500 {
      let desired = some()
      let observed = some()
      let changes = diff(desired: desired, observed: observed)
      var state = Dictionary(uniqueKeysWithValues: observed.map { ($0.id, $0) })
      for r in changes.removals { state[r.id] = nil }
      for s in changes.updates { state[s.new.id] = s.new }
      #expect(diff(desired: desired, observed: Array(state.values)).isEmpty)
      #expect(state.count == desired.count)
    }
  }
}
