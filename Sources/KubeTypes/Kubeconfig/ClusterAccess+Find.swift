import Syscalls

extension ClusterAccess {
  /// Where Kubernetes puts a pod's credentials.
  public static let serviceAccountDirectory = "/var/run/secrets/kubernetes.io/serviceaccount"

  /// The access that the options ask for: a kubeconfig, whose server `apiURL` replaces; `apiURL` alone, as nobody; else
  /// what Kubernetes gives each pod (contract flanneld §3 step 2).
  /// - Parameters:
  ///   - apiURL: the value of `--kube-api-url`, or empty.
  ///   - kubeconfig: the value of `--kubeconfig-file`, or empty.
  public static func find(
    apiURL: String, kubeconfig: String, environment: (String) -> String? = Environment.get
  ) throws(AccessError) -> ClusterAccess {
    let server = apiURL.isEmpty ? nil : try parse(apiURL, "--kube-api-url", "")
    if !kubeconfig.isEmpty {
      let text: [UInt8]
      do { text = try Files.read(kubeconfig, limit: 4 << 20) } catch {
        throw AccessError("--kubeconfig-file", "", "\(error)")
      }
      var access = try Kubeconfig(parsing: text, file: kubeconfig).access(server: server)
      if let server { access.server = server }
      return access
    }
    if let server { return ClusterAccess(server: server) }
    return try inCluster(environment: environment)
  }

  /// What Kubernetes gives each pod.
  public static func inCluster(
    environment: (String) -> String? = Environment.get, directory: String = serviceAccountDirectory
  ) throws(AccessError) -> ClusterAccess {
    func variable(_ name: String) throws(AccessError) -> String {
      guard let value = environment(name), !value.isEmpty else {
        throw AccessError(
          "environment", name,
          "it is not set, so this is no pod of Kubernetes; give --kubeconfig-file or --kube-api-url")
      }
      return value
    }
    let host = try variable("KUBERNETES_SERVICE_HOST")
    let text = try variable("KUBERNETES_SERVICE_PORT")
    guard let port = Int(text), (1...65535).contains(port) else {
      throw AccessError("environment", "KUBERNETES_SERVICE_PORT", "\"\(text)\" is not a port, expected 1 to 65535")
    }
    var identity = Identity()
    identity.tokenFile = "\(directory)/token"
    let namespace = (try? Files.text("\(directory)/namespace"))?.trimmed ?? ""
    return ClusterAccess(
      server: ServerURL(isEncrypted: true, host: host, port: port), trust: .authorities(.file("\(directory)/ca.crt")),
      identity: identity, namespace: namespace.isEmpty ? "default" : namespace)
  }

  static func parse(_ url: String, _ place: String, _ key: String) throws(AccessError) -> ServerURL {
    do { return try ServerURL(parsing: url) } catch { throw AccessError(place, key, "\"\(url)\": \(error.reason)") }
  }
}

extension StringProtocol {
  /// Without white space at both ends.
  var trimmed: String {
    var text = Substring(self)
    while text.utf8.first.map({ $0 <= 0x20 }) == true { text = text.dropFirst() }
    while text.utf8.last.map({ $0 <= 0x20 }) == true { text = text.dropLast() }
    return String(text)
  }
}
