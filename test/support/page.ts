import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';

/** A block of a page that is run: a script whose output is not shown, or commands that are shown each with its output. */
export type Block =
  | { readonly kind: 'script'; readonly text: string }
  | { readonly kind: 'console'; readonly commands: readonly ShownCommand[] };

export interface ShownCommand {
  readonly command: string;
  readonly output: string;
}

const fence = /^```(sh|console)\n([\s\S]*?)^```$/gm;

/** The blocks of a page in their order: `sh` and `console`. What is not to be run is `sh no-run`. */
export function blocksOf(page: string): Block[] {
  return [...page.matchAll(fence)].map(([, kind, text = '']) =>
    kind === 'sh' ? { kind: 'script', text } : { kind: 'console', commands: commandsOf(text) },
  );
}

/** The page with other outputs: `outputs` has one for each command that is shown, in their order. */
export function withOutputs(page: string, outputs: readonly string[]): string {
  let next = 0;
  return page.replace(fence, (whole, kind: string, text: string) => {
    if (kind === 'sh') return whole;
    const shown = commandsOf(text).map(({ command }) => `$ ${command}\n${outputs[next++]}`);
    return `\`\`\`console\n${shown.join('\n').trimEnd()}\n\`\`\``;
  });
}

function commandsOf(text: string): ShownCommand[] {
  return text
    .split(/^(?=\$ )/m)
    .filter((part) => part.startsWith('$ '))
    .map((part) => {
      const [command = '', ...output] = part.slice(2).split('\n');
      return { command, output: output.join('\n').trimEnd() };
    });
}

/** Runs a script as a user's shell does, and returns what it prints on both outputs. */
export async function runScript(
  script: string,
  { directory, environment }: { directory: string; environment: Readonly<Record<string, string>> },
): Promise<string> {
  const child = spawn('sh', ['-c', `{ ${script.trimEnd()}\n} 2>&1`], {
    cwd: directory,
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return (await text(child.stdout)).trimEnd();
}

const kinds: readonly (readonly [RegExp, string])[] = [
  [/\b[a-z]+(?:-[a-z0-9]+)*-[a-z0-9]{6}\.[a-z0-9]{18}\b/g, 'DECISION'],
  [/\b(?:router-1)\.[a-z0-9]{18}\b/g, 'DECISION'],
  [/\b\d{4}-\d{2}-\d{2}T[\d:.]+Z/g, 'TIME'],
  [/\b[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT/g, 'DATE'],
  [/\bAC[0-9a-f]{32}\b/g, 'ACCOUNT'],
  [/\b[0-9a-f]{32}\b/g, 'TRACE'],
  [/\b(?=[0-9a-f]*\d)[0-9a-f]{12}\b/g, 'ID'],
  [/\b(?:api|messaging|delivery|carrier|store)-[a-z0-9]{6}\b/g, 'INSTANCE'],
  [/\btoken [\w-]{16},/g, 'token ID,'],
  [/\d+(?:\.\d+)? %/g, 'N %'],
  [/\b\d[\d,]*\b(?= (?:decisions?|requests?|times?)\b)/g, 'N'],
  [/ {2,}/g, '  '],
  [/-{3,}/g, '---'],
];

/** A text without what differs from run to run. `numbers`: counts of what came differ too. */
export function withoutChances(output: string, { numbers = false } = {}): string {
  const plain = kinds.reduce((text, [pattern, name]) => text.replace(pattern, name), output);
  return numbers ? plain.replace(/\b\d+\b/g, 'N') : plain;
}
