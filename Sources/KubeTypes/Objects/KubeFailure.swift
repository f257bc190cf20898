/// Why a request did not do what was asked.
public enum KubeFailure: Error, Hashable, Sendable {
  /// The API server said so, by its HTTP status or in an event of type `ERROR`.
  case refused(KubeStatus)
  /// No connection, or one that broke; says how.
  case connection(String)
  /// No byte for so many seconds.
  case silence(seconds: Int)
  /// The answer could not be read; says why.
  case malformed(String)
  /// There is nothing to identify ourselves with; says why.
  case credentials(String)
}

/// A request that failed: what was tried, on which server, and why it did not work.
public struct KubeError: Error, Hashable, Sendable, CustomStringConvertible {
  /// What was tried.
  public var action: KubeAction
  /// The API server.
  public var server: String
  /// Why it failed.
  public var failure: KubeFailure

  /// An error with all its circumstances.
  public init(_ action: KubeAction, server: String, _ failure: KubeFailure) {
    self.action = action
    self.server = server
    self.failure = failure
  }

  /// One line for the operator; says what to do where that is known.
  public var description: String {
    switch failure {
    case .refused(let status): "cannot \(action): \(refusal(status))"
    case .connection(let reason): "cannot \(action): \(server): \(reason)"
    case .silence(let seconds): "cannot \(action): \(server) has sent nothing for \(seconds) s"
    case .malformed(let reason): "cannot \(action): \(server) sends what cannot be read: \(reason)"
    case .credentials(let reason): "cannot \(action): no credentials for \(server): \(reason)"
    }
  }

  private func refusal(_ status: KubeStatus) -> String {
    let text = status.message.isEmpty ? "\(server) answers \(status.code) \(status.reason)".trimmed : status.message
    switch status.code {
    case 401:
      return "\(server) does not accept our credentials (401): is the token expired, or of another cluster?"
    case 403: return "\(text); needed in the ClusterRole: \(action.rule)"
    default: return text
    }
  }
}

/// What a request does, in the words of RBAC.
public struct KubeAction: Hashable, Sendable, CustomStringConvertible {
  /// `get`, `list`, `watch`, `patch` or `create`
  public var verb: String
  /// The kind of object.
  public var resource: KubeResource
  /// `status`, or empty.
  public var subresource: String
  /// Empty for objects of the cluster and for all namespaces.
  public var namespace: String
  /// Empty for all objects.
  public var name: String

  /// An action; what is left out means all.
  public init(
    _ verb: String, _ resource: KubeResource, subresource: String = "", namespace: String = "", name: String = ""
  ) {
    self.verb = verb
    self.resource = resource
    self.subresource = subresource
    self.namespace = namespace
    self.name = name
  }

  /// The path of the request.
  public var path: String { resource.path(namespace: namespace, name: name, subresource: subresource) }

  /// `patch nodes/status node-1`
  public var description: String {
    let object = [namespace, name].filter { !$0.isEmpty }.joined(separator: "/")
    return "\(verb) \(noun)\(object.isEmpty ? "" : " " + object)"
  }

  /// The rule that allows it: `apiGroups [""], resources ["nodes/status"], verbs ["patch"]`.
  public var rule: String {
    let parts = resource.root.split(separator: "/")
    let group = parts.first == "apis" && parts.count > 1 ? parts[1] : ""
    return "apiGroups [\"\(group)\"], resources [\"\(noun)\"], verbs [\"\(verb)\"]"
  }

  private var noun: String { subresource.isEmpty ? resource.plural : "\(resource.plural)/\(subresource)" }
}
