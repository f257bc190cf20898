{{/* The namespace of all objects. */}}
{{- define "weft.namespace" -}}
{{ .Values.namespace.name | default .Release.Namespace }}
{{- end }}

{{/* "true" when an image value is one of Flannel's own: a values file written for Flannel means "the usual one". */}}
{{- define "weft.isFlannels" -}}
{{- $names := "^((ghcr\\.io/)?flannel-io/|(docker\\.io/)?flannel/|quay\\.io/coreos/flannel|(docker\\.io/)?rancher/mirrored-flannel)" -}}
{{- $usual := list "" "localhost/weft" -}}
{{- if or (regexMatch $names .repository) (and (has .repository $usual) (regexMatch "^v[0-9]+\\.[0-9]+\\.[0-9]+" .tag)) -}}
true
{{- end -}}
{{- end }}

{{/* REPOSITORY:TAG or REPOSITORY@DIGEST of (list ROOT IMAGE FALLBACK); the fallback is what stands for no repository. */}}
{{- define "weft.imageName" -}}
{{- $root := index . 0 -}}
{{- $given := index . 1 | default dict -}}
{{- $image := dict "repository" ($given.repository | default "" | toString) "tag" ($given.tag | default "" | toString) -}}
{{- $flannels := include "weft.isFlannels" $image -}}
{{- if or $flannels (not $image.repository) -}}
{{- index . 2 -}}
{{- else if $given.digest -}}
{{- printf "%s@%s" $image.repository $given.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository ($image.tag | default $root.Chart.AppVersion) -}}
{{- end -}}
{{- end }}

{{/* The image of the agent, and of everything else unless flannel_cni names another. */}}
{{- define "weft.image" -}}
{{- include "weft.imageName" (list . .Values.flannel.image (printf "localhost/weft:%s" .Chart.AppVersion)) -}}
{{- end }}

{{- define "weft.cniImage" -}}
{{- $cni := .Values.flannel.flannel_cni | default dict -}}
{{- include "weft.imageName" (list . $cni.image (include "weft.image" .)) -}}
{{- end }}

{{/* What no container of ours may do; the agent's own adds two capabilities. */}}
{{- define "weft.confined" -}}
privileged: false
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* "Backend" of net-conf.json as lines, options in flannel's order, then backendConfig, then the type. */}}
{{- define "weft.backend" -}}
{{- $flannel := .Values.flannel -}}
{{- $type := $flannel.backend | toString | lower -}}
{{- $known := list "vxlan" "host-gw" "wireguard" "ipip" "udp" "alloc" "ipsec" "extension" "tencent-vpc" -}}
{{- if not (has $type $known) -}}
{{- fail (printf "flannel.backend %q is not known: use one of %s" $type (join ", " $known)) -}}
{{- end -}}
{{- $options := dict
  "vxlan" (list (list "Port" "backendPort" "int") (list "VNI" "vni" "int") (list "GBP" "GBP" "bool")
    (list "DirectRouting" "directRouting" "bool") (list "MTU" "mtu" "int") (list "MacPrefix" "macPrefix" "string"))
  "wireguard" (list (list "ListenPort" "backendPort" "int") (list "ListenPortV6" "backendPortv6" "int")
    (list "PSK" "psk" "string") (list "MTU" "mtu" "int") (list "Mode" "tunnelMode" "string")
    (list "PersistentKeepaliveInterval" "keepaliveInterval" "int"))
  "udp" (list (list "Port" "backendPort" "int"))
-}}
{{- $extra := $flannel.backendConfig | default dict -}}
{{- $given := dict -}}
{{- range $name, $_ := $extra }}{{ $_ := set $given (lower $name) true }}{{ end -}}
{{- if hasKey $given "type" -}}
{{- fail "flannel.backendConfig must not have a Type: set flannel.backend instead" -}}
{{- end -}}
{{- $members := list -}}
{{- range $option := get $options $type | default list -}}
  {{- $name := index $option 0 -}}
  {{- $value := get $flannel (index $option 1) -}}
  {{- if and $value (not (hasKey $given (lower $name))) -}}
    {{- $kind := index $option 2 -}}
    {{- if eq $kind "int" }}{{ $value = int64 $value }}{{ end -}}
    {{- if eq $kind "bool" }}{{ $value = eq (toString $value) "true" }}{{ end -}}
    {{- /* Quotes inside the value were how tunnelMode could be set in the flannel chart. */ -}}
    {{- if eq $kind "string" }}{{ $value = toString $value | trimAll "\"" }}{{ end -}}
    {{- $members = append $members (printf "%q: %s" $name (toJson $value)) -}}
  {{- end -}}
{{- end -}}
{{- range $name, $value := $extra -}}
  {{- $members = append $members (printf "%s: %s" (toJson $name) (toJson $value)) -}}
{{- end -}}
{{- $members = append $members (printf "\"Type\": %s" ($flannel.backend | toString | toJson)) -}}
{{- join ",\n" $members -}}
{{- end }}

