import assert from 'node:assert/strict';
import type { Step } from '../support/scenario.ts';

interface Report {
  readonly checks: readonly {
    readonly id: string;
    readonly verdict: string;
    readonly findings: readonly { readonly what: string }[];
  }[];
}

/** `cellmesh check` has looked at everything, and nothing has failed; what it warns of is of this cluster, not of the mesh. */
export const step: Step = async ({ cluster, mesh }) => {
  const said = await mesh.cellmeshSaid('check', '--kubeconfig', cluster.kubeconfig, '--json');
  const { checks } = JSON.parse(said.slice(said.indexOf('{'))) as Report;
  const bad = checks.filter(({ verdict }) => verdict === 'fail' || verdict === 'unknown');
  assert.deepEqual(bad, []);
  assert.ok(checks.length > 30, `${checks.length} checks`);
};
