import type { GeneratedManifest } from './manifests-of.ts';

/** Words that YAML reads as something else than text, and what could be taken for a number. */
const plainText = /^(?!(true|false|null|yes|no|on|off)$)[A-Za-z/][A-Za-z0-9_./:-]*(?<!:)$/i;

/** A manifest as people write it, with how often each rule was met. @param head lines of the comment that it begins with */
export function manifestYaml({ document, requests, notes }: GeneratedManifest, head: readonly string[]): string {
  const { apiVersion, kind, metadata, spec } = document;
  const { allow = [], ...fields } = spec;
  const { calls, ...simple } = fields as { readonly calls?: readonly Readonly<Record<string, unknown>>[] };
  const lines = [
    ...[...head, ...notes].map((line) => `# ${line}`),
    `apiVersion: ${apiVersion}`,
    `kind: ${kind}`,
    `metadata: ${flow(metadata)}`,
    'spec:',
    ...Object.entries(simple).map(([name, value]) => `  ${name}: ${flow(value)}`),
    ...(allow.length === 0 ? [] : ['  allow:']),
    ...allow.flatMap((rule) => [`    # ${amount(requests[rule.name] ?? 0)}`, ...item(rule)]),
    ...(calls === undefined ? [] : ['  calls:', ...calls.flatMap(item)]),
  ];
  return `${lines.join('\n')}\n`;
}

function item(fields: Readonly<Record<string, unknown>>): string[] {
  return Object.entries(fields).map(([name, value], at) => `    ${at === 0 ? '-' : ' '} ${name}: ${flow(value)}`);
}

/** In one line, in the flow style of YAML. */
function flow(value: unknown): string {
  if (typeof value === 'string') return plainText.test(value) ? value : JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(flow).join(', ')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const entries = Object.entries(value).map(([name, part]) => `${name}: ${flow(part)}`);
  return `{ ${entries.join(', ')} }`;
}

function amount(requests: number): string {
  return `${requests.toLocaleString('en-US')} request${requests === 1 ? '' : 's'}`;
}
