import assert from 'node:assert/strict';
import { callEcho } from '../support/calls.ts';
import type { Step } from '../support/scenario.ts';

const refusals: readonly (readonly [file: string, words: RegExp])[] = [
  ['bad-schema.yaml', /`observe-plaintext` ends some day: say `until` when/],
  [
    'bad-scope.yaml',
    /admission webhook "policies\.cellmesh\.io" denied the request: .*spec\.allow\[0\].*scope messages:reed is not in the catalogue of Cell cell-1/,
  ],
  ['bad-host.yaml', /admission webhook "policies\.cellmesh\.io" denied the request: .*server\.e2e-apply-policy/],
];

/** What the schema sees the API server refuses by itself; what takes the other manifests, the webhook, in the linter's words. Nothing changes. */
export const step: Step = async (scenario) => {
  for (const [file, words] of refusals) {
    await assert.rejects(scenario.apply(file), ({ message }: Error) => {
      assert.match(message, words, file);
      return true;
    });
  }
  await callEcho(scenario, 'deployment/caller', `http://server.${scenario.namespace}:8080/hello`);
};
