{{- define "operator.chart-name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "operator.name" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "operator.chart-name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "operator.selector-labels" -}}
app.kubernetes.io/name: {{ include "operator.chart-name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "operator.common-labels" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "operator.labels" -}}
{{ include "operator.selector-labels" . }}
{{ include "operator.common-labels" . }}
{{- end -}}

{{/* Labels of what is not the operator itself, such as the pods of hooks: no selector takes them for it. */}}
{{- define "operator.side-labels" -}}
app.kubernetes.io/name: {{ include "operator.chart-name" .context }}-{{ .part }}
app.kubernetes.io/instance: {{ .context.Release.Name }}
{{ include "operator.common-labels" .context }}
{{- end -}}

{{- define "operator.service-account" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "operator.name" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name has to name an account when serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "operator.image" -}}
{{- with .Values.image -}}
{{- if .registry }}{{ trimSuffix "/" .registry }}/{{ end }}{{ .repository }}
{{- if .digest }}@{{ .digest }}{{ else }}:{{ default $.Chart.AppVersion .tag }}{{ end -}}
{{- end -}}
{{- end -}}

{{/* "true" when all namespaces are served, and cluster-scoped objects are made. */}}
{{- define "operator.everywhere" -}}
{{- if not .Values.watch.namespaces }}true{{ end -}}
{{- end -}}

{{/* What the operator may do in each namespace that it serves. */}}
{{- define "operator.rules" -}}
# Made for labelled driver pods, deleted after ttlSecondsAfterFinished; patch is for the finalizer.
- apiGroups: [sparkallocation.dev]
  resources: [sparkallocations]
  verbs: [get, list, watch, create, delete, patch]
- apiGroups: [sparkallocation.dev]
  resources: [sparkallocations/status]
  verbs: [patch]
- apiGroups: [sparkallocation.dev]
  resources: [sparkallocationpolicies]
  verbs: [list, watch]
- apiGroups: [sparkallocation.dev]
  resources: [sparkallocationpolicies/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, create, delete]
# A driver pod's spark.properties when REST masks a value, and the sweep at an application's end.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, delete]
# Claims for executors: made with their pods, found to be used again, looked at when the name is taken, swept.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, create, delete]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end -}}

{{/* Says in a sentence what no schema can. */}}
{{- define "operator.validate" -}}
{{- if .Values.watch.namespaces -}}
{{- if .Values.flowSchema.enabled -}}
{{- fail "flowSchema.enabled makes cluster-scoped objects and watch.namespaces asks for none: leave one of them out" -}}
{{- end -}}
{{- if ne (len .Values.watch.namespaces) (len (uniq .Values.watch.namespaces)) -}}
{{- fail "watch.namespaces names a namespace twice" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.metrics.podMonitor.enabled .Values.metrics.serviceMonitor.enabled -}}
{{- fail "metrics.podMonitor and metrics.serviceMonitor would scrape the same pods twice: enable one of them" -}}
{{- end -}}
{{- $names := list -}}
{{- range .Values.policies -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- if ne (len $names) (len (uniq $names)) -}}
{{- fail "policies has two of the same name: the operator would take the last one only" -}}
{{- end -}}
{{- end -}}

{{/* Annotations of an object of the uninstallation; the argument is its weight. */}}
{{- define "operator.release-hook" -}}
helm.sh/hook: pre-delete
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}

{{/* What pods of hooks have in common with the operator's. */}}
{{- define "operator.side-pod" -}}
enableServiceLinks: false
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "operator.side-container" -}}
image: {{ include "operator.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
resources:
  requests:
    cpu: 50m
    memory: 128Mi
  limits:
    memory: 256Mi
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
{{- end -}}
