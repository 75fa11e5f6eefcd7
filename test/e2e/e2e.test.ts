import { after, test } from 'node:test';
import { messageOf } from '#runtime/errors.ts';
import { findCluster } from './support/cluster.ts';
import { installMesh } from './support/mesh.ts';
import { closeScenario, openScenario, readFolders, runStep, stateOf } from './support/scenario.ts';

/** Each folder is a test, each step of it a subtest; after a step that fails the rest of its folder is not tried. */
const folders = await readFolders(process.env);
const cluster = await findCluster(process.env);

if ('skip' in cluster) {
  for (const { name } of folders) test(name, { skip: cluster.skip }, () => {});
} else if (folders.length > 0) {
  const mesh = await installMesh(cluster);
  after(() => mesh.remove());
  for (const folder of folders) {
    test(folder.name, async (context) => {
      const scenario = await openScenario(folder, cluster, mesh, (text) => context.diagnostic(text));
      try {
        for (const step of folder.steps) {
          let failure: unknown;
          await context.test(step.replace(/\.\w+$/, ''), async () => {
            await runStep(scenario, folder, step).catch((error) => {
              failure = error;
              throw error;
            });
          });
          if (failure === undefined) continue;
          context.diagnostic(await stateOf(scenario));
          throw new Error(`${step}: ${messageOf(failure)}`);
        }
      } finally {
        await closeScenario(scenario);
      }
    });
  }
}
