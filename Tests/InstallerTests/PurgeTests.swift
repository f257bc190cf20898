import Glibc
import JSON
import Syscalls
import TestSupport
import Testing

/// `weft uninstall --purge` on the real kernel; what is left is told by ip, nft and iptables-save.
@Suite(.needsRoot) struct PurgeTests {
  /// Devices of flannel, and devices that only look like them.
  private func addDevices(_ node: PurgeNode) throws {
    try node.ip("link add flannel.1 type vxlan id 1 dev eth0 dstport 8472 nolearning")
    try node.ip("link add flannel-v6.4096 type vxlan id 4096 dev eth0 dstport 8473 nolearning")
    try node.ip("link add flannel.7 type vxlan id 8 dev eth0 dstport 8474")
    try node.ip("link add flannel.9 type bridge")
    try node.ip("link add vxlan2 type vxlan id 2 dev eth0 dstport 8475")
    try node.ip("addr add 10.244.1.0/32 dev flannel.1")
    try node.ip("link set flannel.1 up")
    try node.ip("link add cni0 type bridge")
  }

  private func addRoutes(_ node: PurgeNode) throws {
    try node.ip("route add 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink")
    try node.ip("route add 10.244.3.0/24 via 192.168.7.3 dev eth0 proto 87")
    try node.ip("route add fd00:10:244:3::/64 via fd77::3 dev eth0 proto 87")
    try node.ip("nexthop add id 7001 via 192.168.7.4 dev eth0 proto 87")
    try node.ip("nexthop add id 7002 via 192.168.7.5 dev eth0")
    try node.ip("route add 10.244.4.0/24 nhid 7001 proto 87")
    try node.ip("route add blackhole 10.244.1.0/24")
    try node.ip("route add blackhole fd00:10:244:1::/64")
    // An administrator's.
    try node.ip("route add blackhole 10.99.0.0/16")
    try node.ip("route add 10.98.0.0/16 via 192.168.7.9 dev eth0")
    try node.ip("route add 10.97.0.0/16 via 192.168.7.9 dev eth0 proto 87 table 100")
  }

  /// As flannel makes them, in every tool, among others' rules.
  private func addRules(_ node: PurgeNode) throws {
    for tool in PurgeNode.iptables {
      let net = tool.hasPrefix("ip6") ? "fd00:10:244::/56" : "10.244.0.0/16"
      try node.sh(
        "\(tool)-restore",
        input: """
          *nat
          :FLANNEL-POSTRTG - [0:0]
          -A POSTROUTING -o eth0 -j MASQUERADE
          -A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
          -A FLANNEL-POSTRTG -s \(net) -d \(net) -m comment --comment "flanneld masq" -j RETURN
          COMMIT
          *filter
          :FLANNEL-FWD - [0:0]
          :OTHER - [0:0]
          -A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD
          -A FORWARD -j OTHER
          -A FLANNEL-FWD -s \(net) -m comment --comment "flanneld forward" -j ACCEPT
          COMMIT

          """)
    }
    try node.sh(
      "nft -f -",
      input: """
        add table ip flannel-ipv4
        add chain ip flannel-ipv4 postrtg { type nat hook postrouting priority srcnat; }
        add rule ip flannel-ipv4 postrtg masquerade
        add table ip6 flannel-ipv6
        add table inet flannel-ipv4
        add table ip other

        """)
  }

  private func addFiles(_ node: PurgeNode) throws {
    try node.directory.write(
      """
      FLANNEL_NETWORK=10.244.0.0/16
      FLANNEL_SUBNET=10.244.1.1/24
      FLANNEL_IPV6_NETWORK=fd00:10:244::/56
      FLANNEL_IPV6_SUBNET=fd00:10:244:1::1/64
      FLANNEL_MTU=1450
      FLANNEL_IPMASQ=true

      """, to: "run/flannel/subnet.env")
    try node.directory.write("{}", to: "cni/flannel/0123456789ab")
    try node.directory.write("10.244.1.9", to: "cni/networks/cbr0/last_reserved_ip.0")
    try node.directory.write("", to: "cni/networks/cbr0/lock")
    try node.directory.write("", to: "cni/networks/other/lock")
    try node.directory.write(ConfigurationTests.flannel, to: "net.d/10-flannel.conflist")
    try node.directory.write("{}", to: "bin/bridge")
  }

