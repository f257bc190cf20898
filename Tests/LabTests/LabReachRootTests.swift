import Glibc
import JSON
import Syscalls
import TestSupport
import Testing

@testable import Lab

/// The internet and host ports in real labs. The other side of some connections is a program of the system.
@Suite(.enabled(if: Requirements.isRoot, "needs root"), .timeLimit(.minutes(3)))
struct LabReachRootTests {
  private static func reach(_ lab: TestLab, _ words: String...) throws -> JSONValue {
    let output = try ChildProcess.run(lab.weft, ["lab", "reach"] + lab.options + ["--json"] + words)
    return try JSONValue(parsing: output.stdout)
  }

  /// `POD SEEN` of each outward connection.
  private static func seen(_ report: JSONValue) -> [String] {
    (report["outward"]?.arrayValue ?? []).map { "\($0["pod"]?.stringValue ?? "") \($0["seen"]?.stringValue ?? "-")" }
  }

  /// `ADDRESS PORT/PROTO SERVER CLIENT` of each host port.
  private static func answers(_ report: JSONValue) -> [String] {
    (report["hostPorts"]?.arrayValue ?? []).map {
      let endpoint =
        "\($0["address"]?.stringValue ?? "") \($0["hostPort"]?.intValue ?? 0)/\($0["protocol"]?.stringValue ?? "")"
      return "\(endpoint) \($0["server"]?.stringValue ?? "-") \($0["seen"]?.stringValue ?? "-")"
    }
  }

