import NetTypes
import Testing

@testable import Firewall

@Suite struct PodNetworkRulesTests {
  @Test func hostBitsAreDropped() throws {
    let rules = PodNetworkRules(
      network: try #require(IPPrefix("10.244.0.0/16")), pods: try #require(IPPrefix("10.244.3.1/24")),
      fullyRandom: true)
    #expect(rules.pods == IPPrefix("10.244.3.0/24"))
    #expect(rules.masquerade.count == 6)
  }
}
