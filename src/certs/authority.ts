import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import type { Clock } from '#runtime/clock.ts';
import { CellmeshError } from '#runtime/errors.ts';
import type { Random } from '#runtime/random.ts';
import { type Watch, WatchSource } from '#runtime/watch.ts';
import type { Certificate } from './certificate.ts';
import { authorityProfile, keyIdOfCertificate, leafProfile, randomSerial } from './certificate-profile.ts';
import { decodeDer } from './der.ts';
import { type Issuer, issuerOf, type RootSigner, signCertificate } from './root-signer.ts';
import { backdateMs } from './root-signer-file.ts';
import { isDnsName, serverProfile } from './server-profile.ts';
import { keyAlgorithmOf } from './signature-algorithm.ts';
import { pathOf, type SpiffeId, type TrustDomain, trustDomainOf } from './spiffe-id.ts';
import { brokenIssuerRule, brokenValidityRule } from './svid-rules.ts';
import { bundlesOf, type TrustBundle } from './trust-bundle.ts';
import { verifyChain } from './verify-svid.ts';

export interface AuthorityOptions {
  readonly trustDomain: TrustDomain;
  readonly rootSigner: RootSigner;
  readonly clock: Clock;
  readonly random: Random;
  /** Default 7 days. */
  readonly intermediateLifetimeMs?: number;
  /** Default 12 hours: as long as a control plane may be away without anybody noticing. */
  readonly svidLifetimeMs?: number;
  /** Default 2 minutes. */
  readonly backdateMs?: number;
  /** Roots that are trusted beside the signer's own: the old and the next one of a rotation. */
  readonly otherRoots?: readonly Certificate[];
  /** Default: when the youngest root began, in seconds. It rises with every new root, and needs no store. */
  readonly bundleSequence?: number;
}

interface IssueRequest {
  readonly id: SpiffeId;
  readonly publicKey: KeyObject;
  /** Default and maximum: the authority's `svidLifetimeMs`. */
  readonly lifetimeMs?: number;
}

interface ServerRequest {
  /** Of DNS. */
  readonly names: readonly string[];
  readonly publicKey: KeyObject;
  readonly lifetimeMs: number;
}

interface IssuedServerCertificate {
  /** Leaf first, without the root. */
  readonly chain: readonly Certificate[];
  readonly notAfter: number;
}

interface IssuedSvid {
  readonly id: SpiffeId;
  /** Leaf first, without the root. */
  readonly chainDer: readonly Buffer[];
  /** Lower-case hex. */
  readonly serial: string;
  readonly notBefore: number;
  readonly notAfter: number;
}

export const intermediateLifetimeMs = 7 * 24 * 3600_000;
export const svidLifetimeMs = 12 * 3600_000;

interface Intermediate {
  readonly certificate: Certificate;
  readonly issuer: Issuer;
}

/**
 * The certificate authority of one trust domain in one process. Its intermediate key is made here and never leaves; the root
 * is asked only for a new intermediate, when half of the old one's life is over.
 */
export class Authority {
  readonly trustDomain: TrustDomain;
  readonly #options: AuthorityOptions;
  readonly #bundle: WatchSource<TrustBundle>;
  #intermediate: Intermediate;
  #renewal: Promise<void> | undefined;

  /** @throws CellmeshError `svid_not_issued` when the root cannot be one for the trust domain, or its validity has ended */
  static async create(options: AuthorityOptions): Promise<Authority> {
    const roots = [options.rootSigner.certificate, ...(options.otherRoots ?? [])];
    for (const [index, root] of roots.entries()) {
      // Below the signer's own comes our intermediate; what the others sign is not ours to know.
      const broken = brokenIssuerRule(root, options.trustDomain, index === 0 ? 1 : 0);
      if (broken !== undefined)
        throw notIssued(`a root of ${options.trustDomain} breaks ${broken.rule}: ${broken.reason}`);
    }
    const sequence = options.bundleSequence ?? Math.max(...roots.map(({ notBefore }) => Math.floor(notBefore / 1000)));
    const bundle = Object.freeze({ trustDomain: options.trustDomain, sequence, roots: Object.freeze(roots) });
    return new Authority(options, bundle, await createIntermediate(options));
  }

  private constructor(options: AuthorityOptions, bundle: TrustBundle, intermediate: Intermediate) {
    this.trustDomain = options.trustDomain;
    this.#options = options;
    this.#bundle = new WatchSource(bundle);
    this.#intermediate = intermediate;
  }

  get bundle(): Watch<TrustBundle> {
    return this.#bundle;
  }

  /** The certificate that signs now. */
  get intermediate(): Certificate {
    return this.#intermediate.certificate;
  }

