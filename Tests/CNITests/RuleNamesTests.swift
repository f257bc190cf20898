import NetTypes
import Testing

@testable import CNI

/// Names that the reference plugins give: either side must find what the other made (test-oracles §11, §13).
@Suite struct RuleNamesTests {
  /// FIPS 180-4, examples and lengths around a block.
  @Test(arguments: [
    (
      "abc",
      "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
    ),
    (
      "",
      "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e"
    ),
    (
      "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
      "8e959b75dae313da8cf4f72814fc143f8f7779c6eb9f7fa17299aeadb6889018501d289e4900f7e4331b99dec4b5433ac7d329eeb6dd26545e96e55b874be909"
    ),
    (
      String(repeating: "a", count: 111),
      "fa9121c7b32b9e01733d034cfc78cbf67f926c7ed83e82200ef86818196921760b4beff48404df811b953828274461673c68d04e297b0eb7b2b4d60fc6b566a2"
    ),
    (
      String(repeating: "a", count: 112),
      "c01d080efd492776a1c43bd23dd99d0a2e626d481e16782e75d54c2503b5dc32bd05f0f1ba33e568b88fd2d970929b719ecbb152f58f130a407c8830604b70ca"
    ),
  ])
  func sha512(_ text: String, _ digest: String) { #expect(SHA512.hex(text) == digest) }

  @Test func chains() {
    #expect(RuleNames.chain("test", "1234") == "CNI-2bbe0c48b91a7d1b8a6753a8")
    #expect(RuleNames.chain("testalongnamethatdoesnotmakesense", "1234") == "CNI-374f33fe84ab0ed84dcdebe3")
    #expect(RuleNames.chain("test", "1234", prefix: "PREFIX-") == "CNI-PREFIX-2bbe0c48b91a7d1b8")
    #expect(
      RuleNames.chain("testalongnamethatdoesnotmakesense", "1234", prefix: "PREFIX-") == "CNI-PREFIX-374f33fe84ab0ed84")
    #expect(RuleNames.chain("testNetName", PortmapPlanTests.id, prefix: "DN-") == "CNI-DN-bfd599665540dd91d5d28")
    #expect(RuleNames.chain("test", PortmapPlanTests.id, prefix: "DN-") == "CNI-DN-67e92b96e692a494b6b85")
  }

  @Test(arguments: [
    ("unit-test", "eth0", "one", "6fd94d501e58f0aa-287fc69eff0574a2, net: unit-test, if: eth0, id: one"),
    ("unit-test", "eth0", "two", "6fd94d501e58f0aa-d750b2c8f0f25d5f, net: unit-test, if: eth0, id: two"),
    ("unit-test", "eth0", "three", "6fd94d501e58f0aa-a4d4adb82b669cfe, net: unit-test, if: eth0, id: three"),
    ("unit-test", "eth0", "four", "6fd94d501e58f0aa-e766de567ef6c543, net: unit-test, if: eth0, id: four"),
    ("alternate", "net1", "three", "82783ef24bdc7036-acb19d111858e348, net: alternate, if: net1, id: three"),
  ])
  func masqueradeComments(_ network: String, _ ifname: String, _ id: String, _ comment: String) {
    let m = Masquerade(network, .init(containerID: id, ifname: ifname))
    #expect(m.comment == comment)
    #expect(m.comment.hasPrefix(m.commentPrefix + ","))
  }

  /// `nft` accepts 128 bytes, and no quotes.
  @Test func longComments() {
    let m = Masquerade("n", .init(containerID: String(repeating: "x", count: 200), ifname: "e\"0"))
    #expect(m.comment.utf8.count == 128 && !m.comment.contains("\""))
    #expect(m.comment.hasPrefix(m.commentPrefix + ", net: n, if: e0, id: xxx"))
  }
}