{{/* net-conf.json. */}}
{{- define "weft.netConf" -}}
{{- $members := list -}}
{{- if .Values.podCidr -}}
{{- $members = append $members (printf "\"Network\": %s" (toJson .Values.podCidr)) -}}
{{- else -}}
{{- $members = append $members "\"EnableIPv4\": false" -}}
{{- end -}}
{{- if .Values.podCidrv6 -}}
{{- $members = append $members (printf "\"IPv6Network\": %s" (toJson .Values.podCidrv6)) -}}
{{- $members = append $members "\"EnableIPv6\": true" -}}
{{- end -}}
{{- if .Values.flannel.enableNFTables -}}
{{- $members = append $members "\"EnableNFTables\": true" -}}
{{- end -}}
{{- $members = append $members (printf "\"Backend\": {%s\n}" (include "weft.backend" . | nindent 2)) -}}
{
{{- join ",\n" $members | nindent 2 }}
}
{{- end }}

{{/* cni-conf.json: the text as given, or the same list with another version. */}}
{{- define "weft.cniConf" -}}
{{- $text := .Values.flannel.cniConf | default "" -}}
{{- $list := fromJson $text -}}
{{- if and $list.Error (or .Values.flannel.cniVersion (not .Values.flannel.skipCNIConfigInstallation)) -}}
{{- fail (printf "flannel.cniConf is not a configuration list in JSON: %s" $list.Error) -}}
{{- end -}}
{{- if .Values.flannel.cniVersion -}}
{{- set $list "cniVersion" .Values.flannel.cniVersion | toPrettyJson -}}
{{- else -}}
{{- $text -}}
{{- end -}}
{{- end }}

{{/* Flags of the agent, one a line. */}}
{{- define "weft.flags" -}}
{{- $healthz := .Values.flannel.healthz -}}
{{- $flags := list -}}
{{- range .Values.flannel.args }}{{ $flags = append $flags (toString .) }}{{ end -}}
{{- if $healthz.port -}}
{{- with $healthz.ip }}{{ $flags = append $flags (printf "--healthz-ip=%s" .) }}{{ end -}}
{{- $flags = append $flags (printf "--healthz-port=%d" (int $healthz.port)) -}}
{{- end -}}
{{- range $i, $flag := $flags -}}
{{- if $i }}{{ print "\n" }}{{ end -}}
- {{ quote $flag }}
{{- end -}}
{{- end }}

{{/* A probe of (list ROOT PATH SETTINGS). The kubelet asks the node's address unless the server listens on another. */}}
{{- define "weft.probe" -}}
{{- $ip := (index . 0).Values.flannel.healthz.ip -}}
httpGet:
  path: {{ index . 1 }}
  port: healthz
  {{- if and $ip (not (has $ip (list "0.0.0.0" "::"))) }}
  host: {{ $ip | quote }}
  {{- end }}
{{- with index . 2 }}
{{ toYaml . }}
{{- end }}
{{- end }}
