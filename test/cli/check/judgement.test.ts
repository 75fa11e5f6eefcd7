import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { serializeTrustBundle, type TrustBundle } from '#certs/trust-bundle.ts';
import { checks } from '#cli/check/checks.ts';
import { federatedCertificates } from '#cli/check/collect/certificates.ts';
import type { CertificateSpan, ControlPlaneFacts, Facts, MachineFacts, SidecarState } from '#cli/check/facts.ts';
import { hasFailed, judge } from '#cli/check/judge.ts';
import { reportText } from '#cli/check/report-text.ts';
import { systemClock } from '#runtime/clock.ts';
import type { ErrorCode } from '#runtime/error-codes.ts';
import { testAuthority } from '../../support/test-authority.ts';
import { type Case, checkCases } from './cases.ts';
import { plaintextCases } from './plaintext-cases.ts';
import { rotationCases, wellRotating } from './rotation-cases.ts';
import {
  cellDocument,
  dayMs,
  goodControlPlane,
  goodMachine,
  goodState,
  manifests,
  nowMs,
  policyOf,
  said,
  wellOnMachine,
} from './well-facts.ts';

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;

function saying(change: Partial<ControlPlaneFacts>): Facts {
  return { ...wellOnMachine, controlPlane: said({ ...goodControlPlane, ...change }) };
}

function machine(change: Partial<MachineFacts>): Facts {
  return { ...wellOnMachine, machine: { ...goodMachine, ...change } };
}

function sidecar(change: Partial<SidecarState>): Facts {
  return machine({ sidecars: [{ name: 'shop/web', state: { value: { ...goodState, ...change } } }] });
}

function ending(
  kind: CertificateSpan['kind'],
  notAfter: number,
  notBefore = Math.min(notAfter - 12 * hourMs, nowMs - hourMs),
): Facts {
  return {
    ...wellOnMachine,
    certificates: [{ of: 'shop/web', kinds: [kind], found: { value: [{ kind, notBefore, notAfter }] } }],
  };
}

/** Two, of which one differs. */
function replicas(change: Partial<ControlPlaneFacts>): Facts {
  return { ...wellOnMachine, controlPlane: said(goodControlPlane, { ...goodControlPlane, ...change }) };
}

const gone: Facts = {
  ...wellOnMachine,
  controlPlane: [{ name: 'the control plane', said: { unknown: 'ECONNREFUSED' } }],
  rollouts: { unknown: 'ECONNREFUSED' },
};

