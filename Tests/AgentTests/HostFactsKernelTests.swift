import NetTypes
import Netlink
import TestSupport
import Testing

@testable import Agent

/// The cases of `ExternalInterfaceTests` that depend on what the kernel really answers.
@Suite(.needsRoot) struct HostFactsKernelTests {
  private let namespace: TestNamespace

  init() throws {
    namespace = try TestNamespace("iface")
    try namespace.ipBatch(
      """
      link add dummy0 type veth peer name peer0
      addr add 1.10.100.1/32 dev dummy0
      addr add 192.168.200.128/32 dev dummy0
      addr add 172.16.30.18/32 dev dummy0
      addr add 172.16.31.200/32 dev dummy0
      addr add 172.16.32.100/32 dev dummy0
      addr add 2001:db8::1/64 dev dummy0 nodad
      link set dummy0 mtu 1400 up
      link set peer0 up
      route add 172.16.32.254 dev dummy0 src 172.16.32.100
      """)
  }

  private func choose(_ options: InterfaceOptions, _ families: [AddressFamily] = [.ipv4]) throws -> ExternalInterface {
    var socket = try namespace.socket()
    return try ExternalInterface.observe(options, families: families, socket: &socket) { _ in }
  }

  @Test func theCasesOfTheOriginalTest() throws {
    let cases: [(InterfaceOptions, String)] = [
      (.init(patterns: [#"192\.168\.200\.\d+"#]), "192.168.200.128"), (.init(patterns: [#"dummy\d+"#]), "1.10.100.1"),
      (.init(interfaces: ["dummy0"]), "1.10.100.1"), (.init(interfaces: ["172.16.30.18"]), "172.16.30.18"),
      (.init(patterns: [#"172\.16\.30\.\d+"#], publicIP: "172.16.31.200"), "172.16.30.18"),
      (.init(canReach: "172.16.32.254"), "172.16.32.100"), (.init(publicIP: "172.16.31.200"), "172.16.31.200"),
    ]
    for (options, address) in cases {
      let found = try choose(options)
      #expect(found.name == "dummy0" && found.mtu == 1400 && found.address.ipv4 == IPAddress(address))
    }
    let dual = try choose(.init(interfaces: ["172.16.30.18"]), [.ipv4, .ipv6])
    #expect(dual.address.ipv4 == IPAddress("172.16.30.18") && dual.address.ipv6 == IPAddress("2001:db8::1"))
    #expect(
      try choose(.init(patterns: [#"192\.168"#], publicIP: "172.16.31.200")).publicAddress.ipv4
        == IPAddress("172.16.31.200"))
  }

  @Test func theDefaultRouteOfEachFamily() throws {
    #expect(throws: InterfaceError.self) { try choose(.init()) }
    try namespace.ip("route", "add", "default", "dev", "dummy0")
    #expect(try choose(.init()).name == "dummy0")
    try namespace.ip("-6", "route", "add", "default", "dev", "dummy0")
    #expect(try choose(.init(), [.ipv4, .ipv6]).address.ipv6 == IPAddress("2001:db8::1"))
    try namespace.ip("-6", "route", "replace", "default", "dev", "peer0")
    let error = #expect(throws: InterfaceError.self) { try choose(.init(), [.ipv4, .ipv6]) }
    #expect(error?.description.hasPrefix("v6 default route interface ") == true)
  }

  @Test func anUnreachableTargetIsNoCrash() throws {
    let error = #expect(throws: InterfaceError.self) { try choose(.init(canReach: "198.51.100.1")) }
    #expect(error?.description.hasPrefix("Failed to find interface to use") == true)
  }
}
