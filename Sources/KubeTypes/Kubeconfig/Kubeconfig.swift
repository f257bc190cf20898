import JSON
import Syscalls

/// A kubeconfig: clusters, users, and contexts that name one of each
/// (k8s.io/client-go `tools/clientcmd/api/v1/types.go`).
public struct Kubeconfig {
  private let file: String
  private let root: KubeconfigMap

  /// Parses the text of a kubeconfig, YAML or JSON.
  /// - Parameter file: its path: paths inside are relative to its directory.
  public init(parsing text: [UInt8], file: String) throws(AccessError) {
    self.file = file
    let value: JSONValue
    do { value = try YAML.parse(text) } catch { throw AccessError(file, "", error.description) }
    guard let object = value.objectValue else {
      throw AccessError(file, "", "expected a kubeconfig with clusters, users and contexts, found \(value.kind)")
    }
    root = KubeconfigMap(file: file, path: "", object: object)
  }

  /// The access of the current context.
  /// - Parameter server: used where the file names none.
  public func access(server: ServerURL? = nil) throws(AccessError) -> ClusterAccess {
    let current = try root.text("current-context") ?? ""
    guard !current.isEmpty else {
      throw AccessError(file, "current-context", "it is not set; set it with: kubectl config use-context NAME")
    }
    let context = try entry("contexts", "context", named: current, by: "current-context")
    let clusterName = try context.text("cluster") ?? ""
    let cluster = try entry("clusters", "cluster", named: clusterName, by: context.key("cluster"))
    var access = ClusterAccess(server: try self.server(cluster, server), trust: try trust(cluster))
    access.serverName = try cluster.text("tls-server-name").flatMap { $0.isEmpty ? nil : $0 }
    if let namespace = try context.text("namespace"), !namespace.isEmpty { access.namespace = namespace }
    if let proxy = try cluster.text("proxy-url"), !proxy.isEmpty {
      throw AccessError(file, cluster.key("proxy-url"), "\"\(proxy)\": proxies are not supported; remove it")
    }
    if let user = try context.text("user"), !user.isEmpty {
      access.identity = try identity(entry("users", "user", named: user, by: context.key("user")))
    }
    return access
  }

  private func server(_ cluster: KubeconfigMap, _ fallback: ServerURL?) throws(AccessError) -> ServerURL {
    if let text = try cluster.text("server"), !text.isEmpty {
      return try ClusterAccess.parse(text, file, cluster.key("server"))
    }
    guard let fallback else { throw AccessError(file, cluster.key("server"), "it is not set") }
    return fallback
  }

  private func trust(_ cluster: KubeconfigMap) throws(AccessError) -> ClusterAccess.Trust {
    let authorities = try cluster.pem("certificate-authority")
    guard try cluster.truth("insecure-skip-tls-verify") else { return authorities.map { .authorities($0) } ?? .system }
    guard authorities == nil else {
      throw AccessError(
        file, cluster.key("insecure-skip-tls-verify"), "it cannot be true while there is a certificate-authority")
    }
    return .anybody
  }

  private func identity(_ user: KubeconfigMap) throws(AccessError) -> ClusterAccess.Identity {
    for (key, advice) in [
      ("auth-provider", "Kubernetes 1.26 has removed it; use exec"),
      ("username", "API servers have not taken passwords since 1.19; use a token"),
      ("as", "acting as somebody else is not supported; use that user's own credentials"),
    ] where user.has(key) {
      throw AccessError(file, user.key(key), advice)
    }
    var out = ClusterAccess.Identity()
    out.token = try user.text("token").flatMap { $0.isEmpty ? nil : $0 }
    out.tokenFile = try user.text("tokenFile").flatMap { $0.isEmpty ? nil : user.absolute($0) }
    out.certificate = try user.pem("client-certificate")
    out.key = try user.pem("client-key")
    guard (out.certificate == nil) == (out.key == nil) else {
      throw AccessError(
        file, user.key(out.key == nil ? "client-key" : "client-certificate"),
        "it is missing: a certificate is of no use without its key, nor a key without its certificate")
    }
    if let exec = try user.map("exec") { out.exec = try ExecPlugin(exec, file: file) }
    return out
  }

