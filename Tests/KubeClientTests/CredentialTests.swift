import JSON
import KubeClient
import KubeSupport
import KubeTypes
import Syscalls
import TestSupport
import Testing

/// Who we are and whom we believe.
@Suite struct CredentialTests {
  private func read(_ access: ClusterAccess) throws -> KubeNode {
    let client = KubeClient(access)
    defer { client.stop() }
    return try client.get(name: "node-1", timeout: 10 * second)
  }

  private func failure(_ access: ClusterAccess) -> String {
    do {
      _ = try read(access)
      return "no error"
    } catch { return "\(error)" }
  }

  @Test func aTokenIsReadAgain() throws {
    let cluster = try Cluster()
    let _: KubeNode = try cluster.client.get(name: "node-1", timeout: 10 * second)
    cluster.server.accept(tokens: ["next"])
    #expect {
      let _: KubeNode = try cluster.client.get(name: "node-1", timeout: 10 * second)
    } throws: {
      "\($0)"
        == "cannot get nodes node-1: \(cluster.server.url) does not accept our credentials (401): is the token expired, or of another cluster?"
    }
    try cluster.directory.write("next", to: "token")
    let _: KubeNode = try cluster.client.get(name: "node-1", timeout: 10 * second)
  }

  @Test func aMissingTokenIsNamed() throws {
    let cluster = try Cluster()
    try Files.remove(cluster.directory.file("token"))
    #expect(
      failure(try Cluster.access(cluster.server, cluster.directory))
        == "cannot get nodes node-1: no credentials for \(cluster.server.url): token file: open \(cluster.directory.file("token")): no such file or directory"
    )
  }

  @Test func theWrongAuthority() throws {
    let cluster = try Cluster()
    let others = try TestCertificates()
    var access = try Cluster.access(cluster.server, cluster.directory)
    access.trust = .authorities(.file(others.authority))
    let text = failure(access)
    #expect(text.hasPrefix("cannot get nodes node-1: \(cluster.server.url): its certificate is not signed by"))
    #expect(cluster.server.requests.isEmpty)
    access.trust = .anybody
    #expect(try read(access).name == "node-1")
    access.trust = .authorities(.file("/nonexistent/ca.crt"))
    #expect(failure(access).hasSuffix("/nonexistent/ca.crt: open /nonexistent/ca.crt: no such file or directory"))
    access.trust = .authorities(.inline(Array("no PEM".utf8), place: "config: ca"))
    #expect(failure(access).hasSuffix("config: ca: expected certificates in PEM"))
  }

  @Test func anExpiredCertificate() throws {
    let certificates = try TestCertificates(days: -1)
    let server = try KubeAPIServer(certificates: certificates)
    defer { server.stop() }
    let access = ClusterAccess(
      server: try ServerURL(parsing: server.url), trust: .authorities(.file(certificates.authority)))
    #expect(
      failure(access).hasPrefix(
        "cannot get nodes node-1: \(server.url): its certificate is not signed by the authorities we have, or not valid now; compare the CA, and the clock, which says 20"
      ))
  }

  @Test func theNameOfTheServer() throws {
    let certificates = try TestCertificates(names: ["DNS:api.example.org"])
    let server = try KubeAPIServer(certificates: certificates)
    defer { server.stop() }
    server.put(Cluster.node(1))
    var access = ClusterAccess(
      server: try ServerURL(parsing: server.url), trust: .authorities(.file(certificates.authority)))
    #expect(failure(access).hasPrefix("cannot get nodes node-1: \(server.url): its certificate is for other names"))
    access.serverName = "api.example.org"
    #expect(try read(access).name == "node-1")
    access.serverName = "other.example.org"
    #expect(failure(access).hasPrefix("cannot get nodes node-1: \(server.url): its certificate is for other names"))
  }

  @Test func namesAreLookedUp() throws {
    let cluster = try Cluster()
    var access = try Cluster.access(cluster.server, cluster.directory)
    access.server.host = "localhost"
    #expect(try read(access).name == "node-1")
    access.server.host = "host.invalid"
    #expect(failure(access).hasSuffix("the name host.invalid has no address"))
  }

  @Test func clientCertificates() throws {
    let certificates = try TestCertificates()
    let server = try KubeAPIServer(certificates: certificates, wantsClientCertificate: true)
    defer { server.stop() }
    server.put(Cluster.node(1))
    var access = ClusterAccess(
      server: try ServerURL(parsing: server.url), trust: .authorities(.file(certificates.authority)))
    #expect(failure(access).hasPrefix("cannot get nodes node-1: \(server.url): "))
    access.identity.certificate = .file(certificates.client)
    access.identity.key = .file(certificates.clientKey)
    #expect(try read(access).name == "node-1")
    access.identity.key = .file(certificates.client)
    #expect(failure(access).hasSuffix("\(certificates.client): expected an unencrypted private key in PEM"))
  }

  @Test func withoutEncryption() throws {
    let server = try KubeAPIServer()
    defer { server.stop() }
    server.put(Cluster.node(1))
    #expect(try read(ClusterAccess.find(apiURL: server.url, kubeconfig: "")).name == "node-1")
    var access = ClusterAccess(server: try ServerURL(parsing: server.url))
    access.server.isEncrypted = true
    #expect(
      failure(access).hasPrefix("cannot get nodes node-1: https://127.0.0.1:\(server.port): it does not speak TLS"))
  }

  @Test func execPlugins() throws {
    let cluster = try Cluster()
    cluster.server.accept(tokens: ["one", "two"])
    let certificates = try Cluster.certificates.get()
    // Gives another token each time it is asked, and leaves what it was told.
    let script = """
      #!/bin/sh
      echo "$KUBERNETES_EXEC_INFO" >>"$LOG"
      token=one; [ -e "$LOG.again" ] && token=two; : >"$LOG.again"
      echo "{\\"kind\\":\\"ExecCredential\\",\\"apiVersion\\":\\"client.authentication.k8s.io/v1\\",\\"status\\":{\\"token\\":\\"$token\\"}}"
      """
    try cluster.directory.write(script, to: "login", mode: 0o755)
    let log = cluster.directory.file("log")
    let config = """
      current-context: c
      contexts: [{name: c, context: {cluster: k, user: u}}]
      clusters: [{name: k, cluster: {server: "\(cluster.server.url)", certificate-authority: "\(certificates.authority)"}}]
      users: [{name: u, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: ./login,
        env: [{name: LOG, value: "\(log)"}], provideClusterInfo: true}}}]
      """
    let file = try cluster.directory.write(config, to: "config")
    let client = KubeClient(try ClusterAccess.find(apiURL: "", kubeconfig: file))
    defer { client.stop() }
    for _ in 0..<2 {
      let _: KubeNode = try client.get(name: "node-1", timeout: 10 * second)
    }
    // It was asked once, and is asked again when its token is refused.
    #expect(try Files.text(log).split(separator: "\n").count == 1)
    cluster.server.accept(tokens: ["two"])
    #expect(throws: KubeError.self) {
      let _: KubeNode = try client.get(name: "node-1", timeout: 10 * second)
    }
    let _: KubeNode = try client.get(name: "node-1", timeout: 10 * second)
    let info = try JSONValue(parsing: String(try Files.text(log).split(separator: "\n")[0]))
    #expect(info[path: ["spec", "cluster", "server"]]?.stringValue == cluster.server.url)
  }

  @Test func anExecPluginThatFails() throws {
    let cluster = try Cluster()
    try cluster.directory.write("#!/bin/sh\necho 'log in first' >&2\nexit 3\n", to: "login", mode: 0o755)
    let config = """
      current-context: c
      contexts: [{name: c, context: {cluster: k, user: u}}]
      clusters: [{name: k, cluster: {server: "\(cluster.server.url)", insecure-skip-tls-verify: true}}]
      users: [{name: u, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: ./login}}}]
      """
    let file = try cluster.directory.write(config, to: "config")
    let access = try ClusterAccess.find(apiURL: "", kubeconfig: file)
    let text = failure(access)
    #expect(text.hasSuffix("\(file): exec: \(cluster.directory.path)/./login: exit status 3: log in first"), "\(text)")
    var missing = access
    missing.identity.exec?.command = "no-such-program"
    missing.identity.exec?.installHint = "get it from example.org"
    #expect(failure(missing).hasSuffix("exec: no-such-program: not found in PATH; get it from example.org"))
  }
}
