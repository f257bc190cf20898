/// All options of the agent with their defaults (contract flanneld §1.1).
public struct AgentOptions: Hashable, Sendable {
  /// Comma list of etcd v3 end points.
  public var etcdEndpoints = "http://127.0.0.1:4001,http://127.0.0.1:2379"
  /// Key prefix in etcd.
  public var etcdPrefix = "/coreos.com/network"
  /// Private key for etcd over TLS.
  public var etcdKeyFile = ""
  /// Certificate for etcd over TLS.
  public var etcdCertificateFile = ""
  /// Authorities that etcd's certificate is checked against.
  public var etcdAuthorityFile = ""
  /// User name for etcd.
  public var etcdUsername = ""
  /// Password for etcd.
  public var etcdPassword = ""
  /// Interface names or addresses, tried in this order.
  public var interfaces: [String] = []
  /// Regular expressions for an address or a name, tried after `interfaces`.
  public var interfacePatterns: [String] = []
  /// Address whose route selects the interface; tried last.
  public var interfaceCanReach = ""
  /// Path of subnet.env.
  public var subnetFile = "/run/flannel/subnet.env"
  /// IPv4 address other nodes use to reach this one.
  public var publicIP = ""
  /// IPv6 address other nodes use to reach this one.
  public var publicIPv6 = ""
  /// Minutes before its end at which a lease is renewed; 1…1439.
  public var subnetLeaseRenewMargin = 60
  /// Masquerade traffic that leaves the pod network.
  public var ipMasquerade = false
  /// No fully random source ports when masquerading.
  public var ipMasqueradeFullyRandomDisable = false
  /// Subnets from the Kubernetes API.
  public var kubeSubnetManager = false
  /// URL of the Kubernetes API, outside a pod.
  public var kubeAPIURL = ""
  /// Prefix of the node annotations (contract flanneld §6.1).
  public var kubeAnnotationPrefix = "flannel.alpha.coreos.com"
  /// Path of a kubeconfig, outside a pod.
  public var kubeconfigFile = ""
  /// Print the version and exit.
  public var version = false
  /// Address the health server listens on.
  public var healthAddress = "0.0.0.0"
  /// 0 = no health server.
  public var healthPort = 0
  /// Seconds between checks of the rules where the kernel does not tell of changes.
  public var iptablesResync = 5
  /// Accept forwarded traffic of the pod network.
  public var iptablesForwardRules = true
  /// Keep a black-hole route for the node's own subnet.
  public var blackholeRoute = false
  /// Network configuration in Kubernetes mode.
  public var networkConfigPath = "/etc/kube-flannel/net-conf.json"
  /// Clear the node's NetworkUnavailable condition when ready.
  public var setNodeNetworkUnavailable = true
  /// Log verbosity as text, a 32-bit integer.
  public var verbosity = "0"
  /// klog pattern=N list.
  public var verbosityByModule = ""
  /// Accepted for compatibility, has no effect.
  public var logBacktraceAt = ""
  /// Directory with `config` and one file per lease: the registry for nodes on one machine.
  public var registryDirectory = ""

  /// The defaults.
  public init() {}

  /// `verbosity` as a number.
  public var verbosityLevel: Int { Int(verbosity) ?? 0 }
}

