import Glibc
import JSON
import Syscalls
import TestSupport
import Testing

/// The image, built without a registry and run by podman and runc, confined exactly as the chart says.
@Suite(.needsRoot) struct ImageTests {
  @Test func image() throws {
    let image = try BuiltImage()
    let context = try #require(Chart.render().at("\(ChartContractTests.agent)/securityContext"))
    let confined = try Container.options(for: context)
    try containsNothingElse(image)
    try programsRun(image, confined)
    try agentWorks(image, confined)
    try installersWork(image)
    try cleanupWorks(image)
  }

  private func programsRun(_ image: BuiltImage, _ confined: [String]) throws {
    #expect(try image.run(["/opt/bin/weft", "--version"], confined).hasPrefix("weft \(Chart.version)"))
    for program in ["iptables", "iptables-nft", "ip6tables", "ip6tables-nft-save"] {
      #expect(try image.run([program, "--version"], confined).contains("(nf_tables)"), "\(program)")
    }
    for program in ["iptables-legacy", "ip6tables-legacy-restore"] {
      #expect(try image.run([program, "--version"], confined).contains("(legacy)"), "\(program)")
    }
    #expect(try image.run(["nft", "--version"], confined).hasPrefix("nftables v"))
    // Both need what the tools come with: the list of protocols, and the extensions.
    _ = try image.run(
      ["nft", "-c", "add table ip t; add chain ip t c; add rule ip t c ip protocol esp accept"], confined)
    _ = try image.run(["iptables", "-t", "nat", "-A", "POSTROUTING", "-j", "MASQUERADE", "--random-fully"], confined)

    let shell = try image.attempt(["/bin/sh", "-c", "true"], confined)
    #expect(!shell.exit.isSuccess, "the image has a shell")
  }

  private func containsNothingElse(_ image: BuiltImage) throws {
    let directories = try Files.list("\(image.root)/opt/bin") + Files.list("\(image.root)/usr/bin")
    #expect(directories.sorted() == ["flanneld", "install-conf", "weft", "weft-cni"])
    let tools = try Files.list("\(image.root)/usr/sbin").filter { !$0.contains("tables") }
    #expect(tools == ["nft"])
    let packages = try Files.list("\(image.root)/var/lib/dpkg/status.d")
    #expect(packages.contains("iptables") && packages.contains("libc6"))
    for package in packages { #expect(Files.exists("\(image.root)/usr/share/doc/\(package)/copyright"), "\(package)") }
  }

  /// The agent itself: it makes its devices and writes its files with two capabilities and a read-only root.
  private func agentWorks(_ image: BuiltImage, _ confined: [String]) throws {
    let cluster = try TestCluster(nodes: 1, configuration: #"{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}"#)
    let run = try TemporaryDirectory("run")
    let container = try Container(
      image,
      confined + [
        "--network", "ns:\(cluster.nodes[0].path)", "--volume", "\(run.path):/run/flannel",
        "--volume", "\(cluster.registry):/registry",
      ],
      [
        "/opt/bin/flanneld", "--registry-dir=/registry", "--iface=eth0", "--healthz-port=8081",
        "--iptables-forward-rules=false",
      ])
    try eventually("subnet.env; the log says: \(container.log)") { Files.exists(run.file("subnet.env")) }
    #expect(try Files.text(run.file("subnet.env")).hasPrefix("FLANNEL_NETWORK=10.244.0.0/16\n"))
    #expect(cluster.nodes[0].device("flannel.1") != nil)
    let limits = try Files.text("/proc/\(try container.pid)/status").split(separator: "\n")
    // NET_ADMIN is capability 12, NET_RAW 13; 2 is a filter.
    for limit in ["CapEff:\t0000000000003000", "CapBnd:\t0000000000003000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
      #expect(limits.contains(limit[...]), "\(limit)")
    }
    #expect(try container.stop() == 0)
  }
}
