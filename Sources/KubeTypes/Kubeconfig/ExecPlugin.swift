import JSON
import NetTypes
import Syscalls

/// A program that gives us credentials (k8s.io/client-go `pkg/apis/clientauthentication`).
public struct ExecPlugin: Hashable, Sendable {
  /// The kubeconfig it is named in.
  public var file: String
  /// `client.authentication.k8s.io/v1` or `…/v1beta1`
  public var apiVersion: String
  /// A name to look up in PATH, or a path.
  public var command: String
  /// Its arguments.
  public var arguments: [String]
  /// Added to our environment, as `NAME=value`.
  public var environment: [String]
  /// Whether it wants to know the cluster.
  public var providesClusterInfo: Bool
  /// What to tell the operator when it is not there.
  public var installHint: String

  static let versions = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"]

  init(_ map: KubeconfigMap, file: String) throws(AccessError) {
    self.file = file
    apiVersion = try map.text("apiVersion") ?? ""
    guard Self.versions.contains(apiVersion) else {
      throw AccessError(
        file, map.key("apiVersion"), "\"\(apiVersion)\", expected \(Self.versions.joined(separator: " or "))")
    }
    let command = try map.text("command") ?? ""
    guard !command.isEmpty else { throw AccessError(file, map.key("command"), "it is not set") }
    let hasSlash = command.utf8.contains(UInt8(ascii: "/"))
    self.command = hasSlash ? map.absolute(command) : command
    arguments = try map.texts("args")
    var environment: [String] = []
    for entry in try map.maps("env") {
      environment.append("\(try entry.text("name") ?? "")=\(try entry.text("value") ?? "")")
    }
    self.environment = environment
    providesClusterInfo = try map.truth("provideClusterInfo")
    installHint = try map.text("installHint") ?? ""
  }

  /// The value of `KUBERNETES_EXEC_INFO`.
  public func info(_ access: ClusterAccess) -> String {
    var spec: JSONObject = JSONObject([("interactive", false)])
    if providesClusterInfo {
      var cluster: JSONObject = JSONObject([("server", .string(access.server.description))])
      if let name = access.serverName { cluster["tls-server-name"] = .string(name) }
      if access.trust == .anybody { cluster["insecure-skip-tls-verify"] = true }
      if case .authorities(let source) = access.trust, let bytes = try? source.read() {
        cluster["certificate-authority-data"] = .string(Base64.encode(bytes))
      }
      spec["cluster"] = .object(cluster)
    }
    let info: JSONValue = [
      "apiVersion": .string(apiVersion), "kind": "ExecCredential", "spec": .object(spec),
    ]
    return info.text()
  }
}

/// What such a program printed.
public struct ExecCredential: Hashable, Sendable {
  /// A bearer token.
  public var token: String?
  /// PEM of a certificate and its key.
  public var certificate: [UInt8]?
  /// PEM of the key.
  public var key: [UInt8]?
  /// Seconds since the epoch; nil = until the API server refuses it.
  public var expiration: Int64?

  /// Parses the program's output.
  public init(parsing output: [UInt8], plugin: ExecPlugin) throws(AccessError) {
    func fail(_ key: String, _ reason: String) -> AccessError {
      AccessError(plugin.file, "exec \(plugin.command)", "its output: \(key.isEmpty ? "" : key + ": ")\(reason)")
    }
    let value: JSONValue
    do { value = try JSONValue(parsing: output) } catch { throw fail("", "\(error)") }
    guard let root = value.objectValue, root["kind"] == "ExecCredential" else {
      throw fail("kind", "expected an ExecCredential")
    }
    guard root["apiVersion"]?.stringValue == plugin.apiVersion else {
      throw fail(
        "apiVersion", "expected \(plugin.apiVersion), found \(root["apiVersion"]?.stringValue ?? "nothing")")
    }
    guard let status = root["status"]?.objectValue else { throw fail("status", "it is missing") }
    token = status["token"]?.stringValue.flatMap { $0.isEmpty ? nil : $0 }
    certificate = status["clientCertificateData"]?.stringValue.map { Array($0.utf8) }
    key = status["clientKeyData"]?.stringValue.map { Array($0.utf8) }
    guard token != nil || certificate != nil else { throw fail("status", "there is neither a token nor a certificate") }
    guard (certificate == nil) == (key == nil) else {
      throw fail("status", "clientCertificateData and clientKeyData belong together")
    }
    if let text = status["expirationTimestamp"]?.stringValue {
      guard let time = Timestamp.seconds(parsing: text) else {
        throw fail("status.expirationTimestamp", "\"\(text)\", expected a time such as 2026-01-02T03:04:05Z")
      }
      expiration = time
    }
  }
}
