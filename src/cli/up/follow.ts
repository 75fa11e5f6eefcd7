import { join } from 'node:path';
import { DecisionLog } from '#api/generated/cellmesh/policy/v1/decision_log_pb.ts';
import { controlPlaneId, identityId } from '#certs/reserved-ids.ts';
import type { SpiffeId, TrustDomain } from '#certs/spiffe-id.ts';
import { decisionLine } from '#policy/decision-line.ts';
import { parseDecisionRecord } from '#policy/decision-record.ts';
import { sleep, systemClock } from '#runtime/clock.ts';
import type { Address } from '#runtime/config.ts';
import { messageOf } from '#runtime/errors.ts';
import { type Installation, region } from '../installation.ts';
import { adminClient } from '../operator.ts';

const againMs = 1_000;

/** Prints decisions as they are made, until disposed: the sidecars' come by the control plane, the router's by identity. */
export function followDecisions(
  { controlPlane, identity }: Installation,
  { json }: { readonly json?: boolean },
): AsyncDisposable {
  const abort = new AbortController();
  const show = (record: string) =>
    process.stdout.write(json ? `${record}\n` : `${decisionLine(parseDecisionRecord(record))}\n`);
  const follow = async (
    { listen, stateDir }: { listen: Address; stateDir: string },
    expectIn: (trustDomain: TrustDomain) => SpiffeId,
  ) => {
    while (!abort.signal.aborted) {
      await followOnce(join(stateDir, 'admin'), listen, expectIn, show, abort.signal).catch((error: unknown) => {
        process.stderr.write(
          `  ! decisions of ${listen.host}:${listen.port} cannot be followed: ${messageOf(error)}\n`,
        );
      });
      await sleep(systemClock, againMs, abort.signal).catch(() => {});
    }
  };
  const following = Promise.all([
    follow(controlPlane, controlPlaneId),
    follow(identity, (trustDomain) => identityId(trustDomain, region)),
  ]);
  return {
    async [Symbol.asyncDispose]() {
      abort.abort();
      await following;
    },
  };
}

/** Resolves when the stream has ended, for whatever reason. */
async function followOnce(
  directory: string,
  at: Address,
  expectIn: (trustDomain: TrustDomain) => SpiffeId,
  show: (record: string) => void,
  signal: AbortSignal,
): Promise<void> {
  using client = await adminClient(directory, at, expectIn);
  const stream = client.follow(DecisionLog.method.follow, {});
  await new Promise<void>((resolve) => {
    signal.addEventListener('abort', () => stream.end(), { once: true });
    stream.onMessage(({ records }) => {
      for (const record of records) show(record);
    });
    stream.onEnd(() => resolve());
    if (signal.aborted) stream.end();
  });
}
