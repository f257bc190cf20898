import JSON
import Syscalls
import TestSupport
import Testing

/// The containers of the chart that install and that clean up, confined as there.
extension ImageTests {
  /// What the chart's init containers run, confined as there: without any capability they write only what root owns.
  func installersWork(_ image: BuiltImage) throws {
    let node = try TemporaryDirectory("node")
    let objects = try Chart.render("flannel: {cniPlugins: all}")
    let list = try #require(objects.at("ConfigMap/data/cni-conf.json")?.stringValue)
    try node.write(list, to: "kube-flannel/cni-conf.json")
    try node.write("foreign", to: "bin/bridge", mode: 0o755)
    try Files.makeDirectory(node.file("net.d"))
    let volumes = [("bin", "/opt/cni/bin"), ("net.d", "/etc/cni/net.d"), ("kube-flannel", "/etc/kube-flannel")].flatMap
    {
      ["--volume", "\(node.file($0.0)):\($0.1)"]
    }
    for index in 0..<2 {
      let container = try #require(objects.at("DaemonSet/spec/template/spec/initContainers/\(index)"))
      let context = try #require(container["securityContext"])
      let words = ["command", "args"].flatMap { container[$0]?.arrayValue?.compactMap(\.stringValue) ?? [] }
      _ = try image.run(words, Container.options(for: context) + volumes)
    }
    #expect(try Files.list(node.file("bin")).sorted() == ["bridge", "flannel", "host-local", "loopback", "portmap"])
    #expect(try Files.text(node.file("bin/bridge")) == "foreign")
    #expect(try ChildProcess.run(node.file("bin/flannel")).exit.isSuccess)
    #expect(try Files.text(node.file("net.d/10-flannel.conflist")) == list)
    // The name that flannel's own chart calls.
    let (from, to) = ("/etc/kube-flannel/cni-conf.json", "/etc/cni/net.d/copy.conflist")
    _ = try image.run(["/opt/bin/install-conf", from, to], volumes)
    #expect(try Files.text(node.file("net.d/copy.conflist")) == list)
  }

  /// What a node of the chart with `cleanup.enabled` runs: it cleans with the image's own iptables and nft, then stays.
  func cleanupWorks(_ image: BuiltImage) throws {
    let node = try TestNamespace("clean")
    try node.ip("link", "add", "flannel.1", "type", "vxlan", "id", "1", "dstport", "8472")
    for tool in ["iptables-nft", "ip6tables-legacy"] {
      for words in [
        ["-N", "FLANNEL-FWD"],
        ["-A", "FORWARD", "-m", "comment", "--comment", "flanneld forward", "-j", "FLANNEL-FWD"],
      ] {
        try node.expectSuccess("/usr/sbin/\(tool)", words)
      }
    }
    try node.expectSuccess("/usr/sbin/nft", ["add", "table", "ip6", "flannel-ipv6"])
    let container = try #require(Chart.render("cleanup: {enabled: true}").at(ChartContractTests.agent))
    let words = ["command", "args"].flatMap { container[$0]?.arrayValue?.compactMap(\.stringValue) ?? [] }
    let files = try TemporaryDirectory("clean")
    try files.write("FLANNEL_NETWORK=10.244.0.0/16\n", to: "run/subnet.env")
    try files.write("", to: "xtables.lock")
    let running = try Container(
      image,
      Container.options(for: try #require(container["securityContext"])) + [
        "--network", "ns:\(node.path)", "--volume", "\(files.file("run")):/run/flannel", "--volume",
        "\(files.file("xtables.lock")):/run/xtables.lock",
      ], words)
    try eventually("the last removal; the log says: \(running.log)") {
      running.log.contains("removed /run/flannel/subnet.env")
    }
    #expect(node.device("flannel.1") == nil)
    for tool in ["iptables-nft", "ip6tables-legacy"] {
      #expect(try !node.run("/usr/sbin/\(tool)-save").text.contains("FLANNEL"))
    }
    #expect(try !node.run("/usr/sbin/nft", ["list", "tables"]).text.contains("flannel"))
    #expect(try Files.list(files.file("run")) == [])
    #expect(try running.stop() == 0)
  }
}
