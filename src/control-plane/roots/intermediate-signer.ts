import type { IntermediateSource } from '#certs/intermediate.ts';
import { pemBlocks, toPem } from '#certs/pem.ts';
import type { KubernetesClient } from '#kubernetes/client.ts';
import { Informer } from '#kubernetes/informer.ts';
import { KubernetesError } from '#kubernetes/kubernetes-error.ts';
import { pods } from '#kubernetes/resources.ts';
import {
  type CertificateRequest,
  certificateRequests,
  type OwnUser,
  selfReviews,
} from '#kubernetes/resources-certificate-request.ts';
import { type Clock, sleep } from '#runtime/clock.ts';
import { isCellmeshError, messageOf } from '#runtime/errors.ts';
import type { Logger } from '#runtime/logger.ts';
import type { Random } from '#runtime/random.ts';
import { intermediateSigner } from './intermediate-requests.ts';

interface IntermediateSignerOptions {
  readonly client: Pick<KubernetesClient, 'ask' | 'get' | 'list' | 'review' | 'watch'>;
  /** Of the control plane. */
  readonly namespace: string;
  /** Whoever has the root. */
  readonly intermediates: IntermediateSource;
  /** While this replica leads. */
  readonly term: AbortSignal;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

const accountPattern = /^system:serviceaccount:([a-z0-9-]{1,63}):([a-z0-9][a-z0-9.-]{0,252})$/;
const attemptsMax = 5;
const pauseMs = 200;

/** Why a request is not this control plane's. */
class Refused extends Error {}

/**
 * The leader's answers to requests for intermediates. Whoever may create such requests may write whatever he likes into one, but not who he is: that
 * the API server writes. Signed is what the leader's own account asks for, since that account may read the root anyway; where the leader is
 * in a pod, only from a pod: with a token that is bound to one of this control plane's that is there. Who has approved a request counts for nothing.
 */
export class IntermediateSigner implements AsyncDisposable {
  readonly #options: IntermediateSignerOptions;
  readonly #informer: Informer<CertificateRequest>;
  #own: OwnUser | undefined;
  #working: Promise<void> = Promise.resolve();
  /** By uid: answered, whatever an older state says that is told late. */
  readonly #answered = new Set<string>();

  /** Begins at once. */
  constructor(options: IntermediateSignerOptions) {
    this.#options = options;
    this.#informer = new Informer({
      ...options,
      resource: certificateRequests,
      selection: { fieldSelector: `spec.signerName=${intermediateSigner}` },
      keyOf: ({ name }) => name,
      onChange: (now, before) => {
        if (now === undefined) this.#answered.delete(before!.uid);
        else this.#working = this.#working.then(() => this.#answer(now));
      },
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#informer[Symbol.asyncDispose]();
    await this.#working;
  }

  async #answer(request: CertificateRequest): Promise<void> {
    const { term, clock, logger } = this.#options;
    const { name, username, uid } = request;
    for (let attempt = 1; !term.aborted && isOpen(request) && !this.#answered.has(uid); attempt++) {
      try {
        await this.#decide(request);
        this.#answered.add(uid);
      } catch (error) {
        // It has gone, or is another one by now, which is told again.
        if (error instanceof KubernetesError && (error.isNotFound || error.isConflict)) return;
        if (term.aborted || attempt === attemptsMax) {
          if (!term.aborted) logger.error('a request for an intermediate is not answered', { name, username, error });
          return;
        }
        await sleep(clock, pauseMs * attempt, term).catch(() => {});
      }
    }
  }

  async #decide(request: CertificateRequest): Promise<void> {
    const { intermediates, logger } = this.#options;
    const { name, username } = request;
    const told = { name, username, pod: request.extra('pod-name') };
    try {
      await this.#refuseOthers(request);
      const [csr] = pemBlocks(request.request, 'CERTIFICATE REQUEST', 1);
      if (csr === undefined) throw new Refused('it holds no request');
      const der = await intermediates.requestIntermediate(csr).catch((error: unknown) => {
        throw isCellmeshError(error, 'csr_invalid') ? new Refused(messageOf(error)) : error;
      });
      await this.#sign(request, der);
      logger.info('intermediate signed', told);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      logger.warn('a request for an intermediate is refused', { ...told, reason: error.message });
      await this.#refuse(request, error.message);
    }
  }

  /** @throws Refused */
  async #refuseOthers({ username, signerName, extra }: CertificateRequest): Promise<void> {
    const { client, namespace, term } = this.#options;
    this.#own ??= await client.review(selfReviews, {}, term);
    const { username: own, podUid } = this.#own;
    if (signerName !== intermediateSigner) throw new Refused('it is for another signer');
    if (own === '' || username !== own) throw new Refused("it is not by the control plane's account");
    if (podUid === undefined) return;
    const [name, uid] = [extra('pod-name'), extra('pod-uid')];
    if (name === undefined || uid === undefined) throw new Refused('its token is bound to no pod');
    const [, accountNamespace, account] = accountPattern.exec(username) ?? [];
    if (accountNamespace !== namespace) throw new Refused('its account is of another namespace');
    const pod = await client.get(pods, { namespace, name }, term).catch((error: unknown) => {
      const isGone = isCellmeshError(error, 'not_found') || (error instanceof KubernetesError && error.isNotFound);
      throw isGone ? new Refused('its pod is gone') : error;
    });
    if (pod.uid !== uid) throw new Refused('its pod is gone, and another has its name');
    if (pod.hasEnded) throw new Refused('its pod has ended');
    if (pod.serviceAccount !== account) throw new Refused('its pod has another account');
  }

  async #sign(request: CertificateRequest, der: Uint8Array): Promise<void> {
    const approved = condition('Approved', 'OwnReplica', 'by the leader of the control plane');
    const found = request.isApproved ? request : await this.#put(request, 'approval', [approved]);
    const certificate = Buffer.from(toPem('CERTIFICATE', der)).toString('base64');
    await this.#put(found, 'status', found.conditions, { certificate });
  }

  /** What somebody else has approved cannot be denied any more. */
  async #refuse(request: CertificateRequest, why: string): Promise<void> {
    if (!request.isApproved) await this.#put(request, 'approval', [condition('Denied', 'NotOwnReplica', why)]);
    else await this.#put(request, 'status', [...request.conditions, condition('Failed', 'NotOwnReplica', why)]);
  }

  async #put(
    { name, uid, resourceVersion }: CertificateRequest,
    subresource: 'approval' | 'status',
    conditions: readonly object[],
    status: object = {},
  ): Promise<CertificateRequest> {
    const { client, term } = this.#options;
    const { apiVersion, kind, plural, read } = certificateRequests;
    const metadata = { name, uid, resourceVersion };
    const text = JSON.stringify({ apiVersion, kind, metadata, status: { ...status, conditions } });
    const path = `/apis/${apiVersion}/${plural}/${name}/${subresource}`;
    const body = { type: 'application/json', text };
    return read(await client.ask({ method: 'PUT', path, body, isRepeatable: false }, term));
  }
}

function isOpen({ certificate, refusal }: CertificateRequest): boolean {
  return certificate === '' && refusal === undefined;
}

function condition(type: 'Approved' | 'Denied' | 'Failed', reason: string, message: string) {
  return { type, status: 'True', reason, message };
}
