import assert from 'node:assert/strict';
import { eventually } from '../../support/eventually.ts';
import type { Scenario } from './scenario.ts';

export interface Answer {
  /** Undefined when there was no answer; then `error` says why. */
  readonly status?: number;
  readonly error?: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** What the test application says: what it received, and in which pod. */
export interface Echo {
  readonly pod?: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** A call of the application in a pod (`deployment/caller`), by the program that every image here has. */
export async function callFrom(scenario: Scenario, who: string, url: string, method = 'GET'): Promise<Answer> {
  const said = await scenario.kubectl('exec', who, '-c', 'app', '--', 'node', '/apps/call.mjs', url, method);
  return JSON.parse(said) as Answer;
}

/** One that must be answered with 200 by the test application. */
export async function callEcho(scenario: Scenario, who: string, url: string): Promise<Echo> {
  const answer = await callFrom(scenario, who, url);
  assert.equal(answer.status, 200, JSON.stringify(answer));
  return JSON.parse(answer.body) as Echo;
}

/** Waits until all pods of a Deployment that are wanted are there and ready. */
export async function rolledOut(scenario: Scenario, name: string): Promise<void> {
  await scenario.kubectl('rollout', 'status', `deployment/${name}`, '--timeout=120s');
}

/** Values of one field of all pods with a label: `podField(scenario, 'app=server', '.status.podIP')`. */
export async function podFields(scenario: Scenario, label: string, field: string): Promise<string[]> {
  const path = `jsonpath={range .items[*]}{${field}}{"\\n"}{end}`;
  return (await scenario.kubectl('get', 'pods', '-l', label, '-o', path)).split('\n').filter((line) => line !== '');
}

/** What came of a load so far (`load.mjs`). */
export interface LoadCounts {
  readonly sent: number;
  readonly answered: number;
  readonly failed: number;
  readonly failures: Readonly<Record<string, number>>;
}

export async function loadCounts(scenario: Scenario): Promise<LoadCounts> {
  const { body } = await callFrom(scenario, 'deployment/load', 'http://127.0.0.1:9000/');
  return JSON.parse(body) as LoadCounts;
}

/** Waits until `more` requests have been answered since `before`; for steady load between two steps. */
export async function loadGoesOn(scenario: Scenario, before: LoadCounts, more: number): Promise<LoadCounts> {
  return eventually(
    async () => {
      const counts = await loadCounts(scenario);
      assert.ok(counts.answered >= before.answered + more, `${counts.answered} answered, ${before.answered} before`);
      return counts;
    },
    60_000,
    500,
  );
}
