import NetTypes
import Subnets
import Testing

@testable import Agent

/// Choices over made-up hosts; contract flanneld §5, §19.13–16, §19.42.
@Suite struct ExternalInterfaceTests {
  // The host of flannel's own test: one interface, these addresses in this order, and a route with a source.
  private static let oracle = host(
    [
      ("lo", 65536, ["127.0.0.1/8", "::1/128"]),
      (
        "dummy0", 1500,
        [
          "1.10.100.1/32", "192.168.200.128/32", "172.16.30.18/32", "172.16.31.200/32", "172.16.32.100/32",
          "2001:db8::1/64", "fe80::1/64",
        ]
      ),
    ])

  private static func host(_ links: [(String, UInt32, [String])], defaults: [(AddressFamily, Int32)] = []) -> HostFacts
  {
    var facts = HostFacts(links: [], addresses: [], routes: [])
    for (i, (name, mtu, addresses)) in links.enumerated() {
      facts.links.append(Link(name: name, index: Int32(i + 1), mtu: mtu, flags: 1))
      for text in addresses {
        guard let prefix = IPPrefix(text) else { continue }
        facts.addresses.append(InterfaceAddress(device: Int32(i + 1), prefix: prefix, flags: 0x80))
      }
    }
    facts.routes = defaults.map { Route(destination: $0.any, device: $1) }
    return facts
  }

  private func choose(
    _ options: InterfaceOptions, _ facts: HostFacts, _ families: [AddressFamily] = [.ipv4], notes: UnsafeNotes? = nil
  ) throws -> ExternalInterface {
    try ExternalInterface.choose(
      options, facts: facts, families: families,
      route: { address in
        address == IPAddress("172.16.32.254")
          ? Route(destination: IPPrefix(host: address), device: 2, source: IPAddress("172.16.32.100")) : nil
      }, note: { notes?.all.append($0) })
  }

  final class UnsafeNotes { var all: [ExternalInterface.Note] = [] }

  private func text(_ options: InterfaceOptions, _ facts: HostFacts, _ families: [AddressFamily] = [.ipv4]) -> String {
    do {
      let found = try choose(options, facts, families)
      let parts = families.map { family in
        let own = found.address[family].map(\.description) ?? "-"
        let published = found.publicAddress[family].map(\.description) ?? "-"
        return own == published ? own : "\(own) as \(published)"
      }
      return ([found.name] + parts).joined(separator: " ")
    } catch {
      return "error: \(error)"
    }
  }

