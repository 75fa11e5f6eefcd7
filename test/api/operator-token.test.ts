import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Metadata } from '@grpc/grpc-js';
import fc from 'fast-check';
import { ApiClient } from '#api/api-client.ts';
import { served, startApiServer } from '#api/api-server.ts';
import { ControlPlane } from '#api/generated/cellmesh/controlplane/v1/control_plane_pb.ts';
import { DecisionLog } from '#api/generated/cellmesh/policy/v1/decision_log_pb.ts';
import { bearerTokenOf, type OperatorVerdict, takesTokens, tokenCharactersMax } from '#api/operator-token.ts';
import { rpcTable } from '#api/rpc-table.ts';
import { controlPlaneId } from '#certs/reserved-ids.ts';
import { parseTrustDomain } from '#certs/spiffe-id.ts';
import { systemClock } from '#runtime/clock.ts';
import { CellmeshError } from '#runtime/errors.ts';
import { Secret } from '#runtime/secret.ts';
import { WatchSource } from '#runtime/watch.ts';
import { eventually } from '../support/eventually.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { logLines } from '../support/log-lines.ts';
import { testAuthority } from '../support/test-authority.ts';

const own = parseTrustDomain('cell-1.example.com');
const refused: OperatorVerdict = { isAllowed: false, reason: 'ann may not', told: { operator: 'ann' } };

