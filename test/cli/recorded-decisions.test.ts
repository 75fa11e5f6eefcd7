import assert from 'node:assert/strict';
import { appendFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { type DecisionQuery, decisionsOnDisk, storedDecisions } from '#cli/recorded-decisions.ts';
import { exportsMax } from '#feeds/decision-log-service.ts';
import { DecisionRing } from '#feeds/decision-ring.ts';
import { type DecisionRecord, readStoredDecision } from '#policy/decision-record.ts';
import { systemClock } from '#runtime/clock.ts';
import { isCellmeshError } from '#runtime/errors.ts';
import { silentLogger } from '#runtime/logger.ts';
import { type DecisionLogServer, startDecisionLogServer } from '../support/decision-log-server.ts';
import { decisionRecord, denied } from '../support/decision-records.ts';
import { eventually } from '../support/eventually.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const record = (n: number) => decisionRecord(n, n % 10 === 3 ? denied : {});
const numbersOf = async (records: AsyncIterable<DecisionRecord>) =>
  (await Array.fromAsync(records)).map(({ id }) => Number(id.split('.')[1]));
const upTo = (count: number) => Array.from({ length: count }, (_, n) => n);

function store(server: DecisionLogServer, from: number, to: number): void {
  server.store.add(upTo(to - from).map((n) => readStoredDecision(JSON.stringify(record(from + n)))));
}

async function fillRing(directory: string, from: number, to: number): Promise<void> {
  await using ring = await DecisionRing.open({
    ...{ directory, clock: systemClock, logger: silentLogger, segments: 1000 },
    segmentBytes: 20_000,
  });
  for (let n = from; n < to; n++) ring.append(JSON.stringify(record(n)));
}

/** Both say the same of the same records. */
const sources = {
  'a control plane': async (use: (read: (query: DecisionQuery) => AsyncIterable<DecisionRecord>) => Promise<void>) => {
    await using server = await startDecisionLogServer();
    store(server, 0, 1_234);
    using client = server.client('admin');
    await use((query) => storedDecisions([client], query));
  },
  'rings on disk': async (use: (read: (query: DecisionQuery) => AsyncIterable<DecisionRecord>) => Promise<void>) => {
    await using directory = await temporaryDirectory();
    await fillRing(join(directory.path, 'api/decisions'), 0, 700);
    await fillRing(join(directory.path, 'web/decisions'), 700, 1_234);
    await use((query) => decisionsOnDisk(directory.path, query));
  },
};

for (const [name, withSource] of Object.entries(sources)) {
  test(`recorded decisions come from ${name} in their order, all or those that are meant`, async () => {
    await withSource(async (read) => {
      assert.deepEqual(await numbersOf(read({})), upTo(1_234));
      const [sinceMs, untilMs] = [100, 200].map((n) => Date.parse(record(n).time));
      assert.deepEqual(
        await numbersOf(read({ sinceMs, untilMs })),
        upTo(100).map((n) => 100 + n),
      );
      const denials = await Array.fromAsync(read({ denialsOnly: true }));
      assert.equal(denials.length, 124);
      assert.deepEqual(denials[0], record(3));
    });
  });
}

describe('the export of a control plane', () => {
  test('is for administrators alone', async () => {
    await using server = await startDecisionLogServer();
    using client = server.client('workload');
    await assert.rejects(numbersOf(storedDecisions([client], {})), (error) => isCellmeshError(error, 'rpc_denied'));
  });

  test('is for a few at a time', async () => {
    await using server = await startDecisionLogServer();
    store(server, 0, 50_000);
    using client = server.client('admin');
    const readers = Array.from({ length: exportsMax }, () => storedDecisions([client], {}));
    await Promise.all(readers.map((reader) => reader.next()));
    const oneMore = () => numbersOf(storedDecisions([client], { untilMs: 0 }));
    await assert.rejects(oneMore(), (error) => isCellmeshError(error, 'rpc_rate_limited'));
    await readers[0]!.return(undefined);
    await eventually(oneMore);
    await Promise.all(readers.map((reader) => reader.return(undefined)));
  });

  test('of an empty store ends at once', async () => {
    await using server = await startDecisionLogServer();
    using client = server.client('admin');
    assert.deepEqual(await numbersOf(storedDecisions([client], {})), []);
  });

  test('waits for its reader, and ends when that leaves', async () => {
    await using server = await startDecisionLogServer();
    store(server, 0, 50_000);
    using client = server.client('admin');
    let pages = 0;
    const { range } = server.store;
    server.store.range = (...page) => {
      pages++;
      return range.apply(server.store, page);
    };
    const records = storedDecisions([client], {});
    await records.next();
    let last = -1;
    await eventually(
      () => {
        const before = last;
        last = pages;
        assert.equal(last, before, 'it reads on');
      },
      5_000,
      200,
    );
    assert.ok(pages < 60, `${pages} of 100 pages were read for a reader of one record`);
    await records.return(undefined);
    const left = pages;
    assert.deepEqual((await numbersOf(storedDecisions([client], { denialsOnly: true }))).length, 5_000);
    assert.ok(pages - left <= 101, 'the page that was under way at most');
  });
});

describe('the export of several replicas', () => {
  test('is one, by time, and has once what two of them were told', async () => {
    await using one = await startDecisionLogServer();
    await using other = await startDecisionLogServer();
    await using empty = await startDecisionLogServer();
    store(one, 0, 700);
    store(other, 690, 1_234);
    one.store.add([readStoredDecision(JSON.stringify(record(1_234)))]);
    using clients = new DisposableStack();
    const all = [one, empty, other].map((server) => clients.use(server.client('admin')));
    assert.deepEqual(await numbersOf(storedDecisions(all, {})), upTo(1_235));
    const denials = await numbersOf(storedDecisions(all, { denialsOnly: true }));
    assert.deepEqual(
      denials,
      upTo(1_235).filter((n) => n % 10 === 3),
    );
  });

  test('fails as a whole when one cannot be asked, and ends the calls of the others', async () => {
    await using one = await startDecisionLogServer();
    await using other = await startDecisionLogServer();
    store(one, 0, 700);
    using clients = new DisposableStack();
    const all = [clients.use(one.client('admin')), clients.use(other.client('workload'))];
    await assert.rejects(numbersOf(storedDecisions(all, {})), (error) => isCellmeshError(error, 'rpc_denied'));
  });
});

describe('rings', () => {
  test('with torn, foreign and endless lines give what is whole', async () => {
    await using directory = await temporaryDirectory();
    await mkdir(join(directory.path, 'decisions'));
    const file = join(directory.path, 'decisions/decisions-00000001.jsonl');
    await writeFile(file, `${JSON.stringify(record(1))}\nno record\n${'x'.repeat(700_000)}`);
    await appendFile(file, `${'y'.repeat(300_000)}\n${JSON.stringify(record(2))}\n{"schema":1,"id":"x`);
    assert.deepEqual(await numbersOf(decisionsOnDisk(directory.path, {})), [1, 2]);
  });

  test('must be there', async () => {
    await using directory = await temporaryDirectory();
    await assert.rejects(numbersOf(decisionsOnDisk(directory.path, {})), (error) =>
      isCellmeshError(error, 'not_found'),
    );
  });
});
