import Testing

@testable import Agent

@Suite struct AgentOptionsTests {
  private func parse(_ words: [String], _ environment: [String: String] = [:]) -> AgentOptions.Outcome {
    AgentOptions.parse(arguments: words, environment: { environment[$0] }, programName: "flanneld")
  }

  private func options(_ words: [String], _ environment: [String: String] = [:]) throws -> AgentOptions {
    guard case .run(let options, _) = parse(words, environment) else {
      throw InterfaceError("\(parse(words, environment))")
    }
    return options
  }

  /// Every flag of contract flanneld §1.1 with its default, and two other values.
  static let rows: [(name: String, default: String, flag: String, environment: String)] = [
    ("etcd-endpoints", "\"http://127.0.0.1:4001,http://127.0.0.1:2379\"", "https://a", "https://b"),
    ("etcd-prefix", "\"/coreos.com/network\"", "/a", "/b"), ("etcd-keyfile", "\"\"", "/a", "/b"),
    ("etcd-certfile", "\"\"", "/a", "/b"), ("etcd-cafile", "\"\"", "/a", "/b"), ("etcd-username", "\"\"", "a", "b"),
    ("etcd-password", "\"\"", "a", "b"), ("iface", "[]", "eth0", "eth1,eth2"), ("iface-regex", "[]", "^a", "^b"),
    ("iface-can-reach", "\"\"", "10.0.0.1", "10.0.0.2"),
    ("subnet-file", "\"/run/flannel/subnet.env\"", "/a", "/b"), ("public-ip", "\"\"", "10.0.0.1", "10.0.0.2"),
    ("public-ipv6", "\"\"", "fd00::1", "fd00::2"), ("subnet-lease-renew-margin", "60", "61", "62"),
    ("ip-masq", "false", "true", "true"), ("ip-masq-fully-random-disable", "false", "true", "true"),
    ("kube-subnet-mgr", "false", "true", "true"), ("kube-api-url", "\"\"", "http://a", "http://b"),
    ("kube-annotation-prefix", "\"flannel.alpha.coreos.com\"", "a.b", "c.d"), ("kubeconfig-file", "\"\"", "/a", "/b"),
    ("healthz-ip", "\"0.0.0.0\"", "127.0.0.1", "::1"), ("healthz-port", "0", "1", "2"),
    ("iptables-resync", "5", "6", "7"), ("iptables-forward-rules", "true", "false", "false"),
    ("ip-blackhole-route", "false", "true", "true"),
    ("net-config-path", "\"/etc/kube-flannel/net-conf.json\"", "/a", "/b"),
    ("set-node-network-unavailable", "true", "false", "false"), ("v", "\"0\"", "4", "-1"),
    ("vmodule", "\"\"", "a=1", "b=2"), ("log_backtrace_at", "\"\"", "a.go:1", "b.go:2"),
    ("registry-dir", "\"\"", "/a", "/b"),
  ]

  private func shown(_ name: String, _ options: AgentOptions) throws -> String {
    try #require(AgentOptions.flags.flags.first { $0.name == name }).show(options)
  }

  private func bare(_ text: String) -> String { text.filter { !"[]\"".contains($0) } }

  @Test func theTableIsComplete() {
    #expect(Set(Self.rows.map(\.name)).union(["version"]) == Set(AgentOptions.flags.flags.map(\.name)))
  }

  @Test(arguments: rows.indices) func everyFlagEveryWay(_ index: Int) throws {
    let row = Self.rows[index]
    let key = "FLANNELD_" + row.name.uppercased().replacing("-", with: "_")
    #expect(try shown(row.name, options([])) == row.default)
    #expect(try bare(shown(row.name, options(["--\(row.name)=\(row.flag)"]))) == row.flag)
    #expect(try bare(shown(row.name, options([], [key: row.environment]))) == row.environment)
    #expect(try bare(shown(row.name, options(["-\(row.name)=\(row.flag)"], [key: row.environment]))) == row.flag)
    #expect(try shown(row.name, options([], [key: ""])) == row.default, "empty is not set")
  }

  @Test func aFlagGivenWithItsDefaultBeatsTheEnvironment() throws {
    #expect(try !options(["-ip-masq=false"], ["FLANNELD_IP_MASQ": "true"]).ipMasquerade)
  }

  @Test func aBadVariableIsOnlyReported() {
    var expected = AgentOptions()
    expected.healthPort = 9
    #expect(
      parse([], ["FLANNELD_IP_MASQ": "maybe", "FLANNELD_HEALTHZ_PORT": "9"])
        == .run(expected, warnings: ["invalid value \"maybe\" for FLANNELD_IP_MASQ: parse error"]))
  }

  @Test func versionAndHelpExitWithZero() {
    #expect(parse(["--version"]) == .exit(code: 0, text: "weft 0.1.0 (commit unknown)\n"))
    #expect(parse(["--version", "-subnet-lease-renew-margin=0"]) == parse(["--version"]))
    guard case .exit(0, let text) = parse(["--help"]) else { return #expect(Bool(false), "help must exit 0") }
    #expect(text.hasPrefix("Usage: flanneld [OPTION]...\n  -etcd-cafile file\n    \t"))
    #expect(text.contains("  -iptables-resync seconds\n"))
  }

  @Test func theVersionIsNotAskedForByTheEnvironment() throws {
    #expect(try !options([], ["FLANNELD_VERSION": "true"]).version)
  }

  @Test(arguments: [
    ("-bogus", "flag provided but not defined: -bogus"),
    ("-iptables-resync=x", "invalid value \"x\" for flag -iptables-resync: parse error"),
    ("-iface", "flag needs an argument: -iface"),
    ("-ip-masq=maybe", "invalid boolean value \"maybe\" for -ip-masq: parse error"),
    ("-v=x", "invalid value \"x\" for flag -v: strconv.ParseInt: parsing \"x\": invalid syntax"),
    (
      "-v=4294967296",
      "invalid value \"4294967296\" for flag -v: strconv.ParseInt: parsing \"4294967296\": value out of range"
    ),
  ])
  func aBadFlagExitsWithTwo(_ word: String, _ line: String) {
    guard case .exit(2, let text) = parse([word]) else { return #expect(Bool(false), "must exit 2") }
    #expect(text.hasPrefix(line + "\nUsage: flanneld [OPTION]...\n"))
  }

  @Test(arguments: ["0", "-1", "1440"]) func theRenewMarginIsChecked(_ minutes: String) {
    guard case .exit(1, let text) = parse(["-subnet-lease-renew-margin=\(minutes)"]) else {
      return #expect(Bool(false), "must exit 1")
    }
    #expect(text == "invalid subnet-lease-renew-margin \(minutes): expected 1 to 1439 minutes\n")
    #expect(throws: Never.self) { try options(["-subnet-lease-renew-margin=1439"]) }
  }

  @Test func thePasswordIsNotLogged() throws {
    let summary = try options(["-etcd-password=secret", "-iface=a b"]).summary
    #expect(!summary.contains("secret") && summary.contains("iface=[\"a b\"]"))
  }

  @Test func flagsWithoutEffectSaySo() {
    let without = AgentOptions.flags.flags.filter { $0.usage.hasSuffix("(not in this version)") }.map(\.name)
    #expect(without.contains("etcd-endpoints"))
    for works in [
      "iface", "kube-subnet-mgr", "kubeconfig-file", "ip-masq", "iptables-resync", "ip-blackhole-route", "public-ip",
      "registry-dir", "healthz-port", "v",
    ] { #expect(!without.contains(works)) }
  }
}