  /**
   * Signs an SVID, reads it back and holds it against the rules that its peers will hold it against. It ends no later than
   * what it is signed with.
   * @throws CellmeshError `svid_not_issued`; `svid_rejected` when what was signed would not be accepted
   */
  async issue(request: IssueRequest): Promise<IssuedSvid> {
    const { id, publicKey } = request;
    if (trustDomainOf(id) !== this.trustDomain) throw notIssued(`${id} is not in the trust domain ${this.trustDomain}`);
    if (pathOf(id) === '') throw notIssued('the SPIFFE ID has no path');
    if (keyAlgorithmOf(publicKey) !== 'p256') throw notIssued('only P-256 keys are signed');
    await this.#renewIntermediate();
    const { certificate: signer, issuer } = this.#intermediate;
    const certificate = await signCertificate(
      leafProfile({
        id,
        publicKey,
        serial: randomSerial(this.#options.random),
        issuer: decodeDer(signer.subject),
        issuerKeyId: keyIdOfCertificate(signer),
        ...this.#leafValidity(request.lifetimeMs),
      }),
      issuer,
    );
    const chain = [certificate, signer];
    verifyChain(chain, bundlesOf(this.#bundle.current), this.#options.clock.now());
    return Object.freeze({
      id,
      chainDer: chain.map(({ der }) => der),
      serial: certificate.serial,
      notBefore: certificate.notBefore,
      notAfter: certificate.notAfter,
    });
  }

  /**
   * Signs a certificate for a server of ours whose callers look for a DNS name: the webhook port. It is no SVID, since it names no SPIFFE ID,
   * and good for nothing but serving.
   * @throws CellmeshError `svid_not_issued`
   */
  async issueServer({ names, publicKey, lifetimeMs }: ServerRequest): Promise<IssuedServerCertificate> {
    if (keyAlgorithmOf(publicKey) !== 'p256') throw notIssued('only P-256 keys are signed');
    if (names.length === 0 || !names.every(isDnsName)) throw notIssued('the name of a server is a DNS name');
    await this.#renewIntermediate();
    const { certificate: signer, issuer } = this.#intermediate;
    const certificate = await signCertificate(
      serverProfile({
        names,
        addresses: [],
        publicKey,
        serial: randomSerial(this.#options.random),
        issuer: decodeDer(signer.subject),
        issuerKeyId: keyIdOfCertificate(signer),
        ...this.#leafValidity(lifetimeMs, Number.POSITIVE_INFINITY),
      }),
      issuer,
    );
    return Object.freeze({ chain: [certificate, signer], notAfter: certificate.notAfter });
  }

  #leafValidity(
    requestedMs = Number.POSITIVE_INFINITY,
    mostMs = this.#options.svidLifetimeMs ?? svidLifetimeMs,
  ): { notBefore: number; notAfter: number } {
    const now = this.#options.clock.now();
    const lifetimeMs = Math.min(requestedMs, mostMs);
    if (!(lifetimeMs > 0)) throw notIssued('the lifetime is not a positive number of milliseconds');
    const { certificate } = this.#intermediate;
    return {
      notBefore: Math.max(now - (this.#options.backdateMs ?? backdateMs), certificate.notBefore),
      notAfter: Math.min(now + lifetimeMs, certificate.notAfter),
    };
  }

  /** When half of the intermediate's life is over, unless the root's own end leaves nothing to gain; many callers, one renewal. */
  async #renewIntermediate(): Promise<void> {
    const { notBefore, notAfter } = this.#intermediate.certificate;
    const now = this.#options.clock.now();
    const rootEnds = this.#options.rootSigner.certificate.notAfter;
    const isFresh = now < notBefore + (notAfter - notBefore) / 2 || notAfter >= Math.floor(rootEnds / 1000) * 1000;
    if (isFresh && now <= notAfter) return;
    this.#renewal ??= createIntermediate(this.#options)
      .then((intermediate) => {
        this.#intermediate = intermediate;
      })
      .finally(() => {
        this.#renewal = undefined;
      });
    try {
      await this.#renewal;
    } catch (error) {
      // The root may be away (a KMS, a command): the intermediate in hand is good until its end.
      if (now > notAfter) throw error;
    }
  }
}

async function createIntermediate(options: AuthorityOptions): Promise<Intermediate> {
  const { certificate: root } = options.rootSigner;
  const now = options.clock.now();
  const broken = brokenValidityRule(root, now);
  if (broken !== undefined) throw notIssued(`the root of ${options.trustDomain} cannot sign: ${broken.reason}`);
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const profile = authorityProfile({
    trustDomain: options.trustDomain,
    kind: 'intermediate',
    publicKey,
    serial: randomSerial(options.random),
    issuer: { name: decodeDer(root.subject), keyId: keyIdOfCertificate(root) },
    notBefore: Math.max(now - (options.backdateMs ?? backdateMs), root.notBefore),
    notAfter: Math.min(now + (options.intermediateLifetimeMs ?? intermediateLifetimeMs), root.notAfter),
  });
  const certificate = await signCertificate(profile, issuerOf(options.rootSigner));
  if (!certificate.isSignedBy(root.publicKey))
    throw notIssued('the root signer returned a signature that is not its own');
  return { certificate, issuer: { algorithm: 'ecdsa-sha256', sign: (bytes) => sign('sha256', bytes, privateKey) } };
}

function notIssued(reason: string): CellmeshError {
  return new CellmeshError('svid_not_issued', reason);
}
