export type Severity = 'error' | 'warning' | 'note';

interface LintRule {
  readonly severity: Severity;
  readonly meaning: string;
  readonly action: string;
}

/** Everything that lint can say of manifests. `docs/policy-lint.md` is held to this table. */
export const lintRules = {
  'document-invalid': {
    severity: 'error',
    meaning: 'A document is not what `docs/manifest.schema.json` and docs/manifest.md say.',
    action: 'Correct the place that is named; until then the control plane refuses the whole set.',
  },
  contradiction: {
    severity: 'error',
    meaning: 'Documents that are right by themselves do not go together.',
    action: 'Correct one of them; until then the control plane refuses the whole set.',
  },
  'cell-missing': {
    severity: 'error',
    meaning: 'No file of the directory holds a `Cell` document.',
    action: 'Add it: the catalogue of scopes is in it.',
  },
  'rule-expired': {
    severity: 'error',
    meaning: 'The `until` of a rule is past: it allows nothing any more.',
    action: 'Remove the rule, or extend it.',
  },
  'rule-expires': {
    severity: 'warning',
    meaning: 'A rule ends soon (`--expires-within`, 30 days without it).',
    action: 'Extend it, or write a rule that stays, if the calls should go on.',
  },
  'plaintext-too-long': {
    severity: 'error',
    meaning: '`inbound` lets callers without TLS in for more than 90 days from now.',
    action: 'Set `until` to an earlier time; it can be extended once that is near.',
  },
  'plaintext-ends': {
    severity: 'warning',
    meaning: 'The `until` of `inbound` is near (`--expires-within`): callers without TLS will be turned away.',
    action: 'Take those that are left into the mesh (`cellmesh check` lists them), or extend it.',
  },
  'plaintext-ended': {
    severity: 'warning',
    meaning: 'The `until` of `inbound` is past: it is strict, as without it.',
    action: 'Remove `inbound`, and the rules with `from: [unmeshed]`.',
  },
  'unmeshed-never-comes': {
    severity: 'warning',
    meaning: 'A rule is for `unmeshed`, and `inbound` is strict: nobody without TLS gets as far as a rule.',
    action: 'Take `unmeshed` off the rule, or say `inbound: { mode: observe-plaintext, until: ... }`.',
  },
  'rule-shadowed': {
    severity: 'warning',
    meaning: 'Another rule of the manifest allows all that this one does.',
    action: 'Remove it, or narrow the other one.',
  },
  'rule-unsatisfiable': {
    severity: 'warning',
    meaning:
      'No caller for whom the rule is can ever bring what it needs, through every `expose`, `carry`, `own` and the ceiling.',
    action: 'Let callers carry the scopes, ask for others, or remove the rule.',
  },
  'router-never-sends': {
    severity: 'warning',
    meaning: 'A rule is for `router`, and no `expose` sends there what the rule is about.',
    action: 'Expose the paths, or take `router` off the rule.',
  },
  'exposure-not-allowed': {
    severity: 'warning',
    meaning: 'A service exposes paths to routers, and no rule allows routers anything there.',
    action: 'Add a rule with `from: [router]`, or take the paths out of `expose`.',
  },
  'peer-undeclared': {
    severity: 'warning',
    meaning: 'A rule names a service whose manifest does not declare the call: it is refused with `peer_not_declared`.',
    action: "Add the call to the peer's `calls`, or take the peer off the rule.",
  },
  'peer-unknown': {
    severity: 'note',
    meaning: 'A rule names a workload that has no manifest. It is let in; nothing says what it calls.',
    action: 'Check the spelling; write a manifest for it.',
  },
  'peer-untrusted': {
    severity: 'warning',
    meaning: 'A rule names a workload of a trust domain that `Cell.spec.federation` does not list: it cannot connect.',
    action: 'Check the spelling, list the trust domain with its bundle, or take the peer off the rule.',
  },
  'peers-none': {
    severity: 'warning',
    meaning: '`any` or a pattern of SPIFFE IDs means no service that declares the call.',
    action: 'Check the pattern, or remove the rule.',
  },
  'call-not-allowed': {
    severity: 'warning',
    meaning: 'A service declares a call, and no rule of the callee is for it: it is refused with `peer_not_allowed`.',
    action: 'Add a rule to the callee, or remove the call.',
  },
  'call-unsatisfiable': {
    severity: 'warning',
    meaning:
      'Rules of the callee are for a declared call, and nothing that can come over it is enough for one of them.',
    action: "Add to the call's `carry` or `own`, or to those on the way before it, or ask for less.",
  },
  'carry-never-held': {
    severity: 'note',
    meaning: 'A call carries a scope that never comes to the caller.',
    action: 'Remove it from `carry`, or let those before carry it.',
  },
  'ceiling-cuts': {
    severity: 'warning',
    meaning: '`Cell.spec.ceiling` takes away scopes that a call carries or has as its own.',
    action: 'Remove them from the call, or ask the platform to raise the ceiling.',
  },
  'ceiling-narrows': {
    severity: 'note',
    meaning: '`Cell.spec.ceiling` takes away scopes that routers, or a call without `carry`, would bring.',
    action: 'Nothing, if it is meant; to write `carry` out makes it visible.',
  },
  any: {
    severity: 'warning',
    meaning: 'A rule is for `any` workload that declares the call.',
    action: 'Name the callers, or say why: `# lint: allow any: <reason>`.',
  },
  'peers-broad': {
    severity: 'warning',
    meaning: 'A pattern of SPIFFE IDs means workloads of every namespace.',
    action: 'Name namespaces, or say why.',
  },
  'paths-broad': {
    severity: 'warning',
    meaning: 'A rule is for every path, and needs no scope, no claim and no actor.',
    action: 'List the paths, or ask for a scope.',
  },
  'scope-unused': {
    severity: 'note',
    meaning: 'No rule needs a scope of the catalogue, and no call brings it.',
    action: 'Remove it, if no application checks it by itself.',
  },
  'candidate-needless': {
    severity: 'warning',
    meaning: 'A candidate says the same as the version in force.',
    action: 'Remove it.',
  },
  'candidate-complete': {
    severity: 'note',
    meaning: 'A candidate is in force for all accounts.',
    action: 'Make it the version in force: without `rollout`, in place of the other.',
  },
  'suppression-unused': {
    severity: 'warning',
    meaning: 'A comment allows a finding that is not there.',
    action: 'Remove the comment.',
  },
  'suppression-malformed': {
    severity: 'warning',
    meaning: 'A comment begins with `lint:` and names no rule of this table, or no reason.',
    action: 'Write `# lint: allow <rule>[, <rule>]: <reason>`.',
  },
} as const satisfies Readonly<Record<string, LintRule>>;

export type LintRuleName = keyof typeof lintRules;
