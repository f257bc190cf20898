import JSON

/// Objects as an API server has them.
public enum KubeFixtures {
  /// A node as kubelet and flanneld leave it, about 13 KB of JSON when `isLarge`.
  public static func node(
    _ name: String, podCIDRs: [String] = [], address: String = "192.168.0.1",
    annotations: [(String, String)] = [], heartbeat: String = "2026-01-02T03:04:05Z", isLarge: Bool = false
  ) -> JSONValue {
    var marks = JSONObject(annotations.map { ($0.0, .string($0.1)) })
    marks["node.alpha.kubernetes.io/ttl"] = "0"
    marks["volumes.kubernetes.io/controller-managed-attach-detach"] = "true"
    var metadata = JSONObject([
      ("name", .string(name)), ("uid", .string("6a0f4c3e-0000-4000-8000-\(name)")),
      ("creationTimestamp", "2026-01-01T00:00:00Z"),
      (
        "labels", ["kubernetes.io/arch": "amd64", "kubernetes.io/hostname": .string(name), "kubernetes.io/os": "linux"]
      ),
      ("annotations", .object(marks)),
    ])
    if isLarge { metadata["managedFields"] = managedFields }
    var spec = JSONObject()
    if let first = podCIDRs.first {
      spec["podCIDR"] = .string(first)
      spec["podCIDRs"] = .array(podCIDRs.map { .string($0) })
    }
    var status = JSONObject([
      ("capacity", ["cpu": "8", "memory": "32786432Ki", "pods": "110"]),
      (
        "conditions",
        .array(["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"].map { condition($0, heartbeat) })
      ),
      (
        "addresses",
        [["type": "InternalIP", "address": .string(address)], ["type": "Hostname", "address": .string(name)]]
      ), ("nodeInfo", ["machineID": "0123456789abcdef", "kernelVersion": "6.1.0", "kubeletVersion": "v1.33.1"]),
    ])
    if isLarge { status["images"] = images }
    return [
      "kind": "Node", "apiVersion": "v1", "metadata": .object(metadata), "spec": .object(spec),
      "status": .object(status),
    ]
  }

  /// A pod on a node.
  public static func pod(_ name: String, namespace: String, node: String) -> JSONValue {
    let metadata: JSONValue = ["name": .string(name), "namespace": .string(namespace), "uid": "pod-uid"]
    let containers: JSONValue = [["name": "main", "image": "registry.invalid/x:1"]]
    return [
      "kind": "Pod", "apiVersion": "v1", "metadata": metadata,
      "spec": ["nodeName": .string(node), "containers": containers], "status": ["phase": "Running"],
    ]
  }

  private static func condition(_ type: String, _ heartbeat: String) -> JSONValue {
    [
      "type": .string(type), "status": type == "Ready" ? "True" : "False", "lastHeartbeatTime": .string(heartbeat),
      "lastTransitionTime": "2026-01-01T00:00:00Z", "reason": "KubeletHasSufficientMemory",
      "message": "kubelet has sufficient memory available",
    ]
  }

  private static let managedFields: JSONValue = {
    var fields = JSONObject()
    for i in 0..<60 { fields["f:field-number-\(i)"] = ["f:value": [:], ".": [:]] }
    let entry: JSONValue = [
      "manager": "kubelet", "operation": "Update", "apiVersion": "v1", "time": "2026-01-02T03:04:05Z",
      "fieldsType": "FieldsV1", "fieldsV1": ["f:metadata": .object(fields), "f:spec": ["{\"[": [:]]],
      "subresource": "status",
    ]
    return [entry, entry]
  }()

  private static let images: JSONValue = .array(
    (0..<38).map { i in
      let digest = String(repeating: "0123456789abcdef", count: 4)
      return [
        "names": [
          .string("registry.invalid/team/component-\(i)@sha256:\(digest)"),
          .string("registry.invalid/team/component-\(i):v1.2.3"),
        ], "sizeBytes": .integer(10_000_000 + i),
      ]
    })
}
