/** What Helm prints after an installation: what to do next. */
export const notes = {
  cell: `The control plane of {{ .Values.cell.id }} runs in {{ .Release.Namespace }} as soon as there is its Cell:

  kubectl apply -f cell.yaml        # kind: Cell, metadata.name: {{ .Values.cell.id }}
  kubectl -n {{ .Release.Namespace }} rollout status deployment/cellmesh-control-plane

Pods get sidecars in namespaces that ask for it, when they start:

  kubectl label namespace NAME cellmesh.io/inject=enabled
{{- if not .Values.identity.address }}

No identity service is set: calls of customers need identity.address and identity.trustBundle.
{{- end }}
`,
  global: `Identity and {{ .Values.router.replicas }} routers run in {{ .Release.Namespace }}. Routers wait for their certificate:

  kubectl -n {{ .Release.Namespace }} create secret tls {{ .Values.router.certificateSecret }} --cert=tls.crt --key=tls.key

A cell needs the trust bundle, and identity its cell:

  kubectl -n {{ .Release.Namespace }} get configmap cellmesh-global-trust-bundle -o jsonpath='{.data.trust-bundle\\.json}' > trust-bundle.json
  helm upgrade cellmesh-cell ... --set-file identity.trustBundle=trust-bundle.json
`,
} as const;
