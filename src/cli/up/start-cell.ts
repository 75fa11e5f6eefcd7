import { connect } from 'node:net';
import { join } from 'node:path';
import { fetch } from 'undici';
import { ControlPlane } from '#api/generated/cellmesh/controlplane/v1/control_plane_pb.ts';
import { IdentityAdmin } from '#api/generated/cellmesh/identity/v1/identity_pb.ts';
import { rootStoreIn } from '#certs/open-authority.ts';
import { writePrivateFile } from '#certs/private-file.ts';
import { routerId } from '#certs/reserved-ids.ts';
import { refuseExpired, remedyOf } from '#certs/root-holder.ts';
import { openRoots } from '#certs/root-keeper.ts';
import { nextRoot } from '#certs/root-rotation.ts';
import { activeRoot, bundleOf } from '#certs/roots.ts';
import type { SpiffeId } from '#certs/spiffe-id.ts';
import { readSvid } from '#certs/svid.ts';
import { serializeTrustBundle, type TrustBundle } from '#certs/trust-bundle.ts';
import { openWebCertificate } from '#certs/web-certificate.ts';
import { systemClock } from '#runtime/clock.ts';
import type { Address } from '#runtime/config.ts';
import { messageOf } from '#runtime/errors.ts';
import { systemRandom } from '#runtime/random.ts';
import {
  cellId,
  globalTrustDomain,
  type Installation,
  region,
  type ServicePlan,
  trustDomain,
} from '../installation.ts';
import { atControlPlane, atIdentity } from '../operator.ts';
import { type Demo, ensureDemo } from './demo-account.ts';
import { firstCall } from './first-call.ts';
import { applicationSpec, roleSpec } from './process-specs.ts';
import type { Progress } from './progress.ts';
import { type ProcessSpec, SupervisedProcess } from './supervised-process.ts';

/** What runs, and how to get in. */
export interface StartedCell {
  readonly demo: Demo;
  /** Edge authority that customers' clients trust. */
  readonly edgeAuthority: string;
  readonly processes: readonly SupervisedProcess[];
}

const readyMsMax = 60_000;
/** An SVID that ends sooner is not worth a start without a join token. */
const svidRemainderMsMin = 10 * 60_000;

/**
 * Starts the processes in the order in which they need each other, those who are called before those who call, and gives each what it needs
 * for its first trust. They end in the opposite order, with `stack`: the edge first, so that nothing in flight is cut off; then all services at once,
 * each application before its sidecar, which keeps the way out open as long as there is one.
 */
