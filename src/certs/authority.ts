import type { KeyObject } from 'node:crypto';
import type { Clock, Scheduled } from '#runtime/clock.ts';
import { CellmeshError, messageOf } from '#runtime/errors.ts';
import type { Logger } from '#runtime/logger.ts';
import type { Random } from '#runtime/random.ts';
import type { Watch } from '#runtime/watch.ts';
import type { Certificate } from './certificate.ts';
import { keyIdOfCertificate, leafProfile, randomSerial } from './certificate-profile.ts';
import { decodeDer } from './der.ts';
import type { IntermediateSource } from './intermediate.ts';
import { type Intermediate, obtainIntermediate } from './obtain-intermediate.ts';
import { handoverShare } from './root-rotation.ts';
import { signCertificate } from './root-signer.ts';
import { backdateMs } from './roots.ts';
import { isDnsName, serverProfile } from './server-profile.ts';
import { keyAlgorithmOf } from './signature-algorithm.ts';
import { pathOf, type SpiffeId, type TrustDomain, trustDomainOf } from './spiffe-id.ts';
import { bundlesOf, type TrustBundle } from './trust-bundle.ts';
import { verifyChain } from './verify-svid.ts';

export interface AuthorityOptions {
  readonly trustDomain: TrustDomain;
  readonly intermediates: IntermediateSource;
  /** Its first root is the one that signs now; when that is another, so is the intermediate, at once. */
  readonly bundle: Watch<TrustBundle>;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Default 12 hours: as long as a control plane may be away without anybody noticing. */
  readonly svidLifetimeMs?: number;
  /** Default 2 minutes. */
  readonly backdateMs?: number;
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

export const svidLifetimeMs = 12 * 3600_000;
/** After a renewal that failed; shorter where intermediates live for minutes only, as in drills. */
const renewAgainMsMax = 60_000;
const renewAgainShareOfLife = 1 / 100;

/**
 * The certificate authority of one trust domain in one process. Its intermediate key is made here and never leaves; whoever has the root is
 * asked for a new intermediate when half of the old one's life is over, and when another root signs.
 */
export class Authority implements Disposable {
  readonly trustDomain: TrustDomain;
  readonly #options: AuthorityOptions;
  readonly #unsubscribe: () => void;
  #intermediate: Intermediate;
  #renewal: Promise<void> | undefined;
  /** The last renewal. */
  #hasFailed = false;
  #timer: Scheduled | undefined;
  /** How long the intermediate of a root that does not sign any more is good for, if there is no other. */
  #handoverEnds = Number.POSITIVE_INFINITY;

  /** @throws CellmeshError `svid_not_issued` when no intermediate is to be had that can be one, or what asking for it throws */
  static async create(options: AuthorityOptions): Promise<Authority> {
    return new Authority(options, await obtainIntermediate(options));
  }

  private constructor(options: AuthorityOptions, intermediate: Intermediate) {
    this.trustDomain = options.trustDomain;
    this.#options = options;
    this.#intermediate = intermediate;
    this.#unsubscribe = options.bundle.subscribe(() => this.#onBundle());
    this.#schedule();
  }

  get bundle(): Watch<TrustBundle> {
    return this.#options.bundle;
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
    await this.#renewForIssue();
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
    verifyChain(chain, bundlesOf(this.bundle.current), this.#options.clock.now());
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
    await this.#renewForIssue();
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

  [Symbol.dispose](): void {
    this.#unsubscribe();
    this.#timer?.cancel();
  }

  #leafValidity(
    requestedMs = Number.POSITIVE_INFINITY,
    mostMs = this.#options.svidLifetimeMs ?? svidLifetimeMs,
  ): { notBefore: number; notAfter: number } {
    const now = this.#options.clock.now();
    const lifetimeMs = Math.min(requestedMs, mostMs);
    if (!(lifetimeMs > 0)) throw notIssued('the lifetime is not a positive number of milliseconds');
    const { certificate, root } = this.#intermediate;
    return {
      notBefore: Math.max(now - (this.#options.backdateMs ?? backdateMs), certificate.notBefore),
      notAfter: Math.min(now + lifetimeMs, certificate.notAfter, root.notAfter),
    };
  }

  /**
   * Many callers, one renewal. What is due but cannot be had leaves the one in hand, for as long as that is good. Once it could not be had nobody
   * waits for it any more: the timer tries again.
   */
  async #renewForIssue(): Promise<void> {
    if (!this.#isDue() || (this.#hasFailed && this.#isGood())) return;
    await this.#renew().catch((error: unknown) => {
      if (!this.#isGood()) throw error;
    });
  }

  #isGood(): boolean {
    return this.#options.clock.now() <= Math.min(this.#intermediate.certificate.notAfter, this.#handoverEnds);
  }

  /** When half of the intermediate's life is over, unless the root's own end leaves nothing to gain; and when another root signs. */
  #isDue(): boolean {
    const now = this.#options.clock.now();
    const { certificate, root } = this.#intermediate;
    if (!root.der.equals(this.bundle.current.roots[0]!.der)) return true;
    return now > certificate.notAfter || (now >= halfLife(certificate) && !isBoundByRoot(this.#intermediate));
  }

  #renew(): Promise<void> {
    this.#renewal ??= obtainIntermediate(this.#options)
      .then((intermediate) => {
        this.#intermediate = intermediate;
        this.#hasFailed = false;
        this.#handoverEnds = Number.POSITIVE_INFINITY;
        const { serial, notAfter } = intermediate.certificate;
        this.#options.logger.info('intermediate renewed', { serial, notAfter: new Date(notAfter).toISOString() });
      })
      .catch((error: unknown) => {
        this.#hasFailed = true;
        throw error;
      })
      .finally(() => {
        this.#renewal = undefined;
        this.#schedule();
      });
    return this.#renewal;
  }

  #onBundle(): void {
    if (this.#intermediate.root.der.equals(this.bundle.current.roots[0]!.der)) return;
    const { clock, svidLifetimeMs: lifetimeMs = svidLifetimeMs } = this.#options;
    this.#hasFailed = false;
    this.#handoverEnds = Math.min(this.#handoverEnds, clock.now() + lifetimeMs * handoverShare);
    this.#renewBySelf();
  }

  #schedule(): void {
    const { clock } = this.#options;
    const { certificate } = this.#intermediate;
    const lifeMs = certificate.notAfter - certificate.notBefore;
    const againMs = Math.min(renewAgainMsMax, lifeMs * renewAgainShareOfLife);
    const delayMs = isBoundByRoot(this.#intermediate)
      ? againMs
      : Math.max(againMs, halfLife(certificate) - clock.now());
    this.#timer?.cancel();
    this.#timer = clock.schedule(this.#isDue() ? againMs : delayMs, () => {
      if (this.#isDue()) this.#renewBySelf();
      else this.#schedule();
    });
  }

  #renewBySelf(): void {
    this.#renew().catch((error: unknown) =>
      this.#options.logger.error('the intermediate was not renewed; the one in hand stays in use until its end', {
        reason: messageOf(error),
      }),
    );
  }
}

function halfLife({ notBefore, notAfter }: Certificate): number {
  return notBefore + (notAfter - notBefore) / 2;
}

/** Certificates count in whole seconds. */
function isBoundByRoot({ certificate, root }: Intermediate): boolean {
  return certificate.notAfter >= Math.floor(root.notAfter / 1000) * 1000;
}

function notIssued(reason: string): CellmeshError {
  return new CellmeshError('svid_not_issued', reason);
}
