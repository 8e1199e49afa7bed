{{- define "tidewire.name" -}}
{{- if contains "tidewire" .Release.Name -}}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{- else -}}{{ printf "%s-tidewire" .Release.Name | trunc 40 | trimSuffix "-" }}{{- end -}}
{{- end -}}

{{- define "tidewire.selector" -}}
app.kubernetes.io/name: tidewire
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "tidewire.labels" -}}
{{ include "tidewire.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "tidewire.serviceAccount" -}}
{{ default (include "tidewire.name" .) .Values.serviceAccount.name }}
{{- end -}}

{{- define "tidewire.secret" -}}
{{- if .Values.existingSecret -}}
{{ .Values.existingSecret }}
{{- else if .Values.secret -}}
{{ include "tidewire.name" . }}
{{- else -}}
{{ fail "name a Secret with at least TIDEWIRE_ADMIN_KEY by existingSecret, or give its variables as secret.TIDEWIRE_ADMIN_KEY=…" }}
{{- end -}}
{{- end -}}

{{- /* The pod of a component: a dict of `root`, `component` (its name) and `of` (its values). */ -}}
{{- define "tidewire.pod" -}}
{{- $root := .root -}}
{{- $values := .root.Values -}}
metadata:
  labels:
    {{- include "tidewire.selector" $root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
    {{- with $values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    # A setting that changes starts processes anew.
    checksum/config: {{ toYaml (list $values.config $values.secret) | sha256sum }}
    {{- with $values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "tidewire.serviceAccount" $root }}
  automountServiceAccountToken: false
  # Kubernetes would set TIDEWIRE_…_PORT and their like, which are no settings.
  enableServiceLinks: false
  # As long as a process drains (30 s), with what comes before it.
  terminationGracePeriodSeconds: 45
  {{- with $values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    seccompProfile:
      type: RuntimeDefault
  containers:
    - name: tidewire
      image: "{{ $values.image.repository }}:{{ default $root.Chart.AppVersion $values.image.tag }}"
      imagePullPolicy: {{ $values.image.pullPolicy }}
      args: [serve]
      ports:
        - name: http
          containerPort: 8080
      envFrom:
        - configMapRef:
            name: {{ include "tidewire.name" $root }}
        - secretRef:
            name: {{ include "tidewire.secret" $root }}
      env:
        - name: TIDEWIRE_ADDR
          value: 0.0.0.0:8080
        - name: TIDEWIRE_ROLES
          value: {{ .of.roles | quote }}
        - name: TIDEWIRE_WORKER_NAME
          valueFrom:
            fieldRef:
              fieldPath: metadata.name
        {{- range $name, $value := .of.config }}
        - name: {{ $name }}
          value: {{ $value | quote }}
        {{- end }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities:
          drop: [ALL]
      # The schema is brought up to date before it listens.
      startupProbe:
        httpGet:
          path: /metrics
          port: http
        periodSeconds: 3
        failureThreshold: 100
      # Not /health: a database or a broker that is away is waited for, and a restart mends neither.
      livenessProbe:
        httpGet:
          path: /metrics
          port: http
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet:
          path: /ready
          port: http
        periodSeconds: 5
        timeoutSeconds: 5
      lifecycle:
        preStop:
          # Until nobody sends requests here any more; then SIGTERM closes the port.
          sleep:
            seconds: 5
      resources:
        {{- toYaml (default $values.resources .of.resources) | nindent 8 }}
      volumeMounts:
        - name: data
          mountPath: /data
        - name: tmp
          mountPath: /tmp
  volumes:
    {{- if not $values.standalone.enabled }}
    # Nothing in it has to last: the store is elsewhere.
    - name: data
      emptyDir: {}
    {{- end }}
    - name: tmp
      emptyDir: {}
  {{- if $values.topologySpread }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: topology.kubernetes.io/zone
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "tidewire.selector" $root | nindent 10 }}
          app.kubernetes.io/component: {{ .component }}
  {{- end }}
  {{- with $values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