export async function startCell(
  installation: Installation,
  progress: Progress,
  stack: AsyncDisposableStack,
): Promise<StartedCell> {
  const { services, router, controlPlane, identity } = installation;
  const options = { state: installation.stateDir, region };
  const processes: SupervisedProcess[] = [];
  const start = (spec: ProcessSpec, owner = stack): SupervisedProcess => {
    const events = {
      onWarning: (name: string, text: string) => progress.say(`  ! ${name}: ${text}`),
      onRestart: (name: string, text: string) => progress.say(`  ! ${name} ${text}`),
    };
    const child = new SupervisedProcess(spec, events, systemClock);
    owner.defer(() => child.stop());
    processes.push(child);
    return child;
  };
  progress.say(`Starting a cell; its state is in ${installation.stateDir}`);

  await progress.step('identity', async () => {
    const child = start(await roleSpec('identity', installation));
    await child.whenReady(() => readiness(identity.health), readyMsMax);
  });
  await progress.step('control plane', async () => {
    // Before its first word to identity, so that it is no stranger there.
    const cell = {
      cellId,
      trustDomain,
      trustBundle: serializeTrustBundle(await cellBundle(installation)),
      controlPlaneHost: controlPlane.listen.host,
      controlPlanePort: controlPlane.listen.port,
    };
    await atIdentity(options, (client) => client.call(IdentityAdmin.method.registerCell, { cell }));
    const child = start(await roleSpec('control-plane', installation));
    await child.whenReady(() => readiness(controlPlane.health), readyMsMax);
  });
  const pair = endingTogether(stack);
  for (const service of services.toReversed()) {
    await progress.step(`${service.name}, and its sidecar`, async () => {
      await ensureJoinToken(service.stateDir, () => createJoinToken(service.id, options));
      const owner = pair();
      const sidecar = start(await roleSpec('sidecar', installation, service), owner);
      const application = start(applicationSpec(service, installation), owner);
      await application.whenReady(() => openness(service), readyMsMax);
      await sidecar.whenReady(() => readiness(service.health), readyMsMax);
    });
  }
  const edge = await progress.step('router', async () => {
    const certificate = await edgeCertificate(router.edgeDir);
    const request = { spiffeId: routerId(globalTrustDomain, region, router.instance) };
    await ensureJoinToken(router.stateDir, () =>
      atIdentity(options, (client) => client.call(IdentityAdmin.method.createRouterJoinToken, request)),
    );
    const child = start(await roleSpec('router', installation));
    await child.whenReady(() => readiness(router.health), readyMsMax);
    return certificate;
  });
  const demo = await ensureDemo(installation);
  const edgeAuthority = edge.authorityFile;
  await progress.step("a customer's call through all of them", () => firstCall({ installation, demo, edgeAuthority }));
  return { demo, edgeAuthority, processes };
}

function edgeCertificate(directory: string) {
  return openWebCertificate({
    directory,
    names: ['localhost', globalTrustDomain, `*.${globalTrustDomain}`],
    addresses: ['127.0.0.1', '::1'],
    clock: systemClock,
    random: systemRandom,
  });
}

/** Makes stacks that end with `stack`, all at once. */
function endingTogether(stack: AsyncDisposableStack): () => AsyncDisposableStack {
  const made: AsyncDisposableStack[] = [];
  stack.defer(async () => void (await Promise.all(made.map((one) => one.disposeAsync()))));
  return () => {
    const one = new AsyncDisposableStack();
    made.push(one);
    return one;
  };
}

/** The roots of the cell. The first start makes the root that the control plane will find. */
async function cellBundle({ controlPlane }: Installation): Promise<TrustBundle> {
  const store = rootStoreIn(controlPlane.stateDir, trustDomain);
  const surroundings = { trustDomain, clock: systemClock, random: systemRandom };
  const { roots } = await openRoots({ store, ...surroundings });
  if (nextRoot(roots) === undefined) refuseExpired(activeRoot(roots).certificate, surroundings, remedyOf(store));
  return bundleOf(roots);
}

function createJoinToken(spiffeId: SpiffeId, options: { state: string; region: string }) {
  return atControlPlane(options, (client) => client.call(ControlPlane.method.createJoinToken, { spiffeId }));
}

/** A process that has an SVID needs no token; one that has none, or an old one, is given a new token. */
async function ensureJoinToken(stateDir: string, create: () => Promise<{ joinToken: string }>): Promise<void> {
  try {
    await readSvid(join(stateDir, 'svid'), systemClock.now() + svidRemainderMsMin);
  } catch {
    const { joinToken } = await create();
    await writePrivateFile(join(stateDir, 'join-token'), `${joinToken}\n`);
  }
}

/** Undefined when it is ready, else what it waits for. */
async function readiness({ host, port }: Address): Promise<string | undefined> {
  try {
    const response = await fetch(`http://${host}:${port}/readyz`);
    const { reasons } = (await response.json()) as { reasons: readonly string[] };
    return reasons.length === 0 ? undefined : reasons.join('; ');
  } catch (error) {
    return `${host}:${port} does not answer: ${messageOf(error)}`;
  }
}

function openness({ application }: ServicePlan): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect(application, () => {
      socket.destroy();
      resolve(undefined);
    });
    socket.once('error', (error) => resolve(error.message));
  });
}
