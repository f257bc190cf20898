import JSON
import Testing

/// Values files of operators of the flannel chart: the objects are flannel's, down to the last field (contract install
/// §1, test-oracles §16), except for what contract install §8 adds.
@Suite struct ChartContractTests {
  /// A values file and what it changes in the objects of the defaults.
  struct Case: CustomTestStringConvertible {
    let name: String
    let values: String
    let changes: [(path: String, value: JSONValue?)]
    var testDescription: String { name }

    init(_ name: String, _ values: String, _ changes: [(path: String, value: JSONValue?)] = []) {
      self.name = name
      self.values = values
      self.changes = changes
    }
  }

  static let pod = "DaemonSet/spec/template/spec"
  static let agent = "\(pod)/containers/0"

  static let cases: [Case] = [
    Case("nothing", "{}"),
    Case(
      "the documented file",
      """
      podCidr: "10.244.0.0/16"
      flannel:
        cniBinDir: "/opt/cni/bin"
        cniConfDir: "/etc/cni/net.d"
        args: ["--ip-masq", "--kube-subnet-mgr", "--iface=enp0s9"]
        backend: "vxlan"
      """,
      [("\(agent)/command", command("--ip-masq", "--kube-subnet-mgr", "--iface=enp0s9", "--healthz-port=8081"))]),
    Case("every value of the flannel chart, as it ships", flannelsDefaults),
    Case(
      "images of one's own", "flannel: {image: {repository: cicker.io/flannel/flannel, tag: v555.44.3}}",
      [
        ("\(agent)/image", "cicker.io/flannel/flannel:v555.44.3"),
        ("\(pod)/initContainers/0/image", "cicker.io/flannel/flannel:v555.44.3"),
        ("\(pod)/initContainers/1/image", "cicker.io/flannel/flannel:v555.44.3"),
      ]),
    Case(
      "a plugin image of one's own",
      "flannel: {flannel_cni: {image: {repository: cicker.io/flannel/flannel-cni-plugin, tag: v777.66.5}}}",
      [("\(pod)/initContainers/0/image", "cicker.io/flannel/flannel-cni-plugin:v777.66.5")]),
    Case("a tag of Flannel", "flannel: {image: {tag: v0.28.5}, flannel_cni: {image: {tag: v1.9.1-flannel1}}}"),
    Case(
      "no health server", "flannel: {healthz: {port: 0}}",
      [
        ("\(agent)/command", command("--ip-masq", "--kube-subnet-mgr")), ("\(agent)/ports", nil),
        ("\(agent)/livenessProbe", nil), ("\(agent)/readinessProbe", nil),
      ]),
    Case(
      "probes", "flannel: {healthz: {port: '9999', livenessProbe: {timeoutSeconds: 3}, readinessProbe: null}}",
      [
        ("\(agent)/command", command("--ip-masq", "--kube-subnet-mgr", "--healthz-port=9999")),
        ("\(agent)/ports/0/containerPort", 9999), ("\(agent)/livenessProbe/timeoutSeconds", 3),
        ("\(agent)/readinessProbe", ["httpGet": ["path": "/readyz", "port": "healthz"]]),
      ]),
    Case(
      "pull secrets", "global: {imagePullSecrets: [{name: a-test-secret}]}",
      [("\(pod)/imagePullSecrets", [["name": "a-test-secret"]])]),
    Case(
      "no CNI configuration", "flannel: {skipCNIConfigInstallation: true}", [("\(pod)/initContainers/1", nil)]),
    Case(
      "node selector", "flannel: {nodeSelector: {eks.amazonaws.com/compute-type: hybrid}}",
      [("\(pod)/nodeSelector", ["eks.amazonaws.com/compute-type": "hybrid"])]),
    Case(
      "tolerations", "flannel: {tolerations: [{operator: Exists}]}",
      [("\(pod)/tolerations", [["operator": "Exists"]])]),
    Case("no tolerations", "flannel: {tolerations: []}", [("\(pod)/tolerations", nil)]),
    Case(
      "resources", "flannel: {resources: {limits: {memory: 1Gi}}}",
      [("\(agent)/resources/limits", ["memory": "1Gi"])]),
    Case("no resources", "flannel: {resources: null}", [("\(agent)/resources", nil)]),
    Case("no flags", "flannel: {args: null}", [("\(agent)/command", command("--healthz-port=8081"))]),
    Case(
      "flags that are no text", "flannel: {args: [--ip-masq, '--iface-regex=^10\\.', -v, 4]}",
      [("\(agent)/command", command("--ip-masq", "--iface-regex=^10\\.", "-v", "4", "--healthz-port=8081"))]),
    Case(
      "other directories",
      "flannel: {cniBinDir: /home/kubernetes/bin, cniConfDir: /var/lib/rancher/k3s/agent/etc/cni/net.d}",
      [
        ("\(pod)/volumes/1/hostPath/path", "/home/kubernetes/bin"),
        ("\(pod)/volumes/2/hostPath/path", "/var/lib/rancher/k3s/agent/etc/cni/net.d"),
      ]),
    Case(
      "a CNI configuration of one's own",
      "flannel: {cniConf: '{\"name\":\"x\",\"cniVersion\":\"1.0.0\",\"plugins\":[]}'}",
      [("ConfigMap/data/cni-conf.json", ["name": "x", "cniVersion": "1.0.0", "plugins": []])]),
    Case("values nobody knows", "{image_cni: {tag: v1}, flannel: {extraVolumes: [], bakend: udp}}"),
    Case("values taken away", "flannel: {mtu: null, vni: null, backendPort: null, nodeSelector: null}"),
  ]