/** Every check, with what it must notice. */
const cases: Readonly<Record<string, readonly Case[]>> = {
  'node-version': [
    {
      name: 'a sidecar on an old Node',
      facts: sidecar({ nodeVersion: '26.9.1' }),
      verdict: 'fail',
      says: /sidecar of shop\/web runs on Node 26\.9\.1/,
    },
  ],
  'node-options': [
    {
      name: 'a lenient parser',
      facts: {
        ...wellOnMachine,
        program: { ...wellOnMachine.program, nodeOptions: '--max-old-space-size=99 --insecure-http-parser' },
      },
      verdict: 'fail',
      says: /--insecure-http-parser/,
    },
  ],
  versions: [
    {
      name: 'a sidecar three minors back',
      facts: sidecar({ version: '1.1.0' }),
      verdict: 'fail',
      says: /two minors back/,
    },
    {
      name: 'a sidecar that is newer',
      facts: sidecar({ version: '1.5.0' }),
      verdict: 'fail',
      says: /newer than the control/,
    },
    {
      name: 'a sidecar of another major',
      facts: sidecar({ version: '2.4.0' }),
      verdict: 'fail',
      says: /another major/,
    },
    { name: 'a sidecar that does not tell', facts: sidecar({ version: '' }), verdict: 'warn', says: /does not tell/ },
    {
      name: 'a command that is far off',
      facts: saying({ version: '1.7.0' }),
      verdict: 'warn',
      says: /this command is 1\.4\.0/,
    },
    { name: 'no control plane', facts: gone, verdict: 'unknown', says: /ECONNREFUSED/ },
  ],
  'open-files': [
    {
      name: 'a low limit',
      facts: { ...wellOnMachine, program: { ...wellOnMachine.program, openFiles: { open: 5, max: 256 } } },
      verdict: 'warn',
      says: /may open 256 files/,
    },
    {
      name: 'a limit nearly reached',
      facts: saying({ openFiles: { open: 9_000, max: 10_000 } }),
      verdict: 'fail',
      says: /9000 files open/,
    },
  ],
  'federation-ends': [
    {
      name: 'a bundle of others that nobody has replaced',
      facts: ending('federated', nowMs + 29 * dayMs),
      verdict: 'fail',
      says: /the last root of shop\/web ends in 29 d/,
    },
  ],
  'roots-end': [
    {
      name: 'a root that ends within --fail-before',
      facts: ending('root', nowMs + 29 * dayMs),
      verdict: 'fail',
      says: /ends in 29 d.*30d/,
    },
    { name: 'a root that has ended', facts: ending('root', nowMs - hourMs), verdict: 'fail', says: /ended 1 h ago/ },
    {
      name: 'a bundle that cannot be read',
      facts: { ...wellOnMachine, certificates: [{ of: 'the cell', kinds: ['root'], found: { unknown: 'EACCES' } }] },
      verdict: 'unknown',
      says: /EACCES/,
    },
  ],
  'intermediates-end': [
    {
      name: 'an intermediate that was not replaced',
      facts: ending('intermediate', nowMs + dayMs, nowMs - 6 * dayMs),
      verdict: 'fail',
      says: /a quarter of its life/,
    },
  ],
  'svids-end': [
    {
      name: 'an SVID that was not renewed',
      facts: ending('svid', nowMs + 5 * hourMs),
      verdict: 'fail',
      says: /half of its life/,
    },
    {
      name: 'an SVID that has ended',
      facts: ending('svid', nowMs - minuteMs),
      verdict: 'fail',
      says: /ended 1 min ago/,
    },
    {
      name: 'an SVID of tomorrow',
      facts: ending('svid', nowMs + 30 * hourMs, nowMs + 18 * hourMs),
      verdict: 'fail',
      says: /begins only in 18 h/,
    },
  ],
  'edge-certificate-ends': [
    {
      name: 'a certificate that ends soon',
      facts: ending('web', nowMs + 3 * dayMs),
      verdict: 'fail',
      says: /HTTPS certificate/,
    },
  ],
  'webhook-certificate-ends': [
    {
      name: 'an authority that ends soon',
      facts: ending('webhook', nowMs + 3 * dayMs),
      verdict: 'fail',
      says: /webhook root/,
    },
  ],
  'trust-bundles': [
    {
      name: 'a bundle on disk that is old',
      facts: saying({ roots: ['AAAA', 'BBBB'] }),
      verdict: 'fail',
      says: /bundle on disk is not the one/,
    },
    {
      name: 'a sidecar that has missed a rotation',
      facts: machine({ heldRoots: [{ name: 'shop/web', roots: { value: ['BBBB'] } }] }),
      verdict: 'fail',
      says: /shop\/web trusts other roots/,
    },
  ],
  'control-plane': [{ name: 'no control plane', facts: gone, verdict: 'fail', says: /ECONNREFUSED/ }],
  clock: [
    { name: 'a minute off', facts: saying({ timeMs: nowMs + minuteMs }), verdict: 'warn', says: /60\.0 s behind/ },
    {
      name: 'three minutes off',
      facts: saying({ timeMs: nowMs - 3 * minuteMs }),
      verdict: 'fail',
      says: /180\.0 s ahead of/,
    },
    { name: 'no time told', facts: saying({ timeMs: undefined }), verdict: 'unknown', says: /too old/ },
    { name: 'no control plane', facts: gone, verdict: 'unknown', says: /ECONNREFUSED/ },
  ],
  'token-keys': [
    {
      name: 'no keys',
      facts: saying({ tokenKeys: { count: 0, isConnected: true, ageMs: 1 } }),
      verdict: 'fail',
      says: /every token is refused/,
    },
    {
      name: 'identity away for an hour',
      facts: saying({ tokenKeys: { count: 2, isConnected: false, ageMs: hourMs } }),
      verdict: 'warn',
      says: /not connected/,
    },
    {
      name: 'identity away for nearly twelve hours',
      facts: saying({ tokenKeys: { count: 2, isConnected: false, ageMs: 11.5 * hourMs } }),
      verdict: 'fail',
      says: /after 12 h/,
    },
  ],
  'decision-store': [
    {
      name: 'a full store',
      facts: saying({ decisions: { records: 9, bytes: 950, bytesMax: 1_000 } }),
      verdict: 'warn',
      says: /before their time/,
    },
  ],
  'sidecars-behind': [
    {
      name: 'a sidecar that refuses',
      facts: saying({
        subscribers: [
          {
            name: 'web',
            version: '1.4.0',
            types: [{ type: 'policy', revisionSent: 8, revisionAcked: 7, nackReason: 'requires x' }],
          },
        ],
      }),
      verdict: 'fail',
      says: /refuses the newest policy: requires x/,
    },
    {
      name: 'a sidecar that is silent',
      facts: saying({
        subscribers: [
          {
            name: 'web',
            version: '1.4.0',
            types: [{ type: 'bundles', revisionSent: 8, revisionAcked: 7, nackReason: '' }],
          },
        ],
      }),
      verdict: 'warn',
      says: /has not acknowledged the newest bundles/,
    },
  ],
  sidecars: [
    {
      name: 'a sidecar that does not answer',
      facts: machine({ sidecars: [{ name: 'shop/web', state: { unknown: 'ENOENT' } }] }),
      verdict: 'fail',
      says: /ENOENT/,
    },
  ],
  'sidecars-ready': [
    {
      name: 'one that waits',
      facts: sidecar({ notReady: ['keys: none yet'] }),
      verdict: 'fail',
      says: /keys: none yet/,
    },
    {
      name: 'one that does not answer',
      facts: machine({ sidecars: [{ name: 'shop/web', state: { unknown: 'ENOENT' } }] }),
      verdict: 'unknown',
      says: /no answer from shop\/web/,
    },
  ],
  'inbound-open': [
    {
      name: 'an application that others reach',
      facts: sidecar({ notReady: ['inbound_open: the application answers at 10.0.0.7:8080 past its sidecar'] }),
      verdict: 'fail',
      says: /10\.0\.0\.7:8080/,
    },
  ],
  'state-age': [
    {
      name: 'two minutes of silence',
      facts: sidecar({ feed: { isConnected: false, ageMs: 2 * minuteMs, isStale: false } }),
      verdict: 'warn',
      says: /for 120 s/,
    },
    {
      name: 'too long a silence',
      facts: sidecar({ feed: { isConnected: false, ageMs: 13 * hourMs, isStale: true } }),
      verdict: 'fail',
      says: /too long/,
    },
  ],
  'sidecar-keys': [{ name: 'no keys', facts: sidecar({ keys: 0 }), verdict: 'fail', says: /knows no key/ }],
  'decisions-dropped': [
    { name: 'dropped ones', facts: sidecar({ droppedDecisions: 3 }), verdict: 'warn', says: /3 permits/ },
  ],
  'sidecar-policy': [
    { name: 'none', facts: sidecar({ policyVersion: undefined }), verdict: 'fail', says: /refuses everything/ },
  ],
  'policy-in-force': [
    {
      name: 'a refused set',
      facts: saying({ policyProblems: ['web.yaml:3: unknown field'] }),
      verdict: 'fail',
      says: /refused: web\.yaml:3/,
    },
    {
      name: 'another version',
      facts: saying({ policyVersion: 'old' }),
      verdict: 'warn',
      says: /version old is in force/,
    },
    { name: 'no control plane', facts: gone, verdict: 'unknown', says: /ECONNREFUSED/ },
  ],
  'policy-errors': [
    {
      name: 'a field that does not exist',
      facts: { ...wellOnMachine, policy: policyOf(manifests.replace('mode: enforce', 'mode: enforcing')) },
      verdict: 'fail',
      says: /services\.yaml:7: .*document-invalid/,
    },
    {
      name: 'manifests that cannot be read',
      facts: { ...wellOnMachine, policy: { unknown: 'EACCES' } },
      verdict: 'unknown',
      says: /EACCES/,
    },
  ],
  'policy-one-sided': [
    {
      name: 'a call that nobody allows',
      facts: { ...wellOnMachine, policy: policyOf(manifests.replace('from: [shop/web]', 'from: [shop/store]')) },
      verdict: 'warn',
      says: /call-not-allowed/,
    },
    {
      name: 'a rule for a call that nobody declares',
      facts: {
        ...wellOnMachine,
        policy: policyOf(manifests.replace('  calls: [{ to: shop/store, carry: [orders:read] }]\n', '')),
      },
      verdict: 'warn',
      says: /peer-undeclared/,
    },
  ],
  'rules-expire': [
    {
      name: 'a rule that ends next week',
      facts: {
        ...wellOnMachine,
        policy: policyOf(
          manifests.replaceAll('    - name: read', '    - name: read\n      until: 2026-12-08T00:00:00Z'),
        ),
      },
      verdict: 'warn',
      says: /rule read ends at 2026-12-08/,
    },
  ],
  'policy-warnings': [
    {
      name: 'a rule for anybody',
      facts: { ...wellOnMachine, policy: policyOf(manifests.replace('from: [shop/web]', 'from: [any]')) },
      verdict: 'warn',
      says: /\(any\)/,
    },
  ],
  'policy-audit': [
    {
      name: 'a service in audit',
      facts: { ...wellOnMachine, policy: policyOf(manifests.replace('mode: enforce', 'mode: audit')) },
      verdict: 'warn',
      says: /shop\/web is in audit/,
    },
  ],
  rotation: rotationCases,
  plaintext: plaintextCases,
  'replicas-agree': [
    {
      name: 'another version',
      facts: replicas({ version: '1.5.0' }),
      verdict: 'warn',
      says: /the version of the program differs: pod-1 1\.4\.0, pod-2 1\.5\.0/,
    },
    {
      name: 'another policy',
      facts: replicas({ policyVersion: 'other' }),
      verdict: 'warn',
      says: /the policy in force differs/,
    },
    { name: 'another root', facts: replicas({ roots: ['BBBB'] }), verdict: 'warn', says: /the trust bundle differs/ },
  ],
  rollouts: [
    {
      name: 'a candidate that was withdrawn',
      facts: {
        ...wellOnMachine,
        rollouts: { value: [{ service: 'shop/web', percent: 5, isWithdrawn: true, newlyDenied: 7, allowed: 90 }] },
      },
      verdict: 'warn',
      says: /denied 7 of 90/,
    },
    { name: 'no control plane', facts: gone, verdict: 'unknown', says: /ECONNREFUSED/ },
  ],
  'token-size': [
    {
      name: 'a large catalogue',
      facts: {
        ...wellOnMachine,
        policy: policyOf(
          manifests,
          cellDocument.replace(
            'scopes: {',
            `scopes: { ${Array.from({ length: 60 }, (_, at) => `"things-of-a-kind:write-number-${at}": A scope.,`).join(' ')}`,
          ),
        ),
      },
      verdict: 'warn',
      says: /all 61 scopes/,
    },
  ],
  processes: [
    {
      name: 'a process that waits',
      facts: machine({ processes: [{ name: 'identity', waitsFor: { value: ['disk'] } }] }),
      verdict: 'fail',
      says: /not ready: disk/,
    },
    {
      name: 'a process that is not there',
      facts: machine({ processes: [{ name: 'identity', waitsFor: { unknown: 'ECONNREFUSED' } }] }),
      verdict: 'fail',
      says: /ECONNREFUSED/,
    },
  ],
  ports: [
    {
      name: 'a port in use',
      facts: machine({ takenPorts: { value: ['14010 (the control plane)'] } }),
      verdict: 'fail',
      says: /14010/,
    },
  ],
  'state-permissions': [
    {
      name: 'a key that others read',
      facts: machine({ exposed: { value: [{ path: '/cell/root.pem', mode: 0o100644 }] } }),
      verdict: 'fail',
      says: /root\.pem has mode 644/,
    },
  ],
  'disk-space': [
    {
      name: 'a full disk',
      facts: machine({ disk: { value: { freeBytes: 1024, totalBytes: 1024 ** 4 } } }),
      verdict: 'fail',
      says: /0\.0 GiB of/,
    },
    {
      name: 'a nearly full disk',
      facts: machine({ disk: { value: { freeBytes: 1024 ** 3, totalBytes: 1024 ** 4 } } }),
      verdict: 'warn',
      says: /1\.0 GiB of/,
    },
  ],
};

