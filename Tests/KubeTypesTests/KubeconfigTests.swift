import JSON
import KubeTypes
import Syscalls
import TestSupport
import Testing

private let kubeadm = """
  apiVersion: v1
  kind: Config
  clusters:
  - cluster:
      certificate-authority-data: Y2EtcGVt
      server: https://10.0.0.1:6443
    name: kubernetes
  - name: other
    cluster: {server: "https://[fd00::1]", insecure-skip-tls-verify: true, tls-server-name: api.example.org}
  contexts:
  - context: {cluster: kubernetes, user: admin, namespace: kube-flannel}
    name: admin@kubernetes
  - context:
      cluster: other
      user: token
    name: other
  - {name: broken, context: {cluster: nowhere, user: admin}}
  - {name: stranger, context: {cluster: other, user: nobody}}
  - {name: anonymous, context: {cluster: other}}
  current-context: admin@kubernetes
  preferences: {}
  users:
  - name: admin
    user:
      client-certificate-data: Y2VydA==
      client-key-data: |
        a2V5
  - name: token
    user:
      token: abc
  """

private func access(_ text: String, file: String = "/etc/kube/config") throws(AccessError) -> ClusterAccess {
  try Kubeconfig(parsing: Array(text.utf8), file: file).access()
}

private func replacing(_ old: String, _ new: String, in text: String = kubeadm) -> String {
  var out = ""
  var rest = Substring(text)
  while !rest.isEmpty {
    if rest.hasPrefix(old) {
      out += new
      rest = rest.dropFirst(old.count)
    } else {
      out.append(rest.removeFirst())
    }
  }
  return out
}

private func message(_ text: String) -> String {
  do {
    _ = try access(text)
    return "no error"
  } catch { return error.description }
}

@Suite struct KubeconfigTests {
  @Test func currentContext() throws {
    let access = try access(kubeadm)
    #expect(access.server.description == "https://10.0.0.1:6443")
    #expect(try access.trust == .authorities(.inline(Array("ca-pem".utf8), place: access.caPlace)))
    #expect(try access.identity.certificate?.read() == Array("cert".utf8))
    #expect(try access.identity.key?.read() == Array("key".utf8))
    #expect(access.namespace == "kube-flannel")
    #expect(access.identity.token == nil)
  }

  @Test func otherContext() throws {
    let access = try access(replacing("current-context: admin@kubernetes", "current-context: other"))
    #expect(access.server == ServerURL(isEncrypted: true, host: "fd00::1", port: 443))
    #expect(access.trust == .anybody)
    #expect(access.serverName == "api.example.org")
    #expect(access.identity.token == "abc")
    #expect(access.namespace == "default")
  }

  @Test func nobody() throws {
    let access = try access(replacing("current-context: admin@kubernetes", "current-context: anonymous"))
    #expect(access.identity == ClusterAccess.Identity())
  }

  @Test func jsonIsYAML() throws {
    let value = try YAML.parse(Array(kubeadm.utf8))
    #expect(try access(value.text()) == access(kubeadm))
  }

  @Test func pathsAreRelativeToTheFile() throws {
    let text = """
      current-context: c
      contexts: [{name: c, context: {cluster: k, user: u}}]
      clusters: [{name: k, cluster: {server: "https://h:1/", certificate-authority: pki/ca.crt}}]
      users: [{name: u, user: {tokenFile: /abs/token, client-certificate: c.crt, client-key: c.key}}]
      """
    let access = try access(text)
    #expect(access.trust == .authorities(.file("/etc/kube/pki/ca.crt")))
    #expect(access.identity.tokenFile == "/abs/token")
    #expect(access.identity.certificate == .file("/etc/kube/c.crt"))
    #expect(access.identity.key == .file("/etc/kube/c.key"))
  }

