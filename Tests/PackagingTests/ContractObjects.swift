import JSON

/// The objects of the flannel chart with its defaults, as contract install §1.2 lists them, with Weft's image, its
/// commands of the init containers, and its rights (§8). `VERSION` stands for the version of the chart.
enum ContractObjects {
  static func parsed(version: String) throws -> JSONValue {
    try JSONValue(
      parsing: text.split(separator: "VERSION", omittingEmptySubsequences: false).joined(separator: version))
  }

  static let text = """
    {
      "ServiceAccount": {
        "kind": "ServiceAccount",
        "apiVersion": "v1",
        "metadata": { "name": "flannel", "namespace": "kube-flannel" }
      },
      "ClusterRole": {
        "kind": "ClusterRole",
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "metadata": { "name": "flannel" },
        "rules": [
          { "apiGroups": [""], "resources": ["pods"], "verbs": ["get"] },
          { "apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"] },
          { "apiGroups": [""], "resources": ["nodes/status"], "verbs": ["patch"] },
          { "apiGroups": [""], "resources": ["events"], "verbs": ["create"] }
        ]
      },
      "ClusterRoleBinding": {
        "kind": "ClusterRoleBinding",
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "metadata": { "name": "flannel" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "flannel" },
        "subjects": [{ "kind": "ServiceAccount", "name": "flannel", "namespace": "kube-flannel" }]
      },
      "ConfigMap": {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {
          "name": "kube-flannel-cfg",
          "namespace": "kube-flannel",
          "labels": { "tier": "node", "app": "flannel" }
        },
        "data": {
          "cni-conf.json": {
            "name": "cbr0",
            "cniVersion": "0.3.1",
            "plugins": [
              { "type": "flannel", "delegate": { "hairpinMode": true, "isDefaultGateway": true } },
              { "type": "portmap", "capabilities": { "portMappings": true } }
            ]
          },
          "net-conf.json": { "Network": "10.244.0.0/16", "Backend": { "Type": "vxlan" } }
        }
      },
      "DaemonSet": {
        "kind": "DaemonSet",
        "apiVersion": "apps/v1",
        "metadata": {
          "name": "kube-flannel-ds",
          "namespace": "kube-flannel",
          "labels": { "tier": "node", "app": "flannel" }
        },
        "spec": {
          "selector": { "matchLabels": { "app": "flannel" } },
          "template": {
            "metadata": { "labels": { "tier": "node", "app": "flannel" } },
            "spec": {
              "affinity": {
                "nodeAffinity": {
                  "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [
                      { "matchExpressions": [{ "key": "kubernetes.io/os", "operator": "In", "values": ["linux"] }] }
                    ]
                  }
                }
              },
              "hostNetwork": true,
              "priorityClassName": "system-node-critical",
              "tolerations": [
                { "effect": "NoExecute", "operator": "Exists" },
                { "effect": "NoSchedule", "operator": "Exists" }
              ],
              "serviceAccountName": "flannel",
              "initContainers": [
                {
                  "name": "install-cni-plugin",
                  "image": "localhost/weft:VERSION",
                  "command": ["/opt/bin/weft"],
                  "args": ["install", "plugins", "--bin-dir", "/opt/cni/bin", "--plugins", "flannel"],
                  "volumeMounts": [{ "name": "cni-plugin", "mountPath": "/opt/cni/bin" }]
                },
                {
                  "name": "install-cni",
                  "image": "localhost/weft:VERSION",
                  "command": ["/opt/bin/weft"],
                  "args": [
                    "install", "conflist", "--source", "/etc/kube-flannel/cni-conf.json", "--conf-dir", "/etc/cni/net.d"
                  ],
                  "volumeMounts": [
                    { "name": "cni", "mountPath": "/etc/cni/net.d" },
                    { "name": "flannel-cfg", "mountPath": "/etc/kube-flannel/" }
                  ]
                }
              ],
              "containers": [
                {
                  "name": "kube-flannel",
                  "image": "localhost/weft:VERSION",
                  "command": ["/opt/bin/flanneld", "--ip-masq", "--kube-subnet-mgr", "--healthz-port=8081"],
                  "resources": { "requests": { "cpu": "100m", "memory": "50Mi" } },
                  "ports": [{ "name": "healthz", "containerPort": 8081, "protocol": "TCP" }],
                  "livenessProbe": {
                    "httpGet": { "path": "/healthz", "port": "healthz" },
                    "initialDelaySeconds": 10,
                    "periodSeconds": 30
                  },
                  "readinessProbe": {
                    "httpGet": { "path": "/readyz", "port": "healthz" },
                    "initialDelaySeconds": 5,
                    "periodSeconds": 10
                  },
                  "securityContext": { "privileged": false, "capabilities": { "add": ["NET_ADMIN", "NET_RAW"] } },
                  "env": [
                    { "name": "POD_NAME", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } },
                    { "name": "POD_NAMESPACE", "valueFrom": { "fieldRef": { "fieldPath": "metadata.namespace" } } },
                    { "name": "EVENT_QUEUE_DEPTH", "value": "5000" },
                    { "name": "CONT_WHEN_CACHE_NOT_READY", "value": "false" }
                  ],
                  "volumeMounts": [
                    { "name": "run", "mountPath": "/run/flannel" },
                    { "name": "flannel-cfg", "mountPath": "/etc/kube-flannel/" },
                    { "name": "xtables-lock", "mountPath": "/run/xtables.lock" }
                  ]
                }
              ],
              "volumes": [
                { "name": "run", "hostPath": { "path": "/run/flannel" } },
                { "name": "cni-plugin", "hostPath": { "path": "/opt/cni/bin" } },
                { "name": "cni", "hostPath": { "path": "/etc/cni/net.d" } },
                { "name": "flannel-cfg", "configMap": { "name": "kube-flannel-cfg" } },
                { "name": "xtables-lock", "hostPath": { "path": "/run/xtables.lock", "type": "FileOrCreate" } }
              ]
            }
          }
        }
      }
    }
    """
}
