import { basename, dirname } from 'node:path';
import type { Command } from 'commander';
import { type Call, callOf } from '#policy/cases/call.ts';
import { CellAtHand } from '#policy/cases/cell-at-hand.ts';
import { type CallDecision, decideCall } from '#policy/cases/decide-call.ts';
import { readCases } from '#policy/cases/read-cases.ts';
import { readRequest } from '#policy/cases/read-request.ts';
import { runCases } from '#policy/cases/run-cases.ts';
import { callLines, explainCall } from '#policy/explain/explain-call.ts';
import { systemClock } from '#runtime/clock.ts';
import { CellmeshError } from '#runtime/errors.ts';
import { problemText } from '#runtime/yaml-document.ts';
import { readTestFiles, readYamlFiles } from '#runtime/yaml-files.ts';
import { type AuthorityOptions, withAuthority } from '../operator.ts';
import { print } from '../output.ts';
import { explainById, type RulesOption, rulesOption, rulesShownOf } from './explained-decision.ts';
import { defaultManifestDir } from './manifest-files.ts';
import { addRequestOptions, type RequestOptions, requestText } from './request-options.ts';

interface ExplainOptions extends AuthorityOptions, RulesOption, RequestOptions {
  readonly case?: string;
  readonly manifestsDir?: string;
  readonly candidate?: boolean;
}

/** Why a request was decided, or would be decided, as it is. */
export function addExplain(policy: Command): void {
  const command = policy
    .command('explain')
    .summary('why a request was, or would be, allowed or refused')
    .description(
      'Explains a decision by the policy that was in force when it was made; or a request that nobody made, or a case of a test, by the manifests of a directory: every rule with the conditions that fail, and what would have to change.',
    )
    .argument('[decision-id]', 'as in the header `cellmesh-decision`')
    .option(...rulesOption)
    .option('--case <file#name>', 'a case of a test, by the manifests beside it')
    .option(
      '--manifests-dir <dir>',
      'whose manifests decide about a request (default: those of `cellmesh up`, or of the working directory)',
    )
    .option('--candidate', 'decide about a request by the candidates, for everybody');
  withAuthority(addRequestOptions(command), 'control plane').action(explain);
}

async function explain(id: string | undefined, options: ExplainOptions): Promise<void> {
  const request = requestText(options);
  const asked = [id, options.case, request?.text].filter((one) => one !== undefined);
  if (asked.length !== 1)
    throw new CellmeshError('config_invalid', 'one of a decision id, --case, --request and --from is explained');
  if (id !== undefined) return await explainById(id, options);
  const [calls, policies] =
    options.case === undefined ? await callOfRequest(request!, options) : await callsOfCase(options.case, options);
  const rulesMax = rulesShownOf(options);
  const forPrograms = calls.map(({ call, decision }) => {
    const { rules, ...explained } = explainCall(policies, call, decision);
    return { ...explained, ...(rules && { ruleCount: rules.length, rules: rules.slice(0, rulesMax) }) };
  });
  const lines = calls.map(({ call, decision }) => callLines(policies, call, decision, rulesMax).join('\n'));
  print(options.case === undefined ? forPrograms[0] : forPrograms, () => lines.join('\n\n---\n\n'), options);
}

interface Decided {
  readonly call: Call;
  readonly decision: CallDecision;
}

async function callOfRequest(
  { text, isWhole }: { readonly text: string; readonly isWhole: boolean },
  options: ExplainOptions,
): Promise<[Decided[], CellAtHand]> {
  const { request, problems } = readRequest(text, '--request');
  if (request === undefined) {
    // Flags have no lines and columns.
    const told = problems.map((problem) => (isWhole ? problemText(problem) : problem.message));
    throw new CellmeshError('document_invalid', told.join('; '), { problems: told });
  }
  const policies = await policiesOf(options.manifestsDir ?? (await defaultManifestDir(options.state)), options);
  const call = callOf(request, policies, systemClock.now());
  return [[{ call, decision: decideCall(policies, call) }], policies];
}

async function callsOfCase(named: string, options: ExplainOptions): Promise<[readonly Decided[], CellAtHand]> {
  const [path = '', ...rest] = named.split('#');
  const [directory, name] = [dirname(path), rest.join('#')];
  const tests = await readTestFiles(directory);
  const text = tests.get(basename(path));
  if (text === undefined) throw new CellmeshError('not_found', `${path} is no file *.test.yaml`);
  const cases = readCases(new Map([[basename(path), text]])).filter((test) => test.name === name);
  if (cases.length === 0) throw new CellmeshError('not_found', `${path} has no case ${JSON.stringify(name)}`);
  const policies = await policiesOf(options.manifestsDir ?? directory, options);
  return [runCases(policies, cases, systemClock.now())[0]!.hops, policies];
}

async function policiesOf(directory: string, { candidate }: ExplainOptions): Promise<CellAtHand> {
  return CellAtHand.read(await readYamlFiles(directory), candidate ? 'candidate' : 'in-force');
}