  @Test func errorsNameFileKeyAndValue() {
    let place = "/etc/kube/config: "
    func broken(_ old: String, _ new: String) -> String { message(replacing(old, new)) }
    let current = "current-context: admin@kubernetes"
    #expect(
      broken(current, "") == place + "current-context: it is not set; set it with: kubectl config use-context NAME")
    #expect(
      broken(current, "current-context: x") == place
        + "current-context: \"x\" is not in contexts; there are: admin@kubernetes, other, broken, stranger, anonymous")
    #expect(
      broken(current, "current-context: broken") == place
        + "contexts[2].context.cluster: \"nowhere\" is not in clusters; there are: kubernetes, other")
    #expect(
      broken(current, "current-context: stranger") == place
        + "contexts[3].context.user: \"nobody\" is not in users; there are: admin, token")
    #expect(broken("Y2EtcGVt", "'***'") == place + "clusters[0].cluster.certificate-authority-data: it is not base 64")
    #expect(
      broken("https://10.0.0.1:6443", "https://10.0.0.1:70000") == place
        + "clusters[0].cluster.server: \"https://10.0.0.1:70000\": 70000 is not a port, expected 1 to 65535")
    #expect(
      broken("certificate-authority-data: Y2EtcGVt", "insecure-skip-tls-verify: 7") == place
        + "clusters[0].cluster.insecure-skip-tls-verify: expected true or false, found string")
    #expect(
      broken("client-certificate-data: Y2VydA==", "x: y") == place
        + "users[0].user.client-certificate: it is missing: a certificate is of no use without its key, nor a key without its certificate"
    )
    #expect(message("[a, b]") == place + "expected a kubeconfig with clusters, users and contexts, found array")
    #expect(message("a: [").hasPrefix(place + "line "))
    #expect(message("contexts: x\ncurrent-context: y") == place + "contexts: expected a list, found string")
    #expect(
      broken("    token: abc", "    username: u") == "no error")
    #expect(
      message(replacing("    token: abc", "    username: u", in: replacing(current, "current-context: other")))
        == place + "users[1].user.username: API servers have not taken passwords since 1.19; use a token")
  }

  @Test func execPlugin() throws {
    let text = """
      current-context: c
      contexts: [{name: c, context: {cluster: k, user: u}}]
      clusters: [{name: k, cluster: {server: "https://h:1", certificate-authority-data: Y2E=}}]
      users:
      - name: u
        user:
          exec:
            apiVersion: client.authentication.k8s.io/v1
            command: ./bin/login
            args: ["get-token", "true", x]
            env:
            - {name: REGION, value: eu}
            provideClusterInfo: true
            installHint: get it from example.org
            interactiveMode: Never
      """
    let access = try access(text)
    let plugin = try #require(access.identity.exec)
    #expect(plugin.command == "/etc/kube/./bin/login")
    #expect(plugin.arguments == ["get-token", "true", "x"])
    #expect(plugin.environment == ["REGION=eu"])
    let info = try JSONValue(parsing: plugin.info(access))
    let cluster = info.objectValue?["spec"]?.objectValue?["cluster"]?.objectValue
    #expect(cluster?["server"] == "https://h:1")
    #expect(cluster?["certificate-authority-data"] == "Y2E=")
    #expect(
      message(replacing("k8s.io/v1", "k8s.io/v1alpha1", in: text))
        == "/etc/kube/config: users[0].user.exec.apiVersion: \"client.authentication.k8s.io/v1alpha1\", expected "
        + "client.authentication.k8s.io/v1 or client.authentication.k8s.io/v1beta1")
  }

  @Test func execCredentials() throws {
    let text = """
      current-context: c
      contexts: [{name: c, context: {cluster: k, user: u}}]
      clusters: [{name: k, cluster: {server: "https://h:1"}}]
      users: [{name: u, user: {exec: {apiVersion: client.authentication.k8s.io/v1beta1, command: login}}}]
      """
    let plugin = try #require(try access(text).identity.exec)
    func parse(_ json: String) throws(AccessError) -> ExecCredential {
      try ExecCredential(parsing: Array(json.utf8), plugin: plugin)
    }
    let head = #""kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1beta1""#
    let good = try parse("{\(head),\"status\":{\"token\":\"t\",\"expirationTimestamp\":\"2026-01-02T03:04:05Z\"}}")
    #expect(good.token == "t")
    #expect(good.expiration == 1_767_323_045)
    for bad in [
      "", "{}", "{\(head)}", "{\(head),\"status\":{}}", "{\(head),\"status\":{\"clientKeyData\":\"k\"}}",
      "{\(head),\"status\":{\"token\":\"t\",\"expirationTimestamp\":\"soon\"}}",
      #"{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"token":"t"}}"#,
    ] {
      #expect(throws: AccessError.self) { try parse(bad) }
    }
  }

  @Test func hostileYAML() {
    let deep = String(repeating: "[", count: 100_000)
    let bombs = [
      "a: &a [x]\nb: *a", deep, "{", "a: b: c", "- - -\n\t- x", "%YAML 9.9\n---\n", "\u{0}", "? [a]\n: b", "!!",
    ]
    for text in bombs { #expect(throws: YAMLError.self, "\(text.prefix(20))") { try YAML.parse(Array(text.utf8)) } }
    #expect(throws: YAMLError.self) { try YAML.parse([0xff, 0xfe, 0xfd]) }
    #expect((try? YAML.parse([])) == .null)
    #expect((try? YAML.parse(Array("# nothing\n".utf8))) == .null)
  }

  @Test func yamlScalars() throws {
    let text = "a: true\nb: 'true'\nc: 12\nd:\ne: ~\nf: |\n  x\n  y\ng: [1, {h: i}]\n"
    let expected: JSONValue = [
      "a": true, "b": "true", "c": "12", "d": .null, "e": .null, "f": "x\ny\n", "g": ["1", ["h": "i"]],
    ]
    #expect(try YAML.parse(Array(text.utf8)) == expected)
  }
}

extension ClusterAccess {
  fileprivate var caPlace: String {
    if case .authorities(let source) = trust { source.place } else { "" }
  }
}

