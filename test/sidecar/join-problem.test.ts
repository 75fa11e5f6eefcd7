import assert from 'node:assert/strict';
import { test } from 'node:test';
import { JoinTokenRejected } from '#certs/join-token.ts';
import { parseTrustDomain, workloadId } from '#certs/spiffe-id.ts';
import { CellmeshError } from '#runtime/errors.ts';
import { joinProblem } from '#sidecar/join-problem.ts';

const settings = { controlPlane: { host: 'cp', port: 14010 }, joinToken: undefined, attestTokenFile: '/run/token' };
const id = workloadId(parseTrustDomain('cell-1.example.com'), 'shop', 'web');

test('a control plane that reads no service-account tokens is called older', () => {
  assert.match(joinProblem(new JoinTokenRejected('malformed'), settings, id), /^cp:14010 is older than this sidecar/);
});

test('a token of another service account leads to the settings that say which one is meant', () => {
  const problem = joinProblem(new CellmeshError('svid_unexpected', 'an SVID of somebody else'), settings, id);
  assert.match(problem, /check --namespace and --service-account/);
});