describe('a cell with which everything is well', () => {
  test('passes every check, strictly', () => {
    const results = judge(checks, wellOnMachine);
    const wrong = results.filter(({ verdict }) => verdict !== 'ok');
    assert.deepEqual(
      wrong.map(({ check, findings }) => [check.id, findings]),
      [],
    );
    assert.equal(hasFailed(results, { strict: true }), false);
  });
});

checkCases(
  'checks',
  checks.filter(({ group }) => group !== 'cluster' && group !== 'pods'),
  cases,
);

test('of the roots of others the last is judged', async () => {
  const { authority } = await testAuthority(systemClock, 'partner.test');
  const bundle = authority.bundle.current;
  const entry = JSON.stringify({ trustDomain: 'partner.test', trustBundle: serializeTrustBundle(bundle) });
  const policy = policyOf(manifests, `${cellDocument}  federation: [${entry}]\n`);
  const [found, ...others] = federatedCertificates(policy);
  const [{ notBefore, notAfter }] = bundle.roots as [TrustBundle['roots'][number]];
  assert.deepEqual(found, {
    of: 'partner.test',
    kinds: ['federated'],
    found: { value: [{ kind: 'federated', notBefore, notAfter }] },
  });
  assert.deepEqual(others, []);
  assert.deepEqual(federatedCertificates(policyOf()), []);
});

