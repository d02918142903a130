{{- define "freshet.name" -}}
{{- if contains "freshet" .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-freshet" .Release.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- /* Labels of a component; takes (dict "root" $ "component" NAME). */}}
{{- define "freshet.selector" -}}
app.kubernetes.io/name: freshet
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "freshet.labels" -}}
{{ include "freshet.selector" . }}
app.kubernetes.io/part-of: freshet
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end }}

{{- define "freshet.kafka" -}}
{{- if .Values.kafka.bootstrapServers }}{{ .Values.kafka.bootstrapServers }}
{{- else if .Values.kafka.strimzi.enabled }}{{ include "freshet.name" . }}-kafka-bootstrap.{{ .Release.Namespace }}.svc:9092
{{- else }}{{ fail "set kafka.bootstrapServers, or kafka.strimzi.enabled" }}{{ end }}
{{- end }}

{{- define "freshet.index" -}}
{{- if .Values.index.url }}{{ .Values.index.url }}
{{- else if .Values.index.milvusOperator.enabled }}milvus://{{ include "freshet.name" . }}-milvus:19530
{{- else }}{{ fail "set index.url, or index.milvusOperator.enabled" }}{{ end }}
{{- end }}

{{- define "freshet.encoder" -}}
{{- if .Values.triton.enabled }}triton://{{ include "freshet.name" . }}-triton:8001
{{- else }}{{ required "set triton.url, or triton.enabled" .Values.triton.url }}{{ end }}
{{- end }}

{{- define "freshet.databaseSecret" -}}
{{- if .Values.database.existingSecret }}{{ .Values.database.existingSecret }}
{{- else if .Values.database.cloudNativePg.enabled }}{{ include "freshet.name" . }}-db-app
{{- else }}{{ fail "set database.existingSecret, or database.cloudNativePg.enabled" }}{{ end }}
{{- end }}

{{- /* Settings; takes (dict "root" $ "component" NAME). Ingest writes to Kafka alone and gets no password. */}}
{{- define "freshet.environment" -}}
- {name: FRESHET_KAFKA_URL, value: {{ printf "kafka://%s" (include "freshet.kafka" .root) | quote }}}
{{- if ne .component "ingest" }}
- {name: FRESHET_INDEX_URL, value: {{ include "freshet.index" .root | quote }}}
- {name: FRESHET_ENCODER_URL, value: {{ include "freshet.encoder" .root | quote }}}
- name: FRESHET_DATABASE_URL
  valueFrom:
    secretKeyRef: {name: {{ include "freshet.databaseSecret" .root }}, key: {{ .root.Values.database.key }}}
{{- end }}
- {name: FRESHET_TOPICS__PARTITIONS, value: {{ .root.Values.kafka.partitions | quote }}}
- {name: FRESHET_TOPICS__REPLICATION, value: {{ .root.Values.kafka.replication | quote }}}
{{- with .root.Values.tracing.endpoint }}
- {name: FRESHET_OTLP_ENDPOINT, value: {{ . | quote }}}
- {name: FRESHET_TRACE_RATIO, value: {{ $.root.Values.tracing.ratio | quote }}}
{{- end }}
{{- range $name, $value := .root.Values.settings }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}

{{- /* What every pod of ours shares; takes (dict "root" $ "component" NAME). */}}
{{- define "freshet.pod" -}}
automountServiceAccountToken: false
serviceAccountName: {{ include "freshet.name" .root }}
terminationGracePeriodSeconds: 30
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- with .root.Values.images.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- with .root.Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "freshet.selector" . | nindent 8 }}
volumes:
  - name: model
    {{- required "set model.volume" .root.Values.model.volume | toYaml | nindent 4 }}
  - name: scratch
    emptyDir: {sizeLimit: 64Mi}
{{- end }}

{{- define "freshet.container" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
volumeMounts:
  - {name: model, mountPath: /models, readOnly: true}
  - {name: scratch, mountPath: /tmp, subPath: tmp}
  - {name: scratch, mountPath: /var/lib/freshet, subPath: data}
{{- end }}
