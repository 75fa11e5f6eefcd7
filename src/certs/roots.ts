import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import type { Clock } from '#runtime/clock.ts';
import { CellmeshError, isCellmeshError, messageOf } from '#runtime/errors.ts';
import type { Random } from '#runtime/random.ts';
import { type Certificate, parseCertificatesPem } from './certificate.ts';
import { authorityProfile, randomSerial } from './certificate-profile.ts';
import { toPem } from './pem.ts';
import { signCertificate } from './root-signer.ts';
import { parseTrustDomain, type TrustDomain } from './spiffe-id.ts';
import { brokenIssuerRule, brokenRootRule } from './svid-rules.ts';
import type { TrustBundle } from './trust-bundle.ts';

/**
 * What a root does now. `prepared`: made, and told nobody. `published`: in the bundle, signs nothing yet. `active`: signs, exactly one does.
 * `retiring`: in the bundle for as long as an SVID below it can live. `replaced`: its key may be known to others; it is in no bundle, in its
 * place stand the intermediates that it signed for us, whose keys never left their processes.
 */
const rootPhases = ['prepared', 'published', 'active', 'retiring', 'replaced'] as const;
type RootPhase = (typeof rootPhases)[number];

export interface Root {
  readonly phase: RootPhase;
  /** When the phase began, in milliseconds since the epoch. */
  readonly since: number;
  /** Of `retiring` and `replaced`: when it goes. */
  readonly until: number | undefined;
  readonly certificate: Certificate;
  /** Of those that sign, or will. */
  readonly privateKey: KeyObject | undefined;
  /** What it signed for our own processes lately, newest last. */
  readonly intermediates: readonly Certificate[];
}

/** The roots of one trust domain, as their owner keeps them. */
export interface Roots {
  readonly trustDomain: TrustDomain;
  /** Of the bundle. It rises with every change of it. */
  readonly sequence: number;
  readonly roots: readonly Root[];
  /** A rotation away from a root that is not to be trusted: nobody is waited for longer than seconds. */
  readonly isUrgent: boolean;
}

interface NewRootOptions {
  readonly trustDomain: TrustDomain;
  readonly clock: Clock;
  readonly random: Random;
  /** Default 1 year. */
  readonly lifetimeMs?: number;
  /** Default 2 minutes: other machines' clocks may be behind. */
  readonly backdateMs?: number;
}

/** Roots rotate by themselves when two thirds of this are over. */
export const rootLifetimeMs = 365 * 24 * 3600_000;
export const backdateMs = 2 * 60_000;
/** Those that can still be in use: two a week for each replica, and one for each start. */
export const intermediatesMax = 16;

const format = 1;

/** A new key and its self-signed certificate. */
export async function createRoot(options: NewRootOptions, phase: RootPhase): Promise<Root> {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const now = options.clock.now();
  const profile = authorityProfile({
    trustDomain: options.trustDomain,
    kind: 'root',
    publicKey,
    serial: randomSerial(options.random),
    notBefore: now - (options.backdateMs ?? backdateMs),
    notAfter: now + (options.lifetimeMs ?? rootLifetimeMs),
  });
  const certificate = await signCertificate(profile, {
    algorithm: 'ecdsa-sha256',
    sign: (toBeSigned) => sign('sha256', toBeSigned, privateKey),
  });
  return { phase, since: now, until: undefined, certificate, privateKey, intermediates: [] };
}

/** The roots of a trust domain that has one, which signs. */
export function singleRoot(trustDomain: TrustDomain, root: Root, sequence = firstSequence(root.certificate)): Roots {
  return { trustDomain, sequence, roots: [root], isUrgent: false };
}

/** The second in which the root began: a state that was lost and is made anew still has a higher one. */
export function firstSequence({ notBefore }: Certificate): number {
  return Math.floor(notBefore / 1000);
}

export function activeRoot({ roots }: Pick<Roots, 'roots'>): Root {
  return roots.find(({ phase }) => phase === 'active')!;
}

