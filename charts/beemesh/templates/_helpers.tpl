{{/* The chart's name, or what replaces it. */}}
{{- define "beemesh.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Prefix of all names; room is left for the longest suffix. */}}
{{- define "beemesh.fullname" -}}
{{- $name := include "beemesh.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 45 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 45 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 45 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Name of the operator's objects. */}}
{{- define "beemesh.operator.name" -}}
{{- include "beemesh.fullname" . }}-operator
{{- end -}}

{{/* Labels by which the operator's pods are selected. They never change: a selector is immutable. */}}
{{- define "beemesh.operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "beemesh.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{/* Name of the daemons' objects. */}}
{{- define "beemesh.node.name" -}}
{{- include "beemesh.fullname" . }}-node
{{- end -}}

{{/* Labels by which the daemons' pods are selected. They never change either. */}}
{{- define "beemesh.node.selectorLabels" -}}
app.kubernetes.io/name: {{ include "beemesh.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: node
{{- end -}}

{{/* Labels of every object: (dict "root" $ "component" "operator"). */}}
{{- define "beemesh.labels" -}}
{{- with .root -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/name: {{ include "beemesh.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: beemesh
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}
app.kubernetes.io/component: {{ .component }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Metadata of a namespaced object: (dict "root" $ "name" NAME "component" C "labels" L "annotations" A). */}}
{{- define "beemesh.metadata" -}}
name: {{ .name }}
namespace: {{ .root.Release.Namespace }}
{{ include "beemesh.metadata.cluster" (omit . "name") }}
{{- end -}}

{{/* Metadata of a cluster-scoped object: the same words. */}}
{{- define "beemesh.metadata.cluster" -}}
{{- with .name -}}
name: {{ . }}
{{ end -}}
labels:
  {{- include "beemesh.labels" . | nindent 2 }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with mergeOverwrite (dict) .root.Values.commonAnnotations (.annotations | default dict) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The image, by digest when there is one. */}}
{{- define "beemesh.image" -}}
{{- $registry := default .Values.image.registry .Values.global.imageRegistry -}}
{{- $image := .Values.image.repository -}}
{{- if $registry }}{{ $image = printf "%s/%s" $registry $image }}{{ end -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $image .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* Name of the ServiceAccount. */}}
{{- define "beemesh.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "beemesh.operator.name" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name: a name is wanted when serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* Name of the daemons' ServiceAccount. */}}
{{- define "beemesh.node.serviceAccountName" -}}
{{- $account := .Values.node.serviceAccount -}}
{{- if $account.create -}}
{{- default (include "beemesh.node.name" .) $account.name -}}
{{- else -}}
{{- required "node.serviceAccount.name: a name is wanted when node.serviceAccount.create is false" $account.name -}}
{{- end -}}
{{- end -}}

{{/* Name of the Secret by which daemons know one another. */}}
{{- define "beemesh.meshKey.name" -}}
{{- default (printf "%s-mesh-key" (include "beemesh.fullname" .)) .Values.meshKey.secretName -}}
{{- end -}}

{{/* Whether the operator makes that Secret. */}}
{{- define "beemesh.meshKey.isMade" -}}
{{- and .Values.node.enabled (not .Values.meshKey.secretName) -}}
{{- end -}}

{{/* Whether `helm test` wires pods: its topology is in the release's namespace, at which the operator must look. */}}
{{- define "beemesh.test.connectivity.isMade" -}}
{{- $watched := .Values.operator.watchNamespaces -}}
{{- $isWatched := or (not $watched) (has .Release.Namespace ($watched | default list)) -}}
{{- and .Values.node.enabled .Values.test.connectivity.enabled $isWatched -}}
{{- end -}}