test('rotations that are under way are well', () => {
  for (const facts of wellRotating) {
    const [result] = judge(
      checks.filter(({ id }) => id === 'rotation'),
      facts,
    );
    assert.equal(result!.verdict, 'ok', JSON.stringify(result!.findings));
  }
});

test('of several replicas it is said which one is meant', () => {
  const [result] = judge(
    checks.filter(({ id }) => id === 'token-keys'),
    replicas({ tokenKeys: { count: 0, isConnected: false, ageMs: undefined } }),
  );
  assert.deepEqual(
    result!.findings.map(({ verdict, what }) => `${verdict} ${what.split(':')[0]}`),
    ['ok pod-1', 'fail pod-2'],
  );
});

test('whoever could not ask knows nothing of the control plane', () => {
  const verdictOf = (code: ErrorCode) => {
    const controlPlane = [{ name: 'the control plane', said: { unknown: 'no', code } }];
    return judge(
      checks.filter(({ id }) => id === 'control-plane'),
      { ...wellOnMachine, controlPlane },
    )[0]!.verdict;
  };
  assert.deepEqual((['kubectl_failed', 'rpc_denied', 'not_found'] as const).map(verdictOf), [
    'unknown',
    'unknown',
    'fail',
  ]);
});

test('checks have names of their own', () => {
  assert.equal(new Set(checks.map(({ id }) => id)).size, checks.length);
});

