import JSON
import Syscalls
import Testing

/// The plain manifest and its kustomize base (contract install §2).
@Suite struct ManifestTests {
  let pod = ChartContractTests.pod

  private func byKind(_ objects: [JSONValue]) -> JSONValue {
    .object(JSONObject(objects.map { ($0["kind"]?.stringValue ?? "?", $0) }))
  }

  private func manifest() throws -> JSONValue {
    byKind(try Repository.objects(yaml: Files.text("\(Repository.root)/deploy/weft.yml")))
  }

  @Test func isWhatTheChartRenders() throws {
    let rendered = try Repository.checked("scripts/render-manifest")
    #expect(try rendered == Files.text("\(Repository.root)/deploy/weft.yml"), "out of date: run `make manifest`")
  }

  @Test func isFlannelsManifest() throws {
    let objects = try manifest()
    #expect(
      objects.objectValue?.names.sorted() == [
        "ClusterRole", "ClusterRoleBinding", "ConfigMap", "DaemonSet", "Namespace", "ServiceAccount",
      ])
    #expect(objects.at("Namespace/metadata/name") == "kube-flannel")
    #expect(
      objects.at("Namespace/metadata/labels") == [
        "k8s-app": "flannel", "pod-security.kubernetes.io/enforce": "privileged",
      ])
    for (kind, object) in objects.objectValue?.members ?? [] {
      #expect(object.at("metadata/labels/k8s-app") == "flannel", "\(kind)")
    }
    #expect(objects.at("DaemonSet/spec/template/metadata/labels") == ["tier": "node", "app": "flannel"])
    let agent = objects.at("\(pod)/containers/0")
    #expect(agent?["command"] == ["/opt/bin/flanneld"])
    #expect(agent?["args"] == ["--ip-masq", "--kube-subnet-mgr", "--healthz-port=8081"])
    // Flannel's own tolerates NoSchedule only and is evicted by NoExecute taints.
    #expect(
      objects.at("\(pod)/tolerations") == [
        ["effect": "NoExecute", "operator": "Exists"], ["effect": "NoSchedule", "operator": "Exists"],
      ])
  }

  @Test func kustomizeBaseIsTheManifest() throws {
    let built = try Repository.checked(".build/tools/kubectl", ["kustomize", "\(Repository.root)/deploy"])
    #expect(try byKind(Repository.objects(yaml: built)) == manifest())
  }

  /// Two networks in one cluster must not share a name outside of a namespace, nor a node.
  @Test func kustomizeBesideFlannel() throws {
    let built = try Repository.checked(
      ".build/tools/kubectl", ["kustomize", "\(Repository.root)/examples/kustomize-beside-flannel"])
    let objects = byKind(try Repository.objects(yaml: built))
    #expect(objects.at("Namespace/metadata/name") == "kube-weft")
    #expect(objects.at("ClusterRole/metadata/name") == "weft")
    #expect(objects.at("ClusterRoleBinding/metadata/name") == "weft")
    #expect(objects.at("ClusterRoleBinding/roleRef/name") == "weft")
    #expect(objects.at("ClusterRoleBinding/subjects/0/namespace") == "kube-weft")
    for kind in ["ServiceAccount", "ConfigMap", "DaemonSet"] {
      #expect(objects.at("\(kind)/metadata/namespace") == "kube-weft", "\(kind)")
    }
    #expect(objects.at("\(pod)/nodeSelector") == ["pod-network": "weft"])
  }
}
