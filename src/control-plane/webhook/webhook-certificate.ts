import { generateKeyPairSync } from 'node:crypto';
import type { Authority } from '#certs/authority.ts';
import { toPem } from '#certs/pem.ts';
import type { Clock, Scheduled } from '#runtime/clock.ts';
import type { Logger } from '#runtime/logger.ts';
import type { Random } from '#runtime/random.ts';
import { type Watch, WatchSource } from '#runtime/watch.ts';
import type { ServerCertificate } from './webhook-server.ts';

interface WebhookCertificateOptions {
  readonly authority: Pick<Authority, 'issueServer' | 'bundle'>;
  /** DNS name by which the API server calls. */
  readonly name: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/** Half of an intermediate's life is always left: so long a weekend without an authority passes unnoticed. */
const webhookCertificateMs = 3 * 24 * 3600_000;
const renewAfterMs = 24 * 3600_000;
/** Replicas that started together do not renew together. */
const jitterFraction = 0.1;
/** After a failure: doubled from the first to the longest. */
const pauseMsMin = 1_000;
const pauseMsMax = 5 * 60_000;

/**
 * The certificate of the webhook port, by the cell's own authority: a new key each day, and at once when the roots change, so that it has
 * left an old root before that one goes.
 */
export class WebhookCertificate implements Disposable {
  readonly #options: WebhookCertificateOptions;
  readonly #certificate: WatchSource<ServerCertificate>;
  readonly #unsubscribe: () => void;
  #notAfter: number;
  #timer: Scheduled | undefined;
  #failures = 0;
  #isClosed = false;

  /** @throws CellmeshError `svid_not_issued` */
  static async open(options: WebhookCertificateOptions): Promise<WebhookCertificate> {
    return new WebhookCertificate(options, await issue(options));
  }

  private constructor(options: WebhookCertificateOptions, { certificate, notAfter }: Issued) {
    this.#options = options;
    this.#certificate = new WatchSource(certificate);
    this.#notAfter = notAfter;
    this.#unsubscribe = options.authority.bundle.subscribe(() => this.#renewAfter(0));
    this.#renewAfter(renewAfterMs);
  }

  get certificate(): Watch<ServerCertificate> {
    return this.#certificate;
  }

  /** Milliseconds since the epoch. */
  get notAfter(): number {
    return this.#notAfter;
  }

  [Symbol.dispose](): void {
    this.#isClosed = true;
    this.#unsubscribe();
    this.#timer?.cancel();
  }

  #renewAfter(ms: number): void {
    const { clock, random } = this.#options;
    this.#timer?.cancel();
    this.#timer = clock.schedule(ms * (1 - jitterFraction * random.fraction()), () => void this.#renew());
  }

  async #renew(): Promise<void> {
    const { logger } = this.#options;
    try {
      const { certificate, notAfter } = await issue(this.#options);
      if (this.#isClosed) return;
      this.#failures = 0;
      this.#notAfter = notAfter;
      this.#certificate.set(certificate);
      logger.info('certificate of the webhooks renewed', { notAfter: new Date(notAfter).toISOString() });
      this.#renewAfter(renewAfterMs);
    } catch (error) {
      if (this.#isClosed) return;
      const pauseMs = Math.min(pauseMsMax, pauseMsMin * 2 ** Math.min(this.#failures++, 16));
      logger.error('the certificate of the webhooks was not renewed; the old one stays in use', { error, pauseMs });
      this.#renewAfter(pauseMs);
    }
  }
}

interface Issued {
  readonly certificate: ServerCertificate;
  readonly notAfter: number;
}

async function issue({ authority, name }: WebhookCertificateOptions): Promise<Issued> {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const { chain, notAfter } = await authority.issueServer({
    names: [name],
    publicKey,
    lifetimeMs: webhookCertificateMs,
  });
  return {
    certificate: {
      chain: chain.map(({ der }) => toPem('CERTIFICATE', der)).join(''),
      key: privateKey.export({ format: 'pem', type: 'pkcs8' }) as string,
    },
    notAfter,
  };
}
