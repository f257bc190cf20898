import Glibc
import JSON
import KubeSupport
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

  /// The agent with the chart's command, environment and mounts, with the service account that Kubernetes gives: it makes
  /// its devices and writes its files with two capabilities and a read-only root.
  private func agentWorks(_ image: BuiltImage, _ confined: [String]) throws {
    let cluster = try KubernetesCluster(nodes: 1)
    defer { cluster.remove() }
    cluster.server.put(KubernetesCluster.peer(50))
    cluster.server.put(KubeFixtures.pod("weft-x", namespace: "kube-flannel", node: "node-0"), resource: "pods")
    let files = try TemporaryDirectory("run")
    let objects = try Chart.render("flannel: {args: [--ip-masq, --kube-subnet-mgr, --iface=eth0]}")
    try files.write(try #require(objects.at("ConfigMap/data/net-conf.json")?.stringValue), to: "cfg/net-conf.json")
    try files.write("secret", to: "account/token")
    try files.write("kube-flannel", to: "account/namespace")
    try files.write(try Files.text(KubernetesCluster.certificates.get().authority), to: "account/ca.crt")
    try Files.makeDirectory(files.file("run"))
    try files.write("", to: "xtables.lock")
    let command = objects.at("\(ChartContractTests.agent)/command")?.arrayValue?.compactMap(\.stringValue) ?? []
    var options = confined + ["--network", "ns:\(cluster.nodes[0].path)"]
    for (from, to) in [
      ("run", "/run/flannel"), ("cfg", "/etc/kube-flannel"), ("xtables.lock", "/run/xtables.lock"),
      ("account", "/var/run/secrets/kubernetes.io/serviceaccount:ro"),
    ] { options += ["--volume", "\(files.file(from)):\(to)"] }
    for variable in [
      "POD_NAME=weft-x", "POD_NAMESPACE=kube-flannel", "EVENT_QUEUE_DEPTH=5000", "CONT_WHEN_CACHE_NOT_READY=false",
      "KUBERNETES_SERVICE_HOST=172.31.77.1", "KUBERNETES_SERVICE_PORT=6443",
    ] { options += ["--env", variable] }
    let container = try Container(image, options, command)
    try eventually("ready; the log says: \(container.log)", within: 20) {
      cluster.readiness(0) == "flanneld is ready"
    }
    #expect(try Files.text(files.file("run/subnet.env")).contains("FLANNEL_SUBNET=10.244.1.1/24\n"))
    #expect(try cluster.routes(0) == ["10.244.50.0/24 via 10.244.50.0 onlink"])
    #expect(cluster.annotation("node-0", "public-ip") == "172.31.77.11")
    #expect(try cluster.nodes[0].run("/usr/sbin/iptables-save").text.contains("-j FLANNEL-POSTRTG"))
    let limits = try Files.text("/proc/\(try container.pid)/status").split(separator: "\n")
    // NET_ADMIN is capability 12, NET_RAW 13; 2 is a filter.
    for limit in ["CapEff:\t0000000000003000", "CapBnd:\t0000000000003000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
      #expect(limits.contains(limit[...]), "\(limit)")
    }
    #expect(try container.stop() == 0)
  }
}
