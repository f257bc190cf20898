import Glibc
import NetTypes
import Syscalls
import TestSupport
import Testing

@testable import Subnets

@Suite struct SubnetFileTests {
  @Test func exactText() {
    var file = SubnetFile(
      networks: PerFamily(ipv4: IPPrefix("10.244.0.0/16")), subnets: PerFamily(ipv4: IPPrefix("10.244.3.0/24")),
      mtu: 1450, masquerade: true)
    #expect(
      file.text
        == "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.3.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n")
    file.networks.ipv6 = IPPrefix("fd00:10:244::/56")
    file.subnets.ipv6 = IPPrefix("FD00:10:244:11::/64")
    file.masquerade = false
    #expect(
      file.text == """
        FLANNEL_NETWORK=10.244.0.0/16
        FLANNEL_SUBNET=10.244.3.1/24
        FLANNEL_IPV6_NETWORK=fd00:10:244::/56
        FLANNEL_IPV6_SUBNET=fd00:10:244:11::1/64
        FLANNEL_MTU=1450
        FLANNEL_IPMASQ=false

        """)
    file.networks.ipv4 = nil
    file.subnets.ipv4 = nil
    #expect(file.text.hasPrefix("FLANNEL_IPV6_NETWORK=fd00:10:244::/56\nFLANNEL_IPV6_SUBNET="))
  }

  @Test func writesReadsBack() throws {
    let directory = try TemporaryDirectory("env")
    let path = directory.file("a/b/subnet.env")
    let file = SubnetFile(
      networks: PerFamily(ipv4: IPPrefix("10.244.0.0/16"), ipv6: IPPrefix("fd00::/48")),
      subnets: PerFamily(ipv4: IPPrefix("10.244.3.0/24"), ipv6: IPPrefix("fd00:0:0:5::/64")), mtu: 1430,
      masquerade: true)
    try file.write(to: path)
    #expect(try Files.text(path) == file.text)
    #expect(try Files.status(path).permissions == 0o644 && Files.status(directory.file("a/b")).permissions == 0o755)
    var said: [String] = []
    #expect(SubnetFile.previousSubnets(at: path) { said.append($0) } == file.subnets)
    #expect(said.isEmpty)
    #expect(SubnetFile.previousSubnets(at: directory.file("none")) { said.append($0) }.isEmpty)
    #expect(said.isEmpty, "a first start is no reason to complain")
    #expect(throws: SystemError.self) { try file.write(to: path + "/below/a/file") }
    #expect(try Files.list(directory.file("a/b")) == ["subnet.env"])
  }

  @Test func badEntriesAreReportedAndSkipped() {
    var said: [String] = []
    #expect(
      SubnetFile.prefixes(
        named: "FLANNEL_SUBNET", .ipv4, in: "FLANNEL_SUBNET=10.244.1.0/24,not-a-cidr,10.244.2.0/24\n"
      ) { said.append($0) } == [IPPrefix("10.244.1.0/24"), IPPrefix("10.244.2.0/24")])
    #expect(
      said == ["FLANNEL_SUBNET: \"not-a-cidr\" is not an IPv4 subnet such as 10.244.1.1/24; left out"])
    #expect(
      SubnetFile.prefixes(
        named: "FLANNEL_IPV6_SUBNET", .ipv6, in: "FLANNEL_IPV6_SUBNET=fd00::/64,not-a-cidr,fd01::/64"
      ) { said.append($0) } == [IPPrefix("fd00::/64"), IPPrefix("fd01::/64")])
    #expect(SubnetFile.prefixes(named: "FLANNEL_SUBNET", .ipv4, in: "FLANNEL_SUBNET=not-a-cidr") { _ in }.isEmpty)
    #expect(
      SubnetFile.prefixes(named: "FLANNEL_IPV6_SUBNET", .ipv6, in: "FLANNEL_IPV6_SUBNET=not-a-cidr") { _ in }.isEmpty)
  }

  @Test func severalPreviousSubnetsCountAsNone() throws {
    let directory = try TemporaryDirectory("env")
    let path = try directory.write(
      "FLANNEL_SUBNET=10.244.1.1/24,10.244.2.1/24\nFLANNEL_IPV6_SUBNET=fd00::1/64\n", to: "s")
    var said: [String] = []
    #expect(SubnetFile.previousSubnets(at: path) { said.append($0) } == PerFamily(ipv6: IPPrefix("fd00::/64")))
    #expect(said == ["\(path): FLANNEL_SUBNET holds 2 subnets where one is expected; none of them is used"])
  }

  @Test(arguments: [
    ("A=1", "1"), ("A = 1 ", "1"), ("export A=1", "1"), ("  export   A=1", "1"), ("A=\"1 2\"", "1 2"),
    ("A='1#2'", "1#2"),
    ("A=1 # comment", "1"), ("A=1#2", "1#2"), ("# A=0\n\nA=1", "1"), ("A=0\nA=1", "1"), ("A=1\r\n", "1"), ("A=", ""),
    ("A=\"1\" # c", "1"), ("A=\"1", "1"), ("B=0\nA=1\nAA=2", "1"), ("A=#c", ""),
  ])
  func dotenvSyntax(_ text: String, _ value: String) {
    #expect(EnvironmentFile.value(of: "A", in: text) == value)
  }

  @Test(arguments: ["", "B=1", "#A=1", "A", "exportA=1", "AA=1", "=1"]) func dotenvAbsent(_ text: String) {
    #expect(EnvironmentFile.value(of: "A", in: text) == nil)
  }

  @Test func noTextTraps() {
    var random = Seeded(9)
    let words = [
      "FLANNEL_SUBNET", "=", "\"", "'", "#", " ", "\n", "\r\n", "export ", "10.0.0.0/8", ",", "\u{0}", "é", "\t",
    ]
    for _ in 0..<20_000 {
      let text = (0..<Int.random(in: 0...10, using: &random)).map { _ in words.randomElement(using: &random) ?? "" }
      _ = SubnetFile.prefixes(named: "FLANNEL_SUBNET", .ipv4, in: text.joined()) { _ in }
    }
  }
}