  /// The entry of a list whose `name` is the given one.
  private func entry(
    _ list: String, _ key: String, named name: String, by origin: String
  ) throws(AccessError) -> KubeconfigMap {
    var names: [String] = []
    for item in try root.maps(list) {
      let found = try item.text("name") ?? ""
      if found == name, let value = try item.map(key) { return value }
      names.append(found)
    }
    let known = names.isEmpty ? "there are none" : "there are: \(names.joined(separator: ", "))"
    throw AccessError(file, origin, "\"\(name)\" is not in \(list); \(known)")
  }
}

/// A mapping of a kubeconfig that knows where it stands.
struct KubeconfigMap {
  let file: String
  let path: String
  let object: JSONObject

  func key(_ name: String) -> String { path.isEmpty ? name : "\(path).\(name)" }

  func has(_ name: String) -> Bool { value(name) != nil }

  private func value(_ name: String) -> JSONValue? { object[name].flatMap { $0.isNull ? nil : $0 } }

  private func unexpected(_ name: String, _ expected: String, _ found: JSONValue) -> AccessError {
    AccessError(file, key(name), "expected \(expected), found \(found.kind)")
  }

  func text(_ name: String) throws(AccessError) -> String? {
    guard let value = value(name) else { return nil }
    // A plain true is read as a truth value, but may be somebody's name.
    if let truth = value.boolValue { return truth ? "true" : "false" }
    guard let text = value.stringValue else { throw unexpected(name, "a string", value) }
    return text
  }

  func truth(_ name: String) throws(AccessError) -> Bool {
    guard let value = value(name) else { return false }
    guard let truth = value.boolValue else { throw unexpected(name, "true or false", value) }
    return truth
  }

  func map(_ name: String) throws(AccessError) -> KubeconfigMap? {
    guard let value = value(name) else { return nil }
    guard let object = value.objectValue else { throw unexpected(name, "a mapping", value) }
    return KubeconfigMap(file: file, path: key(name), object: object)
  }

  func maps(_ name: String) throws(AccessError) -> [KubeconfigMap] {
    guard let value = value(name) else { return [] }
    guard let array = value.arrayValue else { throw unexpected(name, "a list", value) }
    var out: [KubeconfigMap] = []
    for (i, item) in array.enumerated() {
      guard let object = item.objectValue else { throw unexpected("\(name)[\(i)]", "a mapping", item) }
      out.append(KubeconfigMap(file: file, path: key("\(name)[\(i)]"), object: object))
    }
    return out
  }

  func texts(_ name: String) throws(AccessError) -> [String] {
    guard let value = value(name) else { return [] }
    guard let array = value.arrayValue else { throw unexpected(name, "a list of strings", value) }
    var out: [String] = []
    for item in array {
      guard let text = item.stringValue ?? item.boolValue.map({ $0 ? "true" : "false" }) else {
        throw unexpected(name, "a list of strings", item)
      }
      out.append(text)
    }
    return out
  }

  /// `NAME-data` in base 64, which comes first, or the file `NAME`.
  func pem(_ name: String) throws(AccessError) -> PEMSource? {
    if let data = try text("\(name)-data"), !data.isEmpty {
      guard let bytes = Base64.decode(data) else {
        throw AccessError(file, key("\(name)-data"), "it is not base 64")
      }
      return .inline(bytes, place: "\(file): \(key("\(name)-data"))")
    }
    return try text(name).flatMap { $0.isEmpty ? nil : .file(absolute($0)) }
  }

  /// A path, taken from the directory of the file.
  func absolute(_ path: String) -> String {
    path.utf8.first == UInt8(ascii: "/") ? path : "\(Files.split(file).directory)/\(path)"
  }
}
