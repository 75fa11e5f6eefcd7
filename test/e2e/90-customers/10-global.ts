import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { openWebCertificate } from '#certs/web-certificate.ts';
import { systemClock } from '#runtime/clock.ts';
import { systemRandom } from '#runtime/random.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';
import type { Step } from '../support/scenario.ts';

/** Identity with its volume and a router, by `cellmesh install global`. */
export const step: Step = async (scenario) => {
  const { kubectl, image } = scenario.cluster;
  const classes = await kubectl(['get', 'storageclasses', '-o', 'name']);
  if (classes === '') {
    // Of a run that was broken off.
    await kubectl(['delete', 'persistentvolume', 'cellmesh-e2e-identity', '--ignore-not-found']);
    await scenario.apply('volume.yaml');
    await scenario.kubectl('wait', '--for=jsonpath={.status.phase}=Succeeded', 'pod/volume', '--timeout=60s');
  }
  await using directory = await temporaryDirectory();
  const path = join(directory.path, 'web');
  await mkdir(path);
  const dependencies = { clock: systemClock, random: systemRandom };
  const web = await openWebCertificate({ directory: path, names: ['api.e2e.example'], addresses: [], ...dependencies });
  await kubectl(['create', 'namespace', 'cellmesh-global']);
  const secret = ['create', 'secret', 'tls', 'cellmesh-router-tls'];
  const files = [`--cert=${web.certificateFile}`, `--key=${web.keyFile}`];
  await kubectl(['-n', 'cellmesh-global', ...secret, ...files]);
  const authority = await readFile(web.authorityFile, 'utf8');
  await scenario.kubectl('create', 'configmap', 'web', `--from-literal=authority.pem=${authority}`);
  const values = {
    ...{ 'image.name': image, trustDomain: 'e2e.example', tokenIssuer: 'https://identity.e2e.example' },
    ...{ 'router.replicas': '1', 'router.service.type': 'ClusterIP' },
  };
  const flags = Object.entries(values).flatMap(([name, value]) => ['--set', `${name}=${value}`]);
  // Without --wait: routers are ready when they know a cell.
  await scenario.mesh.cellmesh('install', 'global', '--apply', ...flags);
  await kubectl(['-n', 'cellmesh-global', 'rollout', 'status', 'statefulset/cellmesh-identity', '--timeout=90s']);
};