describe('a run', () => {
  test('has failed with a failure, and with what is not known; with a warning only when it is strict', () => {
    const results = (facts: Facts) => judge(checks, facts);
    assert.equal(hasFailed(results(sidecar({ keys: 0 })), { strict: false }), true);
    assert.equal(hasFailed(results({ ...wellOnMachine, policy: { unknown: 'EACCES' } }), { strict: false }), true);
    const warned = results(sidecar({ droppedDecisions: 1 }));
    assert.equal(hasFailed(warned, { strict: false }), false);
    assert.equal(hasFailed(warned, { strict: true }), true);
  });

  test('fails the day before --fail-before, and not the day after', () => {
    const rooted = (days: number) =>
      judge(
        checks.filter(({ id }) => id === 'roots-end'),
        ending('root', nowMs + days * dayMs),
      );
    assert.deepEqual(
      [29, 31].map((days) => hasFailed(rooted(days), { strict: false })),
      [true, false],
    );
  });

  test('is told group by group, with the line that mends', () => {
    const results = judge(
      checks.filter(({ group }) => group === 'machine'),
      machine({ exposed: { value: [{ path: '/cell', mode: 0o755 }] } }),
    );
    assert.equal(
      reportText(results),
      [
        'machine',
        '  ok    processes          ready: identity',
        '  FAIL  state-permissions  /cell has mode 755: others get at it',
        '                           -> chmod go= /cell',
        '  ok    disk-space         50.0 GiB of 100.0 GiB are free at /cell',
        '',
        '3 checks: 2 ok, 0 to look at, 1 failed, 0 not known',
      ].join('\n'),
    );
  });
});
