import JSON
import Syscalls
import Testing

/// What Weft's chart can do beyond flannel's (contract install §8), and network policies.
@Suite struct ChartOptionTests {
  let pod = ChartContractTests.pod
  let agent = ChartContractTests.agent

  @Test func lintFindsNothing() throws {
    let output = try Repository.run(".build/tools/helm", ["lint", "--strict", Chart.path])
    #expect(output.exit.isSuccess, "\(output.text)\(output.errorText)")
  }

  @Test func chartAndProgramsHaveOneVersion() throws {
    let source = try Files.text("\(Repository.root)/Sources/Agent/Version.swift")
    #expect(source.contains("let number = \"\(Chart.version)\""))
    #expect(try Chart.render().at("\(agent)/image") == .string("localhost/weft:\(Chart.version)"))
  }

  @Test func changedConfigurationRestartsThePods() throws {
    func checksum(_ values: String) throws -> String? {
      try Chart.render(values).at("DaemonSet/spec/template/metadata/annotations")?["checksum/config"]?.stringValue
    }
    let usual = try checksum("{}")
    #expect(try usual == checksum("flannel: {args: []}"))
    #expect(try usual != checksum("flannel: {vni: 7}"))
    #expect(try usual != checksum("flannel: {cniVersion: 1.0.0}"))
  }

  @Test func digestWinsOverTag() throws {
    let digest = "sha256:" + String(repeating: "0a", count: 32)
    let objects = try Chart.render("flannel: {image: {repository: r.example/weft, tag: x, digest: '\(digest)'}}")
    #expect(objects.at("\(agent)/image") == .string("r.example/weft@\(digest)"))
    #expect(objects.at("\(pod)/initContainers/0/image") == .string("r.example/weft@\(digest)"))
  }

  @Test(arguments: ["0.4.0", "1.0.0", "1.1.0"]) func cniVersionIsReplaced(_ version: String) throws {
    let list = try Chart.renderParsed("flannel: {cniVersion: '\(version)'}").at("ConfigMap/data/cni-conf.json")
    var expected = try ContractObjects.parsed(version: "").at("ConfigMap/data/cni-conf.json") ?? .null
    expected.set("cniVersion", .string(version))
    #expect(list == expected)
  }