  @Test func theCasesOfTheOriginalTest() {
    let facts = Self.oracle
    #expect(text(.init(patterns: [#"192\.168\.200\.\d+"#]), facts) == "dummy0 192.168.200.128")
    #expect(text(.init(patterns: [#"dummy\d+"#]), facts) == "dummy0 1.10.100.1")
    #expect(text(.init(interfaces: ["dummy0"]), facts) == "dummy0 1.10.100.1")
    #expect(text(.init(interfaces: ["172.16.30.18"]), facts) == "dummy0 172.16.30.18")
    #expect(
      text(.init(interfaces: ["172.16.30.18"]), facts, [.ipv4, .ipv6]) == "dummy0 172.16.30.18 2001:db8::1")
    #expect(
      text(.init(patterns: [#"172\.16\.30\.\d+"#], publicIP: "172.16.31.200"), facts)
        == "dummy0 172.16.30.18 as 172.16.31.200")
    #expect(text(.init(canReach: "172.16.32.254"), facts) == "dummy0 172.16.32.100")
  }

  private static let two = host(
    [
      ("lo", 65536, []), ("eth0", 1500, ["10.0.0.1/24", "fd00::1/64"]), ("eth1", 9000, ["10.1.0.1/24", "fd01::1/64"]),
    ],
    defaults: [(.ipv4, 2), (.ipv6, 3)])

  @Test func withoutOptionsTheDefaultRouteDecides() throws {
    #expect(text(.init(), Self.two) == "eth0 10.0.0.1")
    #expect(text(.init(), Self.two, [.ipv6]) == "eth1 fd01::1")
    #expect(try choose(.init(), Self.two, [.ipv6]).mtu == 9000)
    #expect(
      text(.init(), Self.two, [.ipv4, .ipv6])
        == "error: v6 default route interface eth1 must be the same with v4 default route interface eth0; "
        + "set --iface to choose one that has addresses of both families")
    #expect(text(.init(interfaces: ["eth0"]), Self.two, [.ipv4, .ipv6]) == "eth0 10.0.0.1 fd00::1")
    #expect(
      text(.init(), Self.oracle)
        == "error: failed to get default interface: no IPv4 default route; set --iface to choose an interface")
  }

  @Test func aPublicAddressSelectsItsOwnerOrFallsBack() throws {
    #expect(text(.init(publicIP: "10.1.0.1"), Self.two) == "eth1 10.1.0.1")
    let notes = UnsafeNotes()
    let found = try choose(.init(publicIP: "203.0.113.5"), Self.two, notes: notes)
    #expect(found.name == "eth0" && found.address.ipv4 == IPAddress("10.0.0.1"))
    #expect(
      found.publicAddress.ipv4 == IPAddress("203.0.113.5"), "the own address is the source, the other is published")
    #expect(notes.all.count == 1)
    guard case .warning(let warning)? = notes.all.first else { return #expect(Bool(false), "must warn") }
    #expect(warning.contains("203.0.113.5") && warning.contains("--iface"))
    #expect(text(.init(publicIP: "nonsense"), Self.two) == "error: invalid public IP address: nonsense")
    #expect(text(.init(publicIP: "fd00::1"), Self.two) == "error: invalid public IP address: fd00::1")
    #expect(text(.init(publicIP: "10.1.0.1", publicIPv6: "fd00::1"), Self.two, [.ipv6]) == "eth0 fd00::1")
  }

  @Test func candidatesAreTriedInOrder() throws {
    let options = InterfaceOptions(interfaces: ["wlan0", "10.9.9.9"], patterns: ["(", "^eth1$"], canReach: "10.0.0.9")
    let notes = UnsafeNotes()
    #expect(try choose(options, Self.two, notes: notes).name == "eth1")
    let infos = notes.all.map { if case .info(let text) = $0 { text } else { "" } }
    try #require(infos.count == 3)
    #expect(infos[0].contains("wlan0: no such network interface"))
    #expect(infos[1].contains("10.9.9.9: no interface has this address"))
    #expect(infos[2].contains("could not compile the regular expression \"(\""))
    #expect(
      text(.init(interfaces: ["wlan0"]), Self.two)
        == "error: Failed to find interface to use that matches the interfaces and/or regexes provided")
  }

  @Test func aPatternThatMatchesNothingListsWhatThereIs() throws {
    let notes = UnsafeNotes()
    _ = try? choose(.init(patterns: ["wlan"]), Self.two, [.ipv4, .ipv6], notes: notes)
    #expect(
      notes.all == [
        .info(
          "Could not find valid interface matching wlan: could not match pattern wlan to any of the available network "
            + "interfaces (lo:[], eth0:[10.0.0.1 fd00::1], eth1:[10.1.0.1 fd01::1])")
      ])
  }

  @Test func withTwoFamiliesAPatternMustMatchBothOnOneInterface() {
    #expect(text(.init(patterns: ["^10\\.|^fd01"]), Self.two, [.ipv4, .ipv6]) == "eth1 10.1.0.1 fd01::1")
    #expect(
      text(.init(patterns: ["^10\\.0|^fd01|th1"]), Self.two, [.ipv4, .ipv6]) == "eth1 10.1.0.1 fd01::1", "by name")
  }

  @Test func anAddressWithTwoFamilies() {
    let dual: [AddressFamily] = [.ipv4, .ipv6]
    #expect(text(.init(interfaces: ["fd01::1"]), Self.two, dual) == "eth1 10.1.0.1 fd01::1", "§19.15")
    #expect(text(.init(interfaces: ["fd01::1"], publicIPv6: "fd00::1"), Self.two, dual) == "eth0 10.0.0.1 fd00::1")
    #expect(
      text(.init(interfaces: ["fd01::1"], publicIPv6: "2001:db8::9"), Self.two, dual)
        == "eth1 10.1.0.1 fd01::1 as 2001:db8::9")
    #expect(text(.init(interfaces: ["10.0.0.1"], publicIPv6: "fd00::1"), Self.two, dual) == "eth0 10.0.0.1 fd00::1")
    #expect(text(.init(interfaces: ["10.0.0.1"], publicIPv6: "fd01::1"), Self.two, dual).hasPrefix("error: "))
  }

  @Test func theAddressIsKeptPerFamily() throws {
    let found = try choose(.init(interfaces: ["fd00::1"]), Self.two, [.ipv6])
    #expect(found.address == PerFamily(ipv6: IPAddress("fd00::1")) && found.publicAddress == found.address, "§19.42")
    #expect(text(.init(interfaces: ["10.0.0.1"]), Self.two, [.ipv6]).hasPrefix("error: "))
  }

  @Test func addressesAreRanked() {
    var facts = Self.host([
      ("eth0", 1500, ["169.254.1.1/16", "10.0.0.3/24", "10.0.0.2/24", "10.0.0.1/24", "10.0.0.9/24"])
    ])
    func expect(_ flags: [UInt32], _ first: String) {
      for i in flags.indices { facts.addresses[i].flags = flags[i] }
      #expect(text(.init(interfaces: ["eth0"]), facts) == "eth0 " + first)
    }
    expect([0x80, 0x80, 0x80, 0x80, 0x80], "10.0.0.3")
    expect([0x80, 0x00, 0x81, 0x80, 0x80], "10.0.0.1")
    expect([0x80, 0x00, 0x01, 0x01, 0x01], "10.0.0.3")
    expect([0x80, 0xa0, 0xa0, 0xa0, 0x01], "10.0.0.9")
    expect([0x80, 0xa0, 0xa0, 0xa0, 0xa0], "169.254.1.1")
    #expect(text(.init(interfaces: ["10.0.0.2"]), facts) == "eth0 10.0.0.2", "a named address need not be usable")
  }

  @Test func whatIsMissingIsNamed() {
    let facts = Self.host([("a", 1500, ["127.0.0.2/8"]), ("b", 0, ["10.0.0.1/8"])])
    let notes = UnsafeNotes()
    _ = try? choose(.init(interfaces: ["a", "b"], canReach: "10.0.0.9"), facts, notes: notes)
    #expect(
      notes.all == [
        .info("Could not find valid interface matching a: failed to find IPv4 address for interface a"),
        .info("Could not find valid interface matching b: failed to determine MTU for b interface"),
        .info("Could not find valid interface matching 10.0.0.9: no route to 10.0.0.9"),
      ])
  }
}