  private func fullNode() throws -> PurgeNode {
    let node = try PurgeNode()
    try addDevices(node)
    try addRoutes(node)
    try addRules(node)
    try addFiles(node)
    return node
  }

  @Test func everythingOfFlannelAndNothingElse() throws {
    let node = try fullNode()
    let before = try node.everything()
    let dry = try node.uninstall("--purge", "--dry-run")
    #expect(dry.exit.isSuccess, "\(dry.errorText)")
    #expect(try node.everything() == before)

    let out = try node.uninstall("--purge")
    #expect(out.exit.isSuccess, "\(out.errorText)")
    #expect(out.errorText.isEmpty)
    let said = PurgeNode.lines(out.text)
    #expect(said.allSatisfy { $0.hasPrefix("removed ") })
    #expect(PurgeNode.lines(dry.text).map { $0.dropFirst("would remove ".count) } == said.map { $0.dropFirst(8) })
    for line in [
      "device flannel.1 (vxlan)", "device flannel-v6.4096 (vxlan)", "device cni0 (bridge)",
      "route 10.244.3.0/24 via 192.168.7.3", "route fd00:10:244:3::/64 via fd77::3",
      "route 10.244.4.0/24 over next-hop object 7001", "next-hop object 7001 via 192.168.7.4",
      "black-hole route 10.244.1.0/24", "black-hole route fd00:10:244:1::/64", "nf_tables table ip flannel-ipv4",
      "nf_tables table ip6 flannel-ipv6", "chain FLANNEL-POSTRTG of table nat (iptables-legacy)",
      "chain FLANNEL-FWD of table filter (ip6tables-nft)", node.subnetFile, node.directory.file("run/flannel"),
      node.directory.file("cni/flannel"), node.directory.file("cni/networks/cbr0"),
      node.directory.file("net.d/10-flannel.conflist"),
    ] {
      #expect(said.contains("removed \(line)"), "\(line)")
    }
    // 3 devices, 6 routes and next hops, 2 tables, 8 chains, 5 files.
    #expect(said.count == 24, "\(out.text)")
    try onlyOthersAreLeft(node)

    let again = try node.uninstall("--purge")
    #expect(again.exit.isSuccess)
    #expect(again.text == "nothing to remove\n")
  }

  private func onlyOthersAreLeft(_ node: PurgeNode) throws {
    #expect(try node.links() == ["eth0", "eth0p", "flannel.7", "flannel.9", "vxlan2"])
    let routes = try node.sh("ip -4 route show table all proto 87") + node.sh("ip -6 route show proto 87")
    #expect(routes.hasPrefix("10.97.0.0/16 via 192.168.7.9 dev eth0 table 100"))
    #expect(PurgeNode.lines(routes).count == 1)
    #expect(try node.sh("ip route").contains("blackhole 10.99.0.0/16"))
    #expect(try node.sh("ip route").contains("10.98.0.0/16 via 192.168.7.9"))
    #expect(try !node.sh("ip -6 route").contains("fd00:"))
    #expect(try PurgeNode.lines(node.sh("ip nexthop")).map { $0.hasPrefix("id 7002 ") } == [true])
    let rules = try node.iptables()
    #expect(rules.allSatisfy { !$0.contains("FLANNEL") }, "\(rules)")
    for tool in PurgeNode.iptables {
      #expect(rules.contains { $0.hasPrefix("\(tool) nat: -A POSTROUTING -o eth0 -j MASQUERADE") })
      #expect(rules.contains { $0.hasPrefix("\(tool) filter: -A FORWARD -j OTHER") })
    }
    let tables = try PurgeNode.lines(node.sh("nft list tables"))
    #expect(tables.filter { $0.contains("flannel") } == ["table inet flannel-ipv4"])
    #expect(tables.contains("table ip other"))
    #expect(try Files.list(node.directory.file("run")) == [])
    #expect(try Files.list(node.directory.file("cni")) == ["networks"])
    #expect(try Files.list(node.directory.file("cni/networks")) == ["other"])
    #expect(try Files.list(node.directory.file("bin")) == ["bridge"])
  }

