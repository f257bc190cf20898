import JSON

/// An `Event` to be created: what happened to which object.
public struct KubeEvent: Hashable, Sendable {
  /// `events` of `core/v1`.
  public static let resource = KubeResource(root: "/api/v1", plural: "events", kind: "Event", isNamespaced: true)

  /// The kind of object it is about.
  public var involved: KubeResource
  /// The object's name.
  public var name: String
  /// The object's namespace; events about objects of the cluster lie in `default`.
  public var namespace: String
  /// The object's uid. For nodes kubelet uses the name, and `kubectl describe node` looks for that.
  public var uid: String
  /// Whether somebody should do something about it.
  public var isWarning: Bool
  /// One word in CamelCase.
  public var reason: String
  /// For people.
  public var message: String
  /// Who says it.
  public var component: String
  /// On which node.
  public var host: String
  /// Seconds since the epoch.
  public var time: Int64

  /// An event about an object.
  public init(
    about involved: KubeResource, name: String, namespace: String = "", uid: String, isWarning: Bool, reason: String,
    message: String, component: String, host: String, time: Int64
  ) {
    self.involved = involved
    self.name = name
    self.namespace = namespace
    self.uid = uid
    self.isWarning = isWarning
    self.reason = reason
    self.message = message
    self.component = component
    self.host = host
    self.time = time
  }

  /// Where the event lies.
  public var eventNamespace: String { namespace.isEmpty ? "default" : namespace }

  /// The body of the request (k8s.io/api `core/v1`).
  public var json: JSONValue {
    let at = JSONValue.string(Timestamp.text(time))
    let metadata: JSONValue = [
      "generateName": .string("\(name)."), "namespace": .string(eventNamespace),
    ]
    var object = JSONObject([("kind", .string(involved.kind)), ("name", .string(name)), ("uid", .string(uid))])
    object["apiVersion"] = .string(involved.apiVersion)
    if !namespace.isEmpty { object["namespace"] = .string(namespace) }
    let source: JSONValue = ["component": .string(component), "host": .string(host)]
    return [
      "apiVersion": "v1", "kind": "Event", "metadata": metadata, "involvedObject": .object(object),
      "reason": .string(reason), "message": .string(message), "type": isWarning ? "Warning" : "Normal",
      "source": source, "firstTimestamp": at, "lastTimestamp": at, "count": 1,
    ]
  }
}

extension KubeResource {
  /// `v1`, or `GROUP/VERSION`.
  public var apiVersion: String {
    root.split(separator: "/").dropFirst().joined(separator: "/")
  }
}
