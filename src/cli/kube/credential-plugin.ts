import { type ChildProcess, spawn } from 'node:child_process';
import { textOf } from '#kubernetes/cluster-access.ts';
import type { CredentialPlugin } from '#kubernetes/credential-plugin.ts';
import type { Clock } from '#runtime/clock.ts';
import { CellmeshError, messageOf } from '#runtime/errors.ts';
import { execCredentialBytesMax, type MadeCredentials, readExecCredential } from './exec-credential.ts';

/** Long enough for whoever logs in by a browser first. */
export const pluginRunMs = 120_000;
const hintCharactersMax = 1_000;

/**
 * Runs a credential plugin ("client-go credential plugins"), without a shell, and reads what it prints. Its words on standard error are for the
 * terminal. Neither what it prints nor its arguments and variables get into an error.
 * @throws CellmeshError `credential_plugin_failed`, `file_unreadable`
 */
export async function runCredentialPlugin(plugin: CredentialPlugin, clock: Clock): Promise<MadeCredentials> {
  const isInteractive = plugin.interactiveMode !== 'Never' && process.stdin.isTTY === true;
  if (plugin.interactiveMode === 'Always' && !isInteractive)
    throw failed(plugin, 'must ask somebody, and standard input is no terminal');
  const info = await execInfo(plugin, isInteractive);
  const child = started(plugin, info, isInteractive);
  const text = await printedBy(child, plugin, clock);
  try {
    return readExecCredential(text, plugin.apiVersion);
  } catch (error) {
    throw failed(plugin, `has printed ${messageOf(error)}`);
  }
}

/** `KUBERNETES_EXEC_INFO`: an ExecCredential without a status. */
async function execInfo({ apiVersion, cluster }: CredentialPlugin, interactive: boolean): Promise<string> {
  const { server, serverName, authority, config } = cluster ?? {};
  const told = cluster !== undefined && {
    cluster: {
      ...{ server, 'tls-server-name': serverName, config },
      ...(authority !== undefined && {
        'certificate-authority-data': Buffer.from(await textOf(authority)).toString('base64'),
      }),
    },
  };
  return JSON.stringify({ apiVersion, kind: 'ExecCredential', spec: { ...told, interactive } });
}

function started(plugin: CredentialPlugin, info: string, isInteractive: boolean): ChildProcess {
  try {
    return spawn(plugin.command, plugin.args, {
      env: { ...process.env, ...plugin.env, KUBERNETES_EXEC_INFO: info },
      stdio: [isInteractive ? 'inherit' : 'ignore', 'pipe', 'inherit'],
    });
  } catch (error) {
    throw startFailed(plugin, error);
  }
}

function printedBy(child: ChildProcess, plugin: CredentialPlugin, clock: Clock): Promise<string> {
  return new Promise((resolve, reject) => {
    const pieces: Buffer[] = [];
    let bytes = 0;
    const give = (reason: string) => {
      child.kill('SIGKILL');
      // Its own children may hold the other end.
      child.stdout?.destroy();
      reject(failed(plugin, reason));
    };
    const timer = clock.schedule(pluginRunMs, () => give(`takes longer than ${pluginRunMs / 1000} s`));
    child.stdout?.on('data', (piece: Buffer) => {
      bytes += piece.length;
      if (bytes > execCredentialBytesMax) give(`has printed more than ${execCredentialBytesMax} bytes`);
      else pieces.push(piece);
    });
    child.once('error', (error) => {
      timer.cancel();
      reject(startFailed(plugin, error));
    });
    child.once('close', (code, signal) => {
      timer.cancel();
      if (code === 0) resolve(Buffer.concat(pieces).toString('utf8'));
      else reject(failed(plugin, `has ended with ${code ?? signal}; its own words, if any, stand above`));
    });
  });
}

/** The system's own message may show arguments: its code says enough. */
function startFailed(plugin: CredentialPlugin, error: unknown): CellmeshError {
  const { code = 'no code' } = error as NodeJS.ErrnoException;
  const hint = wordsOf(plugin.installHint ?? '');
  if (code === 'ENOENT') return failed(plugin, `is not there${hint === '' ? '' : `: ${hint}`}`);
  return failed(plugin, `cannot be started (${code})`);
}

function failed({ command }: CredentialPlugin, reason: string): CellmeshError {
  return new CellmeshError('credential_plugin_failed', `the credential plugin ${wordsOf(command)} ${reason}`);
}

/** In one line, and nothing that a terminal would follow. */
function wordsOf(text: string): string {
  return text
    .replaceAll(/[\s\p{Cc}\p{Cf}]+/gu, ' ')
    .trim()
    .slice(0, hintCharactersMax);
}
