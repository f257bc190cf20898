{{/* Puts plugins and CNI configuration on the node; each file is replaced as a whole. */}}
{{- define "weft.initContainers" -}}
initContainers:
- name: install-cni-plugin
  image: {{ include "weft.cniImage" . }}
  command:
  - /opt/bin/weft
  args:
  - install
  - plugins
  - --bin-dir
  - /opt/cni/bin
  - --plugins
  - {{ .Values.flannel.cniPlugins | quote }}
  {{- if .Values.flannel.replaceForeignPlugins }}
  - --replace-foreign
  {{- end }}
  securityContext:
    {{- include "weft.confined" . | nindent 4 }}
    capabilities:
      drop: ["ALL"]
  volumeMounts:
  - name: cni-plugin
    mountPath: /opt/cni/bin
{{- if not .Values.flannel.skipCNIConfigInstallation }}
- name: install-cni
  image: {{ include "weft.image" . }}
  command:
  - /opt/bin/weft
  args:
  - install
  - conflist
  - --source
  - /etc/kube-flannel/cni-conf.json
  - --conf-dir
  - /etc/cni/net.d
  securityContext:
    {{- include "weft.confined" . | nindent 4 }}
    capabilities:
      drop: ["ALL"]
  volumeMounts:
  - name: cni
    mountPath: /etc/cni/net.d
  - name: flannel-cfg
    mountPath: /etc/kube-flannel/
{{- end }}
{{- end }}

{{- define "weft.containers" -}}
containers:
- name: kube-flannel
  image: {{ include "weft.image" . }}
  command:
  - "/opt/bin/flanneld"
  {{- if .Values.flannel.flagsAsArgs }}
  args:
  {{- end }}
  {{- include "weft.flags" . | nindent 2 }}
  {{- with .Values.flannel.resources }}
  resources:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.flannel.healthz }}
  {{- if .port }}
  ports:
  - name: healthz
    containerPort: {{ int .port }}
    protocol: TCP
  livenessProbe:
    {{- include "weft.probe" (list $ "/healthz" .livenessProbe) | nindent 4 }}
  readinessProbe:
    {{- include "weft.probe" (list $ "/readyz" .readinessProbe) | nindent 4 }}
  {{- end }}
  {{- end }}
  securityContext:
    {{- include "weft.confined" . | nindent 4 }}
    capabilities:
      drop: ["ALL"]
      add: ["NET_ADMIN", "NET_RAW"]
  env:
  - name: POD_NAME
    valueFrom:
      fieldRef:
        fieldPath: metadata.name
  - name: POD_NAMESPACE
    valueFrom:
      fieldRef:
        fieldPath: metadata.namespace
  - name: EVENT_QUEUE_DEPTH
    value: "5000"
  - name: CONT_WHEN_CACHE_NOT_READY
    value: "false"
  volumeMounts:
  - name: run
    mountPath: /run/flannel
  - name: flannel-cfg
    mountPath: /etc/kube-flannel/
  - name: xtables-lock
    mountPath: /run/xtables.lock
{{- if .Values.netpol.enabled }}
- name: kube-network-policies
  image: {{ .Values.netpol.image.repository }}:{{ .Values.netpol.image.tag }}
  command:
  - "/bin/netpol"
  {{- range .Values.netpol.args }}
  - {{ toString . | quote }}
  {{- end }}
  env:
  - name: MY_NODE_NAME
    valueFrom:
      fieldRef:
        fieldPath: spec.nodeName
  volumeMounts:
  - name: lib-modules
    mountPath: /lib/modules
    readOnly: true
  resources:
    requests:
      cpu: "100m"
      memory: "50Mi"
  securityContext:
    privileged: true
    capabilities:
      add: ["NET_ADMIN"]
{{- end }}
{{- end }}

{{/* Takes everything back from the node, then stays so that the rollout ends: ready means clean. */}}
{{- define "weft.cleanupContainers" -}}
{{- range $step := list "initContainers" "containers" }}
{{ $step }}:
- name: {{ ternary "uninstall" "kube-flannel" (eq $step "initContainers") }}
  image: {{ include "weft.image" $ }}
  command:
  - /opt/bin/weft
  args:
  - uninstall
  - --purge
  {{- if eq $step "containers" }}
  - --wait
  {{- end }}
  securityContext:
    {{- include "weft.confined" $ | nindent 4 }}
    capabilities:
      drop: ["ALL"]
      add: ["NET_ADMIN", "NET_RAW"]
  volumeMounts:
  - name: run
    mountPath: /run/flannel
  - name: cni-plugin
    mountPath: /opt/cni/bin
  - name: cni
    mountPath: /etc/cni/net.d
  - name: cni-state
    mountPath: /var/lib/cni
  - name: xtables-lock
    mountPath: /run/xtables.lock
{{- end }}
{{- end }}
