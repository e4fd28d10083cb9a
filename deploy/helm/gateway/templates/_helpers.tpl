{{- define "gateway.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "gateway.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "gateway.labels" -}}
{{ include "gateway.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "gateway.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "gateway.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "gateway.name" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end -}}

{{- define "gateway.claim" -}}
{{ .Values.persistence.existingClaim | default (include "gateway.name" .) }}
{{- end -}}

{{/* Who the containers are that Argo adds to Pods. */}}
{{- define "gateway.argoAccount" -}}
{{ include "gateway.name" . }}-argo
{{- end -}}

{{- define "gateway.onCluster" -}}
{{- if has .Values.executor (list "kubernetes" "argo") -}}yes{{- end -}}
{{- end -}}

{{/* gateway.yaml: what the values say, and what only the chart can know. */}}
{{- define "gateway.settings" -}}
{{- $own := dict "data-dir" "/var/lib/gateway" "ae-config" "/etc/gateway/ae_config" "pipelines" "/etc/gateway/pipelines" "executor" .Values.executor -}}
{{- $dicom := dict "bind" "0.0.0.0" "port" 11112 -}}
{{- if .Values.dicom.tls.secret -}}
{{- $tls := dict "port" 2762 "certificate" "/etc/gateway/tls/tls.crt" "key" "/etc/gateway/tls/tls.key" -}}
{{- if .Values.dicom.tls.clientCa -}}{{- $_ := set $tls "client-ca" "/etc/gateway/tls/ca.crt" -}}{{- end -}}
{{- $_ := set $dicom "tls" $tls -}}
{{- end -}}
{{- $_ := set $own "dicom" $dicom -}}
{{- $_ := set $own "grpc" (dict "bind" "0.0.0.0" "port" 50051) -}}
{{- $_ := set $own "http" (dict "bind" "0.0.0.0" "port" 8080) -}}
{{- if include "gateway.onCluster" . -}}
{{- $kubernetes := dict "namespace" .Release.Namespace -}}
{{- if .Values.persistence.hostPath -}}
{{- $_ := set $kubernetes "host-path" .Values.persistence.hostPath -}}
{{- else -}}
{{- $_ := set $kubernetes "claim" (include "gateway.claim" .) -}}
{{- end -}}
{{- if eq .Values.executor "argo" -}}
{{- $_ := set $kubernetes "argo" (dict "service-account" (include "gateway.argoAccount" .)) -}}
{{- end -}}
{{- $_ := set $own "kubernetes" $kubernetes -}}
{{- end -}}
{{- toYaml (mergeOverwrite (deepCopy .Values.config) $own) -}}
{{- end -}}