  @Test func podsAreSeenAsTheirNodes() throws {
    let lab = try TestLab()
    try lab.expect("lab", "up", "--nodes", "2", "--pods", "1", "--dual-stack")
    try lab.expect("lab", "pod", "add", "n2", "web", "--port", "8080:80", "--port", "5353:53/udp")
    let report = try Self.reach(lab)
    #expect(report["complete"] == true)
    #expect(
      Self.seen(report) == [
        "n1-p1 172.31.77.11", "n1-p1 fd77::11", "n2-p1 172.31.77.12", "n2-p1 fd77::12", "n2-web 172.31.77.12",
        "n2-web fd77::12",
      ])
    #expect(
      Self.answers(report) == [
        "172.31.77.12 8080/tcp n2-web 198.51.100.2", "172.31.77.12 5353/udp n2-web 198.51.100.2",
        "fd77::12 8080/tcp n2-web 2001:db8:51:100::2", "fd77::12 5353/udp n2-web 2001:db8:51:100::2",
      ])
    let one = try Self.reach(lab, "n1-p1")
    #expect(Self.seen(one) == ["n1-p1 172.31.77.11", "n1-p1 fd77::11"])
    #expect(one["hostPorts"] == [])
    // Nobody outside knows a way to the pods.
    for (place, family) in [("internet", "-4"), ("internet", "-6")] {
      let routes = try lab.expect("lab", "exec", place, "--", "ip", family, "route")
      #expect(
        !routes.contains("10.244.") && !routes.contains("fd00:10:244") && !routes.contains("default"), "\(routes)")
    }
    let packets = try lab.weft("lab", "exec", "internet", "--", "ping", "-c", "1", "-W", "1", "10.244.0.1")
    #expect(!packets.exit.isSuccess)

    try Self.withoutRules(lab)
    try lab.expect("lab", "down")
    #expect(lab.namespaces.isEmpty)
  }

  /// Takes the rules of node 2 away: `reach` has to say so, and only of it.
  private static func withoutRules(_ lab: TestLab) throws {
    try lab.expect("lab", "node", "kill", "n2")
    try lab.expect("lab", "exec", "n2", "--", "nft", "flush", "ruleset")
    for tool in ["iptables", "ip6tables"] { try lab.expect("lab", "exec", "n2", "--", tool, "-t", "nat", "-F") }
    let broken = try lab.weft("lab", "reach", "--timeout", "500")
    #expect(broken.exit == .status(1))
    for text in [
      "the internet saw 10.244.", "the internet saw fd00:10:244:",
      "not n2 at 172.31.77.12: node n2 has no rule that masquerades; the agent of n2 is not running",
      "connection refused: node n2 has no DNAT rule for port 8080/tcp (172.31.77.12:8080/tcp, [fd77::12]:8080/tcp)",
      "node n2 has no DNAT rule for port 5353/udp",
    ] { #expect(broken.text.contains(text), "\(text) in \(broken.text)") }
    #expect(!broken.text.contains("node n1"), "\(broken.text)")
    try lab.expect("lab", "node", "start", "n2")
    #expect(Self.seen(try Self.reach(lab, "n2-p1")) == ["n2-p1 172.31.77.12", "n2-p1 fd77::12"])
  }

  /// A server that is not the lab's: it tells its client's address.
  private static let server = """
    use IO::Socket::INET; my $s = IO::Socket::INET->new(LocalPort => 80, Listen => 5, ReuseAddr => 1) or die;
    while (my $c = $s->accept) { print $c $c->peerhost, "\\n"; close $c }
    """

  @Test func aProgramOfThePod() throws {
    let lab = try TestLab()
    try lab.expect("lab", "up", "--nodes", "1", "--pods", "0", "--nftables")
    #expect(try Files.text("\(lab.directory)/registry/config").contains("\"EnableNFTables\": true"))
    try lab.expect("lab", "pod", "add", "n1", "web", "--port", "8080:80")
    let status = try JSONValue(parsing: lab.expect("lab", "status", "--json"))
    let pod = status["pods"]?.arrayValue?.first
    #expect(pod?["ports"] == [["hostPort": 8080, "containerPort": 80, "protocol": "tcp"]])
    #expect(try lab.expect("lab", "status").contains("8080:80/tcp"))

    let words = ["lab", "exec"] + lab.options + ["n1-web", "--", "perl", "-e", Self.server]
    let server = try ChildProcess.start(lab.weft, words)
    defer { _ = try? server.wait() }
    defer { server.signal(SIGKILL) }
    let client = "exec 3<>/dev/tcp/172.31.77.11/8080 && cat <&3"
    try eventually("the pod's server answers from outside") {
      try lab.weft("lab", "exec", "internet", "--", "bash", "-c", client).text == "198.51.100.2\n"
    }
    let report = try Self.reach(lab)
    #expect(report["complete"] == true)
    #expect(report["hostPorts"]?.arrayValue?.map { $0["answered"] } == [true])
    #expect(Self.answers(report) == ["172.31.77.11 8080/tcp - -"])

    let taken = try lab.weft("lab", "pod", "add", "n1", "--port", "8080:81")
    #expect(taken.errorText.contains("leads to pod n1-web already"), "\(taken.errorText)")
    let rules = ["lab", "exec"] + lab.options + ["n1", "--", "sh", "-c", "iptables-save; nft list ruleset"]
    #expect(try ChildProcess.run(lab.weft, rules).text.contains("8080"))
    try lab.expect("lab", "pod", "rm", "web")
    #expect(try !ChildProcess.run(lab.weft, rules).text.contains("8080"))
  }

  /// Plugins get the ports when a pod is made and when it is removed: the reference portmap leaves its rules otherwise.
  @Test func pluginsAreToldOfThePorts() throws {
    let lab = try TestLab()
    let told = lab.state.file("told")
    try lab.plugins.write(
      "#!/bin/sh\necho \"$CNI_COMMAND $(cat)\" >>\(told)\necho '{\"cniVersion\":\"1.0.0\",\"ips\":[]}'\n", to: "tell",
      mode: 0o755)
    let list = #"{"name":"x","cniVersion":"1.0.0","plugins":[{"type":"tell","capabilities":{"portMappings":true}}]}"#
    try lab.state.write(list, to: "tell.conflist")
    try lab.expect("lab", "up", "--nodes", "1", "--pods", "0", "--conflist", lab.state.file("tell.conflist"))
    try lab.expect("lab", "pod", "add", "n1", "web", "--port", "53:5353/udp")
    try lab.expect("lab", "pod", "rm", "web")
    let lines = try Files.text(told).split(separator: "\n")
    #expect(lines.map { $0.split(separator: " ").first } == ["ADD", "DEL"])
    for line in lines {
      let input = try JSONValue(parsing: Array(line.dropFirst(4).utf8))
      let ports: JSONValue = [["hostPort": 53, "containerPort": 5353, "protocol": "udp"]]
      #expect(input["runtimeConfig"]?["portMappings"] == ports, "\(line)")
    }
  }

  /// What an earlier version made has no internet; everything else works.
  @Test func labOfAnEarlierVersion() throws {
    let lab = try TestLab()
    try lab.expect("lab", "up", "--nodes", "1", "--pods", "1", "--conflist", lab.state.file("net.conflist"))
    let portless = try lab.weft("lab", "pod", "add", "n1", "--port", "8080:80")
    #expect(portless.errorText.contains("no plugin with the capability portMappings"), "\(portless.errorText)")
    try Files.writeAtomically(
      Array(#"{"version":1,"nodes":1,"pods":1,"network":"10.244.0.0/16","backend":{"Type":"vxlan"}}"#.utf8),
      to: "\(lab.directory)/lab.json", mode: 0o644)
    #expect(try ChildProcess.run("/sbin/ip", ["netns", "del", "weft-\(lab.name)-internet"]).exit.isSuccess)
    try lab.expect("lab", "status")
    let reach = try lab.weft("lab", "reach")
    #expect(reach.exit == .status(1))
    #expect(reach.errorText.contains("has no internet"), "\(reach.errorText)")
    try lab.expect("lab", "down")
    #expect(lab.namespaces.isEmpty)
    #expect(!Files.exists(lab.root))
  }
}
