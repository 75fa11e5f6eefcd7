import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { assertNothingLeaks } from '../support/assert-nothing-leaks.ts';
import { eventually } from '../support/eventually.ts';
import { freePort } from '../support/free-port.ts';
import { betweenHost, type SidecarPair, startSidecarPair } from '../support/sidecar-pair.ts';
import { goProgram } from './parts.ts';
import { type BodyApplication, bodyOf, startBodyApplication } from './support/body-application.ts';
import { type Outcome, post } from './support/post.ts';
import { startToxiproxy, type Toxic, type Toxiproxy } from './support/toxiproxy.ts';

/** Faults of the network, by a proxy that makes them (github.com/Shopify/toxiproxy). */
const program = await goProgram('github.com/Shopify/toxiproxy/v2/cmd/server', 'v2.5.0');

const places = ['between', 'application'] as const;
type Place = (typeof places)[number];
const directions = ['upstream', 'downstream'] as const;
const sizes = [0, 1, 20_000, 20_000, 300_000];
const bodies = sizes.map(bodyOf);
/** Those that leave in one go, whoever reads them or not. */
const small = bodies.slice(0, -1);

type Fault = Omit<Toxic, 'stream'>;
/** Slows things down. */
const harmless: readonly Fault[] = [
  { type: 'latency', attributes: { latency: 100, jitter: 50 } },
  { type: 'slicer', attributes: { average_size: 100, size_variation: 50, delay: 10 } },
  { type: 'bandwidth', attributes: { rate: 400 } },
];
/** Nothing comes through. */
const deadly: readonly (Fault & { readonly expected: Readonly<Record<Place, RegExp>> })[] = [
  {
    type: 'reset_peer',
    attributes: { timeout: 0 },
    expected: { between: /^50[23] upstream_(failed|unreachable)$/, application: /^502 upstream_failed$/ },
  },
  {
    type: 'timeout',
    attributes: { timeout: 0 },
    expected: { between: /^(503 upstream_unreachable|504 upstream_timeout)$/, application: /^504 upstream_timeout$/ },
  },
  {
    type: 'timeout',
    attributes: { timeout: 100 },
    expected: { between: /^50[23] upstream_(failed|unreachable)$/, application: /^502 upstream_failed$/ },
  },
];

describe('faults of the network', 'skip' in program ? { skip: program.skip } : {}, () => {
  let application: BodyApplication;
  let toxiproxy: Toxiproxy;
  let pair: SidecarPair;

  before(async () => {
    assert.ok('path' in program);
    application = await startBodyApplication();
    toxiproxy = await startToxiproxy(program.path);
    const applicationPort = await freePort();
    await toxiproxy.addProxy('application', `127.0.0.1:${applicationPort}`, `127.0.0.1:${application.port}`);
    pair = await startSidecarPair({
      applicationPort,
      protocol: 'http',
      isBetween: true,
      call: ', timeouts: { connect: 1s, head: 3s, idle: 3s }',
      flags: { 'response-timeout': '2s' },
    });
    const { inbound } = pair.callee;
    await toxiproxy.addProxy('between', `${betweenHost}:${inbound}`, `127.0.0.1:${inbound}`);
    await recovered();
  });

  after(async () => {
    await application?.[Symbol.asyncDispose]();
    await pair?.[Symbol.asyncDispose]();
    await toxiproxy?.[Symbol.asyncDispose]();
  });

  const isWhole = ({ status, isComplete, body }: Outcome, sent: Buffer) =>
    status === 200 && isComplete && body.equals(sent);

  async function sendAll(sent: readonly Buffer[] = bodies): Promise<Outcome[]> {
    const outcomes = await Promise.all(sent.map((body) => post(pair.port, '/echo', body)));
    for (const [i, outcome] of outcomes.entries()) assertHonest(outcome, sent[i]!);
    return outcomes;
  }

  /** What is said to be complete is right, or is a failure with its reason. */
  function assertHonest(outcome: Outcome, sent: Buffer): void {
    const { status, isComplete, reason } = outcome;
    if (!isComplete || isWhole(outcome, sent)) return;
    assert.match(`${status} ${reason}`, /^(502 upstream_failed|503 upstream_unreachable|504 upstream_timeout)$/);
  }

  async function assertAllWhole(): Promise<void> {
    const outcomes = await sendAll();
    assert.deepEqual(
      outcomes.map((outcome, i) => isWhole(outcome, bodies[i]!)),
      sizes.map(() => true),
    );
  }

  async function recovered(): Promise<void> {
    await toxiproxy.cure();
    await eventually(assertAllWhole);
  }

  afterEach(() => toxiproxy?.cure());

  for (const place of places) {
    for (const stream of directions) {
      for (const fault of harmless) {
        test(`${fault.type} ${place}, ${stream}: everything arrives as it was`, { timeout: 60_000 }, async () => {
          await toxiproxy.poison(place, { ...fault, stream });
          await assertAllWhole();
          await recovered();
        });
      }

      for (const { expected, ...fault } of deadly) {
        test(`${fault.type} of ${fault.attributes['timeout']} ms ${place}, ${stream}: a reason, and it works again afterwards`, {
          timeout: 60_000,
        }, async () => {
          await toxiproxy.poison(place, { ...fault, stream });
          for (const { status, reason } of await sendAll(small)) assert.match(`${status} ${reason}`, expected[place]);
          await recovered();
        });
      }

      test(`limit_data ${place}, ${stream}: nothing that is cut off passes for whole`, {
        timeout: 60_000,
      }, async () => {
        await toxiproxy.poison(place, { type: 'limit_data', stream, attributes: { bytes: 30_000 } });
        const outcomes = await sendAll();
        assert.equal(isWhole(outcomes.at(-1)!, bodies.at(-1)!), false, '300,000 bytes passed a limit of 30,000');
        await recovered();
      });
    }
  }

  test('a request whose body waits for a peer that has fallen silent ends when that answers no PING', {
    timeout: 60_000,
  }, async () => {
    await toxiproxy.poison('between', { type: 'timeout', stream: 'downstream', attributes: { timeout: 0 } });
    const [outcome] = await sendAll([bodyOf(300_000)]);
    assert.deepEqual([outcome?.status, outcome?.reason], [502, 'upstream_failed']);
    await recovered();
  });

  test('nothing of it is left', { timeout: 300_000 }, async () => {
    const round = async () => {
      for (const place of places) {
        for (const fault of [deadly[0]!, { type: 'limit_data', attributes: { bytes: 30_000 } } as const]) {
          const { type, attributes } = fault;
          await toxiproxy.poison(place, { type, attributes, stream: 'downstream' });
          await sendAll();
          await recovered();
        }
      }
    };
    await assertNothingLeaks(pair, round, 40);
  });
});