  @Test func whatPodsNeedStays() throws {
    let node = try fullNode()
    try node.ip("link add vethp type veth peer name vethq")
    try node.ip("link set vethp master cni0")
    try node.directory.write("c1\r\neth0", to: "cni/networks/cbr0/10.244.1.5")
    try node.directory.write("", to: "run/flannel/other")
    let out = try node.uninstall("--purge")
    #expect(out.exit.isSuccess)
    #expect(
      PurgeNode.lines(out.errorText) == [
        "warning: kept cni0: pods are connected to it: vethp",
        "warning: kept \(node.directory.file("cni/flannel")): pods are connected to cni0",
        "warning: kept \(node.directory.file("cni/networks/cbr0")): 1 address is reserved for containers, as 10.244.1.5",
      ])
    #expect(try node.links().contains("cni0"))
    #expect(try !node.links().contains("flannel.1"))
    #expect(Files.exists(node.directory.file("cni/flannel/0123456789ab")))
    #expect(Files.exists(node.directory.file("cni/networks/cbr0/10.244.1.5")))
    #expect(Files.exists(node.directory.file("run/flannel/other")))
    #expect(!Files.exists(node.subnetFile))
  }

  /// The network's name is that of flannel's configuration; another program's network is not looked at.
  @Test func addressesOfAnotherNetwork() throws {
    let node = try PurgeNode()
    for name in ["other", "pods", "cbr0"] { try node.directory.write("", to: "cni/networks/\(name)/lock") }
    let list = node.directory.file("net.d/10-flannel.conflist")
    try node.directory.write(
      #"{"name":"other","cniVersion":"1.0.0","plugins":[{"type":"x"}]}"#, to: "net.d/10-flannel.conflist")
    #expect(try node.uninstall("--purge").text == "removed \(node.directory.file("cni/networks/cbr0"))\n")
    try node.directory.write(
      #"{"name":"pods","cniVersion":"1.0.0","plugins":[{"type":"flannel"}]}"#, to: "net.d/10-flannel.conflist")
    let out = try node.uninstall("--purge")
    #expect(out.text == "removed \(list)\nremoved \(node.directory.file("cni/networks/pods"))\n")
    #expect(try Files.list(node.directory.file("cni/networks")) == ["other"])
  }

  @Test func withoutPurgeTheNetworkStays() throws {
    let node = try fullNode()
    let before = try node.everything()
    let out = try node.uninstall()
    #expect(out.text == "removed \(node.directory.file("net.d/10-flannel.conflist"))\n")
    #expect(try node.everything() == before.filter { !$0.hasSuffix("/10-flannel.conflist") })
  }

  /// Somebody's own jump to a chain of ours keeps that chain; it is named, and everything else goes.
  @Test(arguments: ["iptables-nft", "iptables-legacy"])
  func whatCannotBeRemovedIsNamed(_ tool: String) throws {
    let node = try fullNode()
    try node.sh("\(tool) -A FORWARD -i eth0 -j FLANNEL-FWD")
    let out = try node.uninstall("--purge")
    #expect(out.exit == .status(1))
    let warnings = PurgeNode.lines(out.errorText).filter { $0.hasPrefix("warning:") }
    #expect(warnings.count == 1)
    #expect(warnings.first?.hasPrefix("warning: cannot remove chain FLANNEL-FWD of table filter (\(tool)): ") == true)
    #expect(try node.iptables().filter { $0.contains("FLANNEL") }.allSatisfy { $0.hasPrefix("\(tool) filter: ") })
    #expect(try !node.links().contains("flannel.1"))
    #expect(!Files.exists(node.subnetFile))
    try node.sh("\(tool) -D FORWARD -i eth0 -j FLANNEL-FWD")
    #expect(try node.uninstall("--purge").exit.isSuccess)
    try onlyOthersAreLeft(node)
  }

  /// Without the right to change the network it says so.
  @Test func withoutCapabilities() throws {
    let node = try fullNode()
    let before = try node.links()
    let out = try node.namespace.run(
      "/usr/bin/setpriv",
      [
        "--bounding-set", "-net_admin", "--", try builtProduct("weft"), "uninstall", "--purge", "--bin-dir",
        "/nonexistent", "--conf-dir", "/nonexistent", "--subnet-file", "/nonexistent/subnet.env", "--cni-state-dir",
        "/nonexistent",
      ])
    #expect(out.exit == .status(1))
    #expect(out.errorText.contains("cannot remove device flannel.1 (vxlan): "))
    #expect(out.errorText.contains("operation not permitted"))
    #expect(try node.links() == before)
  }
}
