import type { Backend } from '../candidate.ts';

/** Tried in vain before the one that allows: ten in all, as Envoy has. */
const otherRules = Array.from(
  { length: 9 },
  (_, n) =>
    `    - { name: other-${n}, from: [bench/caller], http: { paths: [/v1/resource-${n}/**] }, scopes: [bytes:read] }`,
).join('\n');

/** Policy for a caller's application and the backend. */
export function manifests(callerPort: number, backend: Backend): string {
  return `
apiVersion: cellmesh.io/v1alpha1
kind: ServicePolicy
metadata: { name: caller, namespace: bench }
spec:
  serviceAccount: caller
  mode: enforce
  ports: [{ port: ${callerPort}, protocol: http }]
  allow:
    - { name: start, from: [router], http: { methods: [GET], paths: [/start] }, scopes: [bytes:read] }
  calls:
    - { to: bench/backend, carry: [bytes:read] }
---
apiVersion: cellmesh.io/v1alpha1
kind: ServicePolicy
metadata: { name: backend, namespace: bench }
spec:
  serviceAccount: backend
  mode: enforce
  ports: [{ port: ${backend.port}, protocol: http }, { port: ${backend.grpcPort}, protocol: grpc }]
  allow:
${otherRules}
    - { name: read, from: [bench/caller], http: { methods: [GET, POST], paths: ["/bytes/*"] }, scopes: [bytes:read] }
    - { name: call, from: [bench/caller], http: { methods: [POST], paths: [/bench.Bench/Call] }, scopes: [bytes:read] }
`;
}
