import assert from 'node:assert/strict';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import type { ApiClient } from '#api/api-client.ts';
import { DecisionQueue, waitingRecordsMax } from '#feeds/decision-queue.ts';
import { batchRecordsMax, DecisionReporter } from '#feeds/decision-reporter.ts';
import { DecisionRing } from '#feeds/decision-ring.ts';
import { isFailedRecord } from '#policy/failed-record.ts';
import { systemClock as clock } from '#runtime/clock.ts';
import { silentLogger } from '#runtime/logger.ts';
import { systemRandom } from '#runtime/random.ts';
import { type DecisionLogServer, startDecisionLogServer } from '../support/decision-log-server.ts';
import { decisionRecord, denied } from '../support/decision-records.ts';
import { eventually } from '../support/eventually.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

/** Tests do not wait for the jitter of a fleet. */
const random = { bytes: systemRandom.bytes, fraction: () => 0.01 };

/** A process that decides: ring and reporter, as a sidecar has them. */
class Decider implements AsyncDisposable {
  readonly ring: DecisionRing;
  readonly reporter: DecisionReporter;
  readonly #client: ApiClient;

  private constructor(ring: DecisionRing, client: ApiClient) {
    this.ring = ring;
    this.#client = client;
    this.reporter = new DecisionReporter({
      ...{ client, ring, isFailure: isFailedRecord },
      ...{ clock, random, logger: silentLogger },
    });
  }

  static async start(segments = 64): Promise<Decider> {
    const ring = await DecisionRing.open({ directory, clock, logger: silentLogger, segmentBytes: 1_000_000, segments });
    return new Decider(ring, server.client('workload'));
  }

  /** As the sinks do. The ring gets time to write, as it has between requests. */
  async decide(from: number, to: number, isDenial: boolean): Promise<void> {
    for (let n = from; n < to; n++) {
      const line = JSON.stringify(decisionRecord(n, isDenial ? denied : {}));
      this.ring.append(line);
      this.reporter.report(line, isDenial ? 'failure' : 'permit');
      if (n % 1_000 === 999) await this.ring.flush();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.reporter[Symbol.asyncDispose]();
    await this.ring[Symbol.asyncDispose]();
    this.#client[Symbol.dispose]();
  }
}

let server: DecisionLogServer;
let directory: string;
let stack: AsyncDisposableStack;

const allStored = (count: number) => eventually(() => assert.equal(server.store.count(), count), 15_000, 20);
const mark = async () => readFile(join(directory, 'reported.json'), 'utf8').then(JSON.parse);

describe('denials are reported all the same', () => {
  beforeEach(async () => {
    stack = new AsyncDisposableStack();
    directory = stack.use(await temporaryDirectory()).path;
    server = stack.use(await startDecisionLogServer());
  });
  afterEach(() => stack.disposeAsync());

  test('when more were made while nobody could be told than memory holds, and new ones wait for none of them', async () => {
    await using decider = await Decider.start();
    await decider.decide(0, 10, true);
    await allStored(10);
    await server.stop();
    await decider.decide(10, 30_010, true);
    assert.ok(decider.reporter.waiting <= waitingRecordsMax + batchRecordsMax);
    assert.ok(decider.reporter.isBehind);
    await server.start();
    let newest = 0;
    await eventually(
      async () => {
        await decider.decide(40_000 + newest, 40_001 + newest, false);
        newest++;
        assert.ok(server.store.find(decisionRecord(40_000).id), 'a permit of now comes in between');
      },
      10_000,
      20,
    );
    assert.ok(server.store.count() < 30_010, 'before all that is old');
    await allStored(30_010 + newest);
    assert.ok(decider.reporter.recovered >= 20_000);
    await eventually(() => assert.equal(decider.reporter.isBehind, false));
    assert.equal(decider.reporter.dropped, 0);
  });

  test('when the process ended before it could tell, and a permit is not', async () => {
    await server.stop();
    {
      await using decider = await Decider.start();
      await decider.decide(0, 2_000, true);
      await decider.decide(2_000, 2_100, false);
    }
    await server.start();
    await using decider = await Decider.start();
    await decider.decide(3_000, 3_001, true);
    await allStored(2_001);
    assert.equal(decider.reporter.recovered >= 2_000, true);
  });

  test('once: what was acknowledged is not read again by the next process', async () => {
    {
      await using decider = await Decider.start();
      await decider.decide(0, 3_000, true);
      await allStored(3_000);
      await eventually(() => assert.equal(decider.reporter.waiting, 0));
    }
    const { segment, offset } = await mark();
    assert.ok(segment >= 1 && offset > 0);
    {
      await using decider = await Decider.start();
      await eventually(() => assert.equal(decider.reporter.isBehind, false));
      assert.equal(decider.reporter.recovered, 0);
    }
    await rm(join(directory, 'reported.json'));
    await using again = await Decider.start();
    await eventually(() => assert.equal(again.reporter.isBehind, false));
    assert.equal(again.reporter.recovered, 3_000, 'without a mark all of them, which are stored once');
    assert.equal(server.store.count(), 3_000);
  });

  test('as far as they fit the ring: what is gone from it is gone', async () => {
    await server.stop();
    await using decider = await Decider.start(4);
    await decider.decide(0, 30_000, true);
    await server.start();
    await eventually(() => assert.ok(!decider.reporter.isBehind && decider.reporter.waiting === 0), 15_000);
    assert.ok(server.store.count() > 10_000 && server.store.count() < 30_000);
    assert.ok(server.store.find(decisionRecord(29_999).id));
    assert.ok(server.store.find(decisionRecord(25_000).id));
  });
});

describe('what waits in memory', () => {
  const fill = (queue: DecisionQueue, count: number, kind: 'failure' | 'permit' | 'sighting') => {
    let hasLost = false;
    for (let n = 0; n < count; n++) hasLost = queue.add(`${kind} ${n}`, kind) || hasLost;
    return hasLost;
  };

  test('gives room first from what is on disk, then from permits, at last from first sights', () => {
    const queue = new DecisionQueue();
    fill(queue, 10, 'sighting');
    fill(queue, 300, 'failure');
    assert.equal(fill(queue, waitingRecordsMax - 310, 'permit'), false);
    assert.equal(queue.length, waitingRecordsMax);
    assert.equal(fill(queue, 1, 'permit'), true);
    assert.deepEqual([queue.length, queue.dropped], [waitingRecordsMax - 499, 200]);
    assert.deepEqual(queue.take(11), [...Array.from({ length: 10 }, (_, n) => `sighting ${n}`), 'permit 200']);
  });
});