/** A server that knows operators by whatever `authorize` says, and a client with a token. */
async function startSetting(
  authorize: (token: Secret<string>, permission: string) => Promise<OperatorVerdict>,
  waitMs: (key: string) => number = () => 0,
) {
  const clock = new FakeClock(Date.now());
  const lines = logLines();
  const authority = await testAuthority(systemClock);
  const svid = await authority.issue(controlPlaneId(own));
  const ended: unknown[] = [];
  const unused = async () => assert.fail('nobody calls this');
  const server = await startApiServer({
    ...{ host: '127.0.0.1', port: 0, domains: { own, global: parseTrustDomain('example.com') } },
    ...{ clock, logger: lines.logger, onRefused: () => {}, operators: { authorize } },
    identity: new WatchSource({ svid, bundles: authority.bundles }),
    rateLimiter: { take: (_, key) => waitMs(key) },
    services: [
      served(ControlPlane, {
        createJoinToken: unused,
        getStatus: async (_, { operator = '' }) => ({ cellId: operator }),
      }),
      served(DecisionLog, {
        report: () => assert.fail('nobody calls this'),
        find: unused,
        follow(_, stream, { operator = '' }) {
          stream.onEnd((error) => ended.push(error));
          stream.send({ records: [operator] });
        },
        export: () => assert.fail('nobody calls this'),
      }),
    ],
  });
  const client = new ApiClient({
    ...server.address,
    expect: controlPlaneId(own),
    identity: new WatchSource({ bundles: authority.bundles }),
    token: new Secret('a.b.c'),
    clock: systemClock,
  });
  return {
    ...{ client, clock, ended, lines },
    async [Symbol.asyncDispose]() {
      client[Symbol.dispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

test('a token is asked about with the permission of the call, which goes on as its owner', async () => {
  const asked: [string, string][] = [];
  await using setting = await startSetting(async (token, permission) => {
    asked.push([token.reveal(), permission]);
    return { isAllowed: true, name: 'ann' };
  });
  assert.equal((await setting.client.call(ControlPlane.method.getStatus, {})).cellId, 'ann');
  assert.deepEqual(asked, [['a.b.c', 'status.read']]);
});

test('a stream ends within a minute of its caller’s right to it', async () => {
  let verdict: OperatorVerdict = { isAllowed: true, name: 'ann' };
  let asked = 0;
  await using setting = await startSetting(async () => {
    asked++;
    return verdict;
  });
  const stream = setting.client.follow(DecisionLog.method.follow, {});
  const heard: string[] = [];
  let end: Error | undefined;
  stream.onMessage(({ records }) => heard.push(...records));
  stream.onEnd((error) => {
    end = error;
  });
  await eventually(() => assert.deepEqual(heard, ['ann']));
  await setting.clock.advance(60_000);
  assert.equal(asked, 2);
  assert.equal(end, undefined);
  verdict = refused;
  await setting.clock.advance(59_999);
  assert.equal(asked, 2);
  await setting.clock.advance(1);
  await eventually(() => assert.equal((end as CellmeshError | undefined)?.code, 'rpc_denied'));
  assert.equal(setting.ended.length, 1, 'whoever sends hears of the end');
});

test('a stream that has ended is asked about no more', async () => {
  let asked = 0;
  await using setting = await startSetting(async () => {
    asked++;
    return { isAllowed: true, name: 'ann' };
  });
  const stream = setting.client.follow(DecisionLog.method.follow, {});
  await new Promise<void>((resolve) => stream.onMessage(() => resolve()));
  stream.end();
  await eventually(() => assert.equal(setting.ended.length, 1));
  await setting.clock.advance(3 * 60_000);
  assert.equal(asked, 1);
});

test('calls with tokens are limited by address before anybody is asked, and by name after', async () => {
  const keys: string[] = [];
  let limited = /^nothing$/;
  let asked = 0;
  await using setting = await startSetting(
    async () => {
      asked++;
      return { isAllowed: true, name: 'ann' };
    },
    (key) => {
      keys.push(key);
      return limited.test(key) ? 10 : 0;
    },
  );
  const call = () => setting.client.call(ControlPlane.method.getStatus, {});
  await call();
  assert.deepEqual(keys, ['token 127.0.0.1', 'operate token ann']);
  const isLimited = (error: unknown) => error instanceof CellmeshError && error.code === 'rpc_rate_limited';
  limited = /^token /;
  await assert.rejects(call(), isLimited);
  assert.equal(asked, 1);
  limited = /^operate /;
  await assert.rejects(call(), isLimited);
});

test('an authenticator that fails lets nobody in, and says nothing of its inside', async () => {
  await using setting = await startSetting(async () => {
    throw new Error('secret of the inside');
  });
  await assert.rejects(setting.client.call(ControlPlane.method.getStatus, {}), (error) => {
    assert.ok(error instanceof CellmeshError);
    assert.equal(error.code, 'rpc_internal');
    assert.doesNotMatch(error.message, /secret/);
    return true;
  });
});

describe('the metadata `authorization`', () => {
  const read = (...values: string[]) => {
    const metadata = new Metadata();
    for (const value of values) metadata.add('authorization', value);
    return bearerTokenOf(metadata);
  };

  test('is one bearer token, or none, or malformed', () => {
    assert.equal(read(), undefined);
    for (const [value, expected] of [
      ['Bearer a.b-c_d~e+f/g==', 'a.b-c_d~e+f/g=='],
      ['bearer x', 'x'],
      [`Bearer ${'x'.repeat(tokenCharactersMax - 7)}`, 'x'.repeat(tokenCharactersMax - 7)],
    ] as const) {
      const token = read(value);
      assert.ok(token instanceof Secret);
      assert.equal(token.reveal(), expected);
    }
    const bad = ['', 'Bearer', 'Bearer ', 'Bearer  x', 'Bearer x y', 'Basic eDp5', 'Bearer x=y', 'Bearer =', 'x'];
    for (const value of [...bad, `Bearer ${'x'.repeat(tokenCharactersMax - 6)}`])
      assert.equal(read(value), 'malformed');
    assert.equal(read('Bearer x', 'Bearer y'), 'malformed');
  });

  test('gives nothing but a token whose characters are those of RFC 6750, whatever comes', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary-ascii' }), fc.string()), (text) => {
        for (const value of [text, `Bearer ${text}`]) {
          let token: ReturnType<typeof read>;
          try {
            token = read(value);
          } catch {
            // What cannot be metadata does not come.
            continue;
          }
          if (token instanceof Secret) assert.match(`${value.slice(7)}`, /^[A-Za-z0-9._~+/-]+=*$/);
          else assert.equal(token, 'malformed');
        }
      }),
    );
  });
});

test('every RPC of an operator takes tokens, and none that works on an SVID', () => {
  const taking = Object.entries(rpcTable).filter(([, rule]) => takesTokens(rule));
  for (const [name, { callers }] of taking) assert.deepEqual(callers, ['admin'], name);
  const others = Object.entries(rpcTable).filter(([, rule]) => rule.callers.includes('admin') && !takesTokens(rule));
  assert.deepEqual(
    others.map(([name]) => name),
    ['cellmesh.certs.v1.SvidIssuer/Renew'],
  );
});