extension AgentOptions {
  /// The flags, in the grammar of Go's `flag` package.
  public static let flags = GoFlags<AgentOptions>([
    .string("etcd-endpoints", \.etcdEndpoints, "comma separated list of etcd v3 end points (not in this version)"),
    .string("etcd-prefix", \.etcdPrefix, "prefix of all keys in etcd (not in this version)"),
    .string("etcd-keyfile", \.etcdKeyFile, "private key `file` for etcd over TLS (not in this version)"),
    .string("etcd-certfile", \.etcdCertificateFile, "certificate `file` for etcd over TLS (not in this version)"),
    .string(
      "etcd-cafile", \.etcdAuthorityFile,
      "`file` with the authorities etcd's certificate is checked against (not in this version)"),
    .string("etcd-username", \.etcdUsername, "user name for etcd (not in this version)"),
    .string("etcd-password", \.etcdPassword, "password for etcd (not in this version)"),
    .repeated(
      "iface", \.interfaces,
      "interface (name or IP `address`) for traffic between nodes; may be repeated, the first one that exists is used"),
    .repeated(
      "iface-regex", \.interfacePatterns,
      "regular `expression` for an IP address or the name of the interface, tried after all -iface; may be repeated"),
    .string(
      "iface-can-reach", \.interfaceCanReach,
      "use the interface the kernel would send to this IP `address` by, tried after -iface and -iface-regex"),
    .string("subnet-file", \.subnetFile, "`file` the node's subnet, MTU and masquerade setting are written to"),
    .string("public-ip", \.publicIP, "IPv4 `address` other nodes reach this one by"),
    .string("public-ipv6", \.publicIPv6, "IPv6 `address` other nodes reach this one by"),
    .int(
      "subnet-lease-renew-margin", \.subnetLeaseRenewMargin,
      "renew the lease this many `minutes` before it ends, 1 to 1439"),
    .bool(
      "ip-masq", \.ipMasquerade,
      "masquerade traffic that leaves the pod network"),
    .bool(
      "ip-masq-fully-random-disable", \.ipMasqueradeFullyRandomDisable,
      "do not ask for fully random source ports when masquerading"),
    .bool(
      "kube-subnet-mgr", \.kubeSubnetManager,
      "take subnets from the Kubernetes API instead of etcd"),
    .string(
      "kube-api-url", \.kubeAPIURL, "`URL` of the Kubernetes API, when not running in a pod"),
    .string("kube-annotation-prefix", \.kubeAnnotationPrefix, "prefix of the node annotations"),
    .string("kubeconfig-file", \.kubeconfigFile, "kubeconfig `file`, when not running in a pod"),
    .bool("version", \.version, "print the version and exit"),
    .string("healthz-ip", \.healthAddress, "IP `address` the health server listens on"),
    .int("healthz-port", \.healthPort, "`port` the health server listens on; 0 = no health server"),
    .int(
      "iptables-resync", \.iptablesResync, "`seconds` between checks of the packet filter rules"),
    .bool(
      "iptables-forward-rules", \.iptablesForwardRules,
      "accept forwarded traffic of the pod network"),
    .bool(
      "ip-blackhole-route", \.blackholeRoute, "keep a black-hole route for the node's own subnet"),
    .string(
      "net-config-path", \.networkConfigPath,
      "`file` with the network configuration (with -kube-subnet-mgr)"),
    .bool(
      "set-node-network-unavailable", \.setNodeNetworkUnavailable,
      "clear the node's NetworkUnavailable condition when the network is ready"),
    .string("v", \.verbosity, "log `level`: 2 and more also shows details", check: verbosityProblem),
    .string(
      "vmodule", \.verbosityByModule, "comma separated list of pattern=N for the log level of single files",
      typeName: "value"),
    .string("log_backtrace_at", \.logBacktraceAt, "accepted for compatibility, has no effect", typeName: "value"),
    .string(
      "registry-dir", \.registryDirectory,
      "`directory` that holds the network configuration and one file per lease: for nodes on one machine, instead of "
        + "etcd or Kubernetes"),
  ])

  /// klog reads `-v` with `strconv.ParseInt(text, 10, 32)` and passes its error on as it is.
  @Sendable private static func verbosityProblem(_ text: String) -> String? {
    decimalProblem(text, as: Int32.self).map { "strconv.ParseInt: parsing \(goQuoted(text)): \($0)" }
  }

  /// What Go says about a text that is no decimal number of the given width; nil when it is one.
  static func decimalProblem<Number: FixedWidthInteger>(_ text: String, as: Number.Type) -> String? {
    if Number(text) != nil { return nil }
    let digits = text.hasPrefix("-") || text.hasPrefix("+") ? text.dropFirst() : text[...]
    let isNumber = !digits.isEmpty && digits.utf8.allSatisfy { (0x30...0x39).contains($0) }
    return isNumber ? "value out of range" : "invalid syntax"
  }

  /// What the command line and the environment ask for.
  public enum Outcome: Hashable, Sendable {
    /// Run; `warnings` are bad values in the environment, to be logged.
    case run(AgentOptions, warnings: [String])
    /// Print the text on standard error and exit.
    case exit(code: Int32, text: String)
  }

  /// Reads the words after the program name, then the `FLANNELD_*` mirror for what was not given
  /// (contract flanneld §1.1, §1.2, §3 step 1, §19.1).
  /// - Parameters:
  ///   - environment: looks up a variable.
  ///   - programName: shown in the usage text.
  public static func parse(
    arguments: [String], environment: (String) -> String?, programName: String
  ) -> Outcome {
    var options = AgentOptions()
    let given: Set<String>
    switch flags.parse(arguments, into: &options) {
    case .parsed(let names): given = names
    case .help: return .exit(code: 0, text: flags.usage(program: programName, defaults: AgentOptions()))
    case .failure(let line):
      return .exit(code: 2, text: line + "\n" + flags.usage(program: programName, defaults: AgentOptions()))
    }
    if options.version { return .exit(code: 0, text: Version.text + "\n") }
    var warnings = flags.readEnvironment(prefix: "FLANNELD", given: given, into: &options, lookUp: environment)
    options.version = false  // only the command line asks for it
    guard (1...1439).contains(options.subnetLeaseRenewMargin) else {
      warnings.append(
        "invalid subnet-lease-renew-margin \(options.subnetLeaseRenewMargin): expected 1 to 1439 minutes")
      return .exit(code: 1, text: warnings.map { $0 + "\n" }.joined())
    }
    return .run(options, warnings: warnings)
  }

  /// Every option as `name=value`, for the log; the password is not shown.
  public var summary: String {
    Self.flags.flags.map { flag in
      let hidden = flag.name == "etcd-password" && !etcdPassword.isEmpty
      return flag.name + "=" + (hidden ? "\"***\"" : flag.show(self))
    }.joined(separator: " ")
  }
}
