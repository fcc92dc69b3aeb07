{{- /* What --etcd-... options say, as the daemon's environment. */ -}}
{{- define "k8s-ovs.settings" -}}
{{- with .Values.etcd -}}
{{- if and (hasPrefix "http://" (first .endpoints)) (or .caFile .certFile .keyFile) }}
{{- fail "etcd.endpoints: http:// is not encrypted; expected https://, or caFile, certFile and keyFile empty" }}
{{- end }}
K8S_OVS_ETCD_ENDPOINTS: {{ join "," .endpoints | quote }}
K8S_OVS_ETCD_PREFIX: {{ .prefix | quote }}
{{- range $name, $key := dict "CAFILE" .caFile "CERTFILE" .certFile "KEYFILE" .keyFile }}
{{- if $key }}
K8S_OVS_ETCD_{{ $name }}: {{ printf "/etc/k8s-ovs/etcd/%s" $key | quote }}
{{- end }}
{{- end }}
{{- if .username }}
K8S_OVS_ETCD_USERNAME: {{ .username | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- /* The password of etcd's user, one more variable. */ -}}
{{- define "k8s-ovs.password" -}}
- name: K8S_OVS_ETCD_PASSWORD
  valueFrom:
    secretKeyRef: {name: {{ .Values.etcd.secret }}, key: password}
{{- end }}