  @Test(arguments: cases) func objectsAreFlannels(_ c: Case) throws {
    var expected = try ContractObjects.parsed(version: Chart.version)
    for change in c.changes { expected.set(change.path, change.value) }
    var rendered = try Chart.renderParsed(c.values)
    try removeAdditions(&rendered)
    for kind in Set((expected.objectValue?.names ?? []) + (rendered.objectValue?.names ?? [])) {
      #expect(rendered[kind]?.text(.sorted) == expected[kind]?.text(.sorted))
    }
  }

  /// Takes away what Weft's chart has and flannel's has not; each must be there.
  private func removeAdditions(_ objects: inout JSONValue) throws {
    #expect(objects.at("DaemonSet/spec/template/metadata/annotations/checksum/config") == nil)
    let annotations = objects.at("DaemonSet/spec/template/metadata/annotations")
    #expect(annotations?["checksum/config"]?.stringValue?.utf8.count == 64)
    objects.set("DaemonSet/spec/template/metadata/annotations", nil)
    for path in ["\(Self.pod)/initContainers/0", "\(Self.pod)/initContainers/1", Self.agent] {
      guard objects.at(path) != nil else { continue }
      let context = "\(path)/securityContext"
      #expect(objects.at("\(context)/allowPrivilegeEscalation") == false)
      #expect(objects.at("\(context)/readOnlyRootFilesystem") == true)
      #expect(objects.at("\(context)/seccompProfile") == ["type": "RuntimeDefault"])
      #expect(objects.at("\(context)/capabilities/drop") == ["ALL"])
      #expect(objects.at("\(context)/privileged") == false)
      for added in ["allowPrivilegeEscalation", "readOnlyRootFilesystem", "seccompProfile", "capabilities/drop"] {
        objects.set("\(context)/\(added)", nil)
      }
      guard path != Self.agent else { continue }
      #expect(objects.at(context) == ["privileged": false, "capabilities": [:]])
      objects.set(context, nil)
    }
  }

  private static func command(_ flags: JSONValue...) -> JSONValue { .array(["/opt/bin/flanneld"] + flags) }

  /// The values an operator gets by copying flannel's own file: its images stand for Weft's (contract install §1.1).
  private static let flannelsDefaults = """
    global: {imagePullSecrets: }
    podCidr: "10.244.0.0/16"
    podCidrv6: ""
    flannel:
      image: {repository: ghcr.io/flannel-io/flannel, tag: v0.28.9}
      flannel_cni: {image: {repository: ghcr.io/flannel-io/flannel-cni-plugin, tag: v1.9.1-flannel3}}
      cniBinDir: "/opt/cni/bin"
      cniConfDir: "/etc/cni/net.d"
      skipCNIConfigInstallation: false
      enableNFTables: false
      args: ["--ip-masq", "--kube-subnet-mgr"]
      backend: "vxlan"
      backendPort: 0
      psk: 0
      keepaliveInterval: 0
      resources: {requests: {cpu: 100m, memory: 50Mi}}
      healthz:
        port: 8081
        livenessProbe: {initialDelaySeconds: 10, periodSeconds: 30}
        readinessProbe: {initialDelaySeconds: 5, periodSeconds: 10}
      tolerations: [{effect: NoExecute, operator: Exists}, {effect: NoSchedule, operator: Exists}]
      nodeSelector: {}
    netpol:
      enabled: false
      args: ["--hostname-override=$(MY_NODE_NAME)", "--v=2"]
      image: {repository: registry.k8s.io/networking/kube-network-policies, tag: v1.0.0}
    """
}
