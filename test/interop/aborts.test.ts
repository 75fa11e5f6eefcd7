import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { assertNothingLeaks } from '../support/assert-nothing-leaks.ts';
import { eventually } from '../support/eventually.ts';
import { type SidecarPair, startSidecarPair } from '../support/sidecar-pair.ts';
import {
  type BreakingApplication,
  type BreakPhase,
  bodyBytes,
  breakKinds,
  breakPhases,
  startBreakingApplication,
} from './support/breaking-application.ts';
import { leave, leaveKinds, leavePhases } from './support/leaving-clients.ts';
import { post } from './support/post.ts';

/** A leak of one object a time shows as that many. */
const repeats = 60;
const drainMs = 60_000;
const body = Buffer.alloc(bodyBytes, 'y');

let application: BreakingApplication;
let pair: SidecarPair;

before(async () => {
  application = await startBreakingApplication();
  const flags = { drain: `${drainMs}ms` };
  pair = await startSidecarPair({ applicationPort: application.port, protocol: 'http', flags });
});

after(async () => {
  await application?.[Symbol.asyncDispose]();
  await pair?.[Symbol.asyncDispose]();
});

const send = (path: string) => post(pair.port, path, body);

async function assertServes(): Promise<void> {
  const { status, isComplete, body: received } = await send('/whole');
  assert.deepEqual([status, isComplete, received.length], [200, true, bodyBytes]);
}

/** Buffers for writing are kept for the next time, as many as were in use at once: four rounds at once need more than any round by itself. */
async function assertRoundLeavesNothing(round: () => Promise<void>): Promise<void> {
  await Promise.all([round(), round(), round(), round()]);
  await assertNothingLeaks(pair, round, repeats);
}

describe('an application that breaks off', { timeout: 300_000 }, () => {
  const inResponse: readonly BreakPhase[] = ['in-response-length', 'in-response-chunks'];
  for (const phase of breakPhases) {
    for (const kind of breakKinds) {
      const expected = inResponse.includes(phase) ? 'a response that is cut off, never whole' : 'a 502 with its reason';
      test(`${phase}, ${kind}: ${expected}`, async () => {
        const { status, isComplete, reason } = await send(`/${phase}/${kind}`);
        // A reset may overtake what was sent before it, the head too.
        if (inResponse.includes(phase) && !(status === 502 && kind === 'reset')) assert.equal(isComplete, false);
        else {
          assert.deepEqual([status, isComplete, reason], [502, true, 'upstream_failed']);
        }
        await assertServes();
      });
    }
  }

  test('leaves nothing behind', async () => {
    const paths = breakPhases.flatMap((phase) => breakKinds.map((kind) => `/${phase}/${kind}`));
    await assertRoundLeavesNothing(async () => void (await Promise.all(paths.map(send))));
    await assertServes();
  });
});

describe('a client that leaves', { timeout: 300_000 }, () => {
  for (const phase of leavePhases) {
    for (const kind of leaveKinds) {
      test(`${phase}, ${kind}: its application's connection ends too, others go on`, async () => {
        await assertServes();
        const { connections } = application;
        await leave(pair.port, phase, kind);
        await eventually(() => assert.ok(application.connections <= connections));
        await assertServes();
      });
    }
  }

  test('leaves nothing behind', async () => {
    const ways = leavePhases.flatMap((phase) => leaveKinds.map((kind) => [phase, kind] as const));
    await assertRoundLeavesNothing(
      async () => void (await Promise.all(ways.map(([phase, kind]) => leave(pair.port, phase, kind)))),
    );
    await assertServes();
  });
});

test('after all of that the sidecars end at once: nothing is in flight', { timeout: 2 * drainMs }, async () => {
  await application[Symbol.asyncDispose]();
  assert.ok((await pair.callee.stop()) < drainMs / 2, 'the callee waited for a stream');
  assert.ok((await pair.caller.stop()) < drainMs / 2, 'the caller waited for a stream');
});
