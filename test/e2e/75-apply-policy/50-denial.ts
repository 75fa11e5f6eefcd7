import assert from 'node:assert/strict';
import { eventually } from '../../support/eventually.ts';
import { callEcho, callFrom, podFields } from '../support/calls.ts';
import type { Step } from '../support/scenario.ts';

/** A rule is narrowed by an edit; what it denies from then on is explained by id, through `kubectl port-forward`. */
export const step: Step = async (scenario) => {
  const url = `http://server.${scenario.namespace}:8080`;
  const rule = { name: 'hello', from: ['e2e-apply-policy/caller'], http: { methods: ['GET'], paths: ['/hello'] } };
  const patch = JSON.stringify({ spec: { allow: [{ ...rule, account: 'none' }] } });
  await scenario.kubectl('patch', 'servicepolicy/server', '--type=merge', '--patch', patch);
  const answer = await eventually(
    async () => {
      const one = await callFrom(scenario, 'deployment/caller', `${url}/other`);
      assert.equal(one.status, 403, JSON.stringify(one));
      return one;
    },
    15_000,
    200,
  );
  await callEcho(scenario, 'deployment/caller', `${url}/hello`);
  const id = answer.headers['cellmesh-decision'];
  assert.ok(id !== undefined, JSON.stringify(answer));
  const explanation = await eventually(() => scenario.mesh.explain(id), 15_000, 500);
  assert.match(explanation, /\/other/);
  assert.match(explanation, /hello/);
  assert.equal((await podFields(scenario, 'app=server', '.metadata.name')).length, 3, 'no pod was made anew');
};