@Suite struct ClusterAccessTests {
  @Test func inCluster() throws {
    let directory = try TemporaryDirectory("sa")
    try directory.write("kube-flannel\n", to: "namespace")
    let variables = ["KUBERNETES_SERVICE_HOST": "fd00::a", "KUBERNETES_SERVICE_PORT": "443"]
    let access = try ClusterAccess.inCluster(environment: { variables[$0] }, directory: directory.path)
    #expect(access.server.description == "https://[fd00::a]")
    #expect(access.namespace == "kube-flannel")
    #expect(access.identity.tokenFile == directory.file("token"))
    #expect(access.trust == .authorities(.file(directory.file("ca.crt"))))
  }

  @Test func notInACluster() {
    #expect {
      try ClusterAccess.find(apiURL: "", kubeconfig: "", environment: { _ in nil })
    } throws: {
      "\($0)"
        == "environment: KUBERNETES_SERVICE_HOST: it is not set, so this is no pod of Kubernetes; give --kubeconfig-file or --kube-api-url"
    }
    #expect {
      try ClusterAccess.inCluster(environment: { $0 == "KUBERNETES_SERVICE_HOST" ? "h" : "x" })
    } throws: {
      "\($0)" == "environment: KUBERNETES_SERVICE_PORT: \"x\" is not a port, expected 1 to 65535"
    }
  }

  @Test func optionsComeFirst() throws {
    let directory = try TemporaryDirectory("kc")
    let file = try directory.write(kubeadm, to: "config")
    let both = try ClusterAccess.find(apiURL: "http://127.0.0.1:8080", kubeconfig: file)
    #expect(both.server == ServerURL(isEncrypted: false, host: "127.0.0.1", port: 8080))
    #expect(both.identity.certificate != nil)
    let url = try ClusterAccess.find(apiURL: "https://api:6443/prefix/", kubeconfig: "")
    #expect(url == ClusterAccess(server: ServerURL(isEncrypted: true, host: "api", port: 6443, path: "/prefix")))
    #expect {
      try ClusterAccess.find(apiURL: "", kubeconfig: "/nonexistent")
    } throws: {
      "\($0)" == "--kubeconfig-file: open /nonexistent: no such file or directory"
    }
  }

  @Test(arguments: [
    "ftp://x", "https://", "https://u@h", "https://h:x", "https://h:0", "https://fd00::1:443", "https://[fd00::1",
    "https://h?q",
    "https://h h", "https://[fd00::1]x",
  ]) func badURLs(_ text: String) {
    #expect(throws: ServerURLError.self) { try ServerURL(parsing: text) }
  }

  @Test func timestamps() {
    for (text, seconds) in [
      ("1970-01-01T00:00:00Z", 0), ("2000-02-29T23:59:59Z", 951_868_799), ("2026-11-26T03:00:20+01:00", 1_795_658_420),
      ("2026-01-02T03:04:05.123456Z", 1_767_323_045), ("1969-12-31T23:59:59Z", -1),
    ] as [(String, Int64)] { #expect(Timestamp.seconds(parsing: text) == seconds, "\(text)") }
    for text in [
      "", "2026-01-02", "2026-13-02T03:04:05Z", "2026-01-02T03:04:05", "2026-01-02T03:04:05.Z", "x026-01-02T03:04:05Z",
    ] {
      #expect(Timestamp.seconds(parsing: text) == nil)
    }
    for seconds: Int64 in [0, -1, 951_868_799, 1_795_658_420, 4_102_444_800] {
      #expect(Timestamp.seconds(parsing: Timestamp.text(seconds)) == seconds)
    }
    #expect(Timestamp.text(1_767_323_045) == "2026-01-02T03:04:05Z")
  }

  @Test func base64() {
    for n in 0..<50 {
      let bytes = (0..<n).map { UInt8(truncatingIfNeeded: $0 &* 37) }
      #expect(Base64.decode(Base64.encode(bytes)) == bytes)
    }
    #expect(Base64.encode(Array("any carnal pleas".utf8)) == "YW55IGNhcm5hbCBwbGVhcw==")
    for text in ["A", "A===", "AA=A", "AAA*", "====", "AA="] { #expect(Base64.decode(text) == nil, "\(text)") }
  }

  @Test func pathsAreEscaped() {
    let action = KubeAction("patch", KubeNode.resource, subresource: "status", name: "a/../b?x")
    #expect(action.path == "/api/v1/nodes/a%2F..%2Fb%3Fx/status")
    #expect(KubeAction("get", KubePod.resource, namespace: "ns", name: "p").path == "/api/v1/namespaces/ns/pods/p")
  }

  @Test func refusalsNameTheRule() {
    let error = KubeError(
      KubeAction("patch", KubeNode.resource, subresource: "status", name: "n"), server: "https://h",
      .refused(KubeStatus(code: 403, reason: "Forbidden", message: "nodes \"n\" is forbidden")))
    #expect(
      error.description
        == "cannot patch nodes/status n: nodes \"n\" is forbidden; needed in the ClusterRole: apiGroups [\"\"], resources [\"nodes/status\"], verbs [\"patch\"]"
    )
  }
}