  @Test func allPluginsOnlyWhenAskedFor() throws {
    func arguments(_ values: String) throws -> JSONValue? {
      try Chart.render(values).at("\(pod)/initContainers/0/args")
    }
    #expect(
      try arguments("flannel: {cniPlugins: all}") == [
        "install", "plugins", "--bin-dir", "/opt/cni/bin", "--plugins", "all",
      ])
    #expect(
      try arguments("flannel: {cniPlugins: all, replaceForeignPlugins: true}") == [
        "install", "plugins", "--bin-dir", "/opt/cni/bin", "--plugins", "all", "--replace-foreign",
      ])
  }

  @Test func healthServerOnOneAddress() throws {
    let objects = try Chart.render("flannel: {healthz: {ip: 127.0.0.1}}")
    #expect(
      objects.at("\(agent)/command")?.arrayValue?.suffix(2) == ["--healthz-ip=127.0.0.1", "--healthz-port=8081"])
    #expect(objects.at("\(agent)/livenessProbe/httpGet/host") == "127.0.0.1")
    #expect(objects.at("\(agent)/readinessProbe/httpGet/host") == "127.0.0.1")
    let anywhere = try Chart.render("flannel: {healthz: {ip: '::'}}")
    #expect(anywhere.at("\(agent)/command")?.arrayValue?.contains("--healthz-ip=::") == true)
    #expect(anywhere.at("\(agent)/livenessProbe/httpGet") == ["path": "/healthz", "port": "healthz"])
  }

  @Test func besideFlannel() throws {
    let objects = try Chart.render("{rbac: {name: weft}, flannel: {nodeSelector: {pod-network: weft}}}")
    #expect(objects.at("ClusterRole/metadata/name") == "weft")
    #expect(objects.at("ClusterRoleBinding/metadata/name") == "weft")
    #expect(objects.at("ClusterRoleBinding/roleRef/name") == "weft")
    #expect(objects.at("\(pod)/nodeSelector") == ["pod-network": "weft"])
  }

  @Test func namespaceIsMadeWhenAskedFor() throws {
    #expect(try Chart.render()["Namespace"] == nil)
    let objects = try Chart.render("namespace: {create: true, name: pods}")
    #expect(objects.at("Namespace/metadata/name") == "pods")
    #expect(objects.at("Namespace/metadata/labels") == ["pod-security.kubernetes.io/enforce": "privileged"])
    for place in [
      "ServiceAccount/metadata", "ConfigMap/metadata", "DaemonSet/metadata", "ClusterRoleBinding/subjects/0",
    ] {
      #expect(objects.at("\(place)/namespace") == "pods", "\(place)")
    }
  }

  @Test func updateStrategyIsKubernetesOwnUnlessSet() throws {
    #expect(try Chart.render().at("DaemonSet/spec/updateStrategy") == nil)
    let strategy = try Chart.render("flannel: {updateStrategy: {rollingUpdate: {maxUnavailable: 10%}}}")
    #expect(strategy.at("DaemonSet/spec/updateStrategy") == ["rollingUpdate": ["maxUnavailable": "10%"]])
  }

  @Test func cleanupTakesTheNetworkAway() throws {
    let objects = try Chart.render("{cleanup: {enabled: true}, netpol: {enabled: true}}")
    let first = objects.at("\(pod)/initContainers/0")
    #expect(objects.at("\(pod)/initContainers")?.arrayValue?.count == 1)
    #expect(objects.at("\(pod)/containers")?.arrayValue?.count == 1)
    #expect(first?["args"] == ["uninstall", "--purge"])
    #expect(objects.at("\(agent)/args") == ["uninstall", "--purge", "--wait"])
    #expect(objects.at("\(agent)/livenessProbe") == nil)
    for container in [first, objects.at(agent)] {
      #expect(container?.at("securityContext/capabilities") == ["drop": ["ALL"], "add": ["NET_ADMIN", "NET_RAW"]])
      let mounts = container?["volumeMounts"]?.arrayValue?.compactMap { $0["mountPath"]?.stringValue }
      #expect(mounts == ["/run/flannel", "/opt/cni/bin", "/etc/cni/net.d", "/var/lib/cni", "/run/xtables.lock"])
    }
    let state = objects.at("\(pod)/volumes")?.arrayValue?.first { $0["name"] == "cni-state" }
    #expect(state?["hostPath"] == ["path": "/var/lib/cni", "type": "DirectoryOrCreate"])
  }

  @Test func networkPolicies() throws {
    let objects = try Chart.render("netpol: {enabled: true, image: {tag: v9}}")
    #expect(
      objects.at("\(pod)/containers/1") == [
        "name": "kube-network-policies", "image": "registry.k8s.io/networking/kube-network-policies:v9",
        "command": ["/bin/netpol", "--hostname-override=$(MY_NODE_NAME)", "--v=2"],
        "env": [["name": "MY_NODE_NAME", "valueFrom": ["fieldRef": ["fieldPath": "spec.nodeName"]]]],
        "volumeMounts": [["name": "lib-modules", "mountPath": "/lib/modules", "readOnly": true]],
        "resources": ["requests": ["cpu": "100m", "memory": "50Mi"]],
        "securityContext": ["privileged": true, "capabilities": ["add": ["NET_ADMIN"]]],
      ])
    #expect(objects.at("\(pod)/volumes/0") == ["name": "lib-modules", "hostPath": ["path": "/lib/modules"]])
    let rules = objects.at("ClusterRole/rules")?.arrayValue ?? []
    let added: [JSONValue] = [
      ["apiGroups": [""], "resources": ["pods", "nodes", "namespaces"], "verbs": ["get", "list", "watch"]],
      ["apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": ["list", "watch"]],
      [
        "apiGroups": ["policy.networking.k8s.io"],
        "resources": ["adminnetworkpolicies", "baselineadminnetworkpolicies"], "verbs": ["list", "watch"],
      ],
    ]
    #expect(Array(rules.suffix(3)) == added)
    #expect(rules.count == 7)
  }
}