/** What is to be trusted, and first of all what signs now: by that whoever has an intermediate sees that it is to have another one. */
export function bundleOf({ trustDomain, sequence, roots }: Roots): TrustBundle {
  const trusted = (['active', 'published', 'retiring'] as const).flatMap((phase) =>
    roots.filter((root) => root.phase === phase).map(({ certificate }) => certificate),
  );
  const replaced = roots.filter(({ phase }) => phase === 'replaced').flatMap(({ intermediates }) => intermediates);
  return Object.freeze({ trustDomain, sequence, roots: Object.freeze([...trusted, ...replaced]) });
}

/** With private keys: for a place that only their owner reads. */
export function serializeRoots({ trustDomain, sequence, roots, isUrgent }: Roots): string {
  const entries = roots.map(({ phase, since, until, certificate, privateKey, intermediates }) => ({
    phase,
    since,
    until,
    certificate: toPem('CERTIFICATE', certificate.der),
    key: privateKey?.export({ format: 'pem', type: 'pkcs8' }),
    intermediates: intermediates.map(({ der }) => toPem('CERTIFICATE', der)),
  }));
  return `${JSON.stringify({ format, trustDomain, sequence, isUrgent, roots: entries }, undefined, 1)}\n`;
}

/**
 * Reads what `serializeRoots` wrote.
 * @param expected whose they are to be; undefined: whoever's they say that they are
 * @param where names it in errors
 * @throws CellmeshError `roots_invalid`
 */
export function parseRoots(json: string, expected: TrustDomain | undefined, where: string): Roots {
  try {
    const document = JSON.parse(json) as Record<string, unknown>;
    if (document['format'] !== format) throw new Error(`it is of format ${String(document['format'])}`);
    const trustDomain = parseTrustDomain(String(document['trustDomain']));
    if (expected !== undefined && trustDomain !== expected)
      throw new Error(`it is of ${trustDomain}, not of ${expected}`);
    const sequence = document['sequence'];
    if (typeof sequence !== 'number' || !Number.isSafeInteger(sequence)) throw new Error('it has no sequence');
    const roots = (document['roots'] as Record<string, unknown>[]).map((entry) => parseRoot(entry, trustDomain));
    const count = (phases: readonly RootPhase[]) => roots.filter(({ phase }) => phases.includes(phase)).length;
    if (count(['active']) !== 1) throw new Error('not exactly one root is active');
    if (count(['prepared', 'published']) > 1) throw new Error('more than one root is to be the next');
    return { trustDomain, sequence, roots, isUrgent: document['isUrgent'] === true };
  } catch (error) {
    // Without the cause: errors of parsers quote what they read, and there are keys in it.
    const reason = isCellmeshError(error) || !(error instanceof SyntaxError) ? messageOf(error) : 'it is not JSON';
    throw new CellmeshError('roots_invalid', `${where} does not hold roots that can be used: ${reason}`);
  }
}

function parseRoot(entry: Record<string, unknown>, trustDomain: TrustDomain): Root {
  const { phase, since, until, key, intermediates } = entry;
  if (!rootPhases.includes(phase as RootPhase) || typeof since !== 'number') throw new Error('a phase is unknown');
  const certificate = parseOne(entry['certificate']);
  const broken = brokenRootRule(certificate, trustDomain);
  if (broken !== undefined) throw new Error(`${broken.rule}: ${broken.reason}`);
  const privateKey = key === undefined ? undefined : readKey(String(key));
  if (privateKey === undefined && ['prepared', 'published', 'active'].includes(phase as string))
    throw new Error(`the key of the ${String(phase)} root is missing`);
  if (privateKey !== undefined && !createPublicKey(privateKey).equals(certificate.publicKey))
    throw new Error('a key is not the key of its certificate');
  const signed = (intermediates as unknown[]).map(parseOne);
  for (const one of signed) {
    const wrong = brokenIssuerRule(one, trustDomain, 0);
    if (wrong !== undefined) throw new Error(`an intermediate breaks ${wrong.rule}: ${wrong.reason}`);
  }
  return {
    phase: phase as RootPhase,
    since,
    until: typeof until === 'number' ? until : undefined,
    certificate,
    privateKey,
    intermediates: signed,
  };
}

function parseOne(pem: unknown): Certificate {
  return parseCertificatesPem(String(pem))[0]!;
}

function readKey(pem: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch {
    throw new Error('a key cannot be read');
  }
}
