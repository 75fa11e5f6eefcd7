import { BlockList, isIPv6 } from 'node:net';
import type { SpiffeId } from '#certs/spiffe-id.ts';
import { CellmeshError } from '#runtime/errors.ts';
import type { Logger } from '#runtime/logger.ts';
import type { KubernetesClient } from './client.ts';
import { isBearerToken } from './kubeconfig-reader.ts';
import { KubernetesError } from './kubernetes-error.ts';
import { type Pod, pods, type TokenVerdict, tokenReviews } from './resources.ts';

/** Why a token is not taken; for the log, and for nobody else. */
export type AttestationReason =
  | 'token_malformed'
  | 'token_not_authenticated'
  | 'audience_missing'
  | 'service_account_missing'
  | 'service_account_unexpected'
  | 'pod_missing'
  | 'pod_gone'
  | 'pod_replaced'
  | 'pod_ended'
  | 'service_account_differs'
  | 'node_differs'
  | 'address_differs'
  | 'service_account_default'
  | 'evidence_missing'
  | 'workload_differs';

/** One answer for whoever presents a token; `reason` is for the log. */
export class AttestationRejected extends CellmeshError {
  readonly reason: AttestationReason;

  constructor(reason: AttestationReason) {
    super('attestation_rejected', 'the evidence is not accepted; the log of whoever was asked says why');
    this.name = 'AttestationRejected';
    this.reason = reason;
  }
}

interface AttestorOptions {
  readonly client: Pick<KubernetesClient, 'get' | 'review'>;
  readonly ids: AttestedIds;
  /** That tokens must be made for: one for another server proves nothing here, and ours is worth nothing there. */
  readonly audience: string;
  /** Whether the caller must come from an address of its pod. */
  readonly comparesAddresses: boolean;
  readonly logger: Logger;
}

interface ServiceAccount {
  readonly namespace: string;
  readonly name: string;
}

/** Whom tokens stand for: a control plane knows workloads by them, identity routers. */
export interface AttestedIds {
  /** Others are refused before their pod is looked up. */
  isMeant(account: ServiceAccount): boolean;
  idOf(account: ServiceAccount, pod: string): SpiffeId;
}

/** Those of a pod have about 1.2 kB. */
const tokenBytesMax = 16 * 1024;
const userPattern = /^system:serviceaccount:([a-z0-9-]{1,63}):([a-z0-9][a-z0-9.-]{0,252})$/;

/**
 * Says by a projected service-account token who calls. The API server says whose token it is, and the pod that it names is looked
 * up: the server goes on calling a token good for ten seconds after its pod has gone.
 */
export class ServiceAccountAttestor {
  readonly #options: AttestorOptions;

  constructor(options: AttestorOptions) {
    this.#options = options;
  }

  /** @throws AttestationRejected, or CellmeshError `attestation_unavailable` when the API server does not say */
  async attest(token: string, callerAddress: string): Promise<SpiffeId> {
    const { ids, logger } = this.#options;
    const told: Record<string, string> = { address: callerAddress };
    try {
      const verdict = await this.#review(token, told);
      const account = serviceAccountOf(verdict);
      Object.assign(told, { namespace: account.namespace, serviceAccount: account.name });
      if (!ids.isMeant(account)) throw new AttestationRejected('service_account_unexpected');
      const pod = await this.#podOf(verdict, account, told);
      this.#compare(pod, verdict, account, callerAddress);
      return ids.idOf(account, pod.name);
    } catch (error) {
      if (error instanceof AttestationRejected) {
        logger.warn('attestation refused', { reason: error.reason, ...told });
        throw error;
      }
      logger.error('attestation is not possible', { error, ...told });
      throw new CellmeshError(
        'attestation_unavailable',
        'the evidence cannot be checked now: the API server does not say',
        {
          cause: error,
          retryable: true,
        },
      );
    }
  }

  async #review(token: string, told: Record<string, string>): Promise<TokenVerdict> {
    const { client, audience } = this.#options;
    if (token.length > tokenBytesMax || !isBearerToken(token)) throw new AttestationRejected('token_malformed');
    const verdict = await client.review(tokenReviews, { token, audiences: [audience] });
    if (!verdict.isAuthenticated) {
      told['detail'] = verdict.error;
      throw new AttestationRejected('token_not_authenticated');
    }
    // A server that knows nothing of audiences answers with none, for tokens of anybody's.
    if (!verdict.audiences.includes(audience)) throw new AttestationRejected('audience_missing');
    return verdict;
  }

  async #podOf({ extra }: TokenVerdict, { namespace }: ServiceAccount, told: Record<string, string>): Promise<Pod> {
    const name = extra('pod-name');
    const uid = extra('pod-uid');
    if (name === undefined || uid === undefined) throw new AttestationRejected('pod_missing');
    told['pod'] = name;
    const pod = await this.#options.client.get(pods, { namespace, name }).catch((error: unknown) => {
      if (error instanceof KubernetesError && error.isNotFound) throw new AttestationRejected('pod_gone');
      throw error;
    });
    if (pod.uid !== uid) throw new AttestationRejected('pod_replaced');
    return pod;
  }

  #compare(pod: Pod, { extra }: TokenVerdict, account: ServiceAccount, callerAddress: string): void {
    if (pod.hasEnded) throw new AttestationRejected('pod_ended');
    if (pod.serviceAccount !== account.name) throw new AttestationRejected('service_account_differs');
    // Kubernetes tells the node since 1.32.
    const node = extra('node-name');
    if (node !== undefined && node !== pod.node) throw new AttestationRejected('node_differs');
    // The kubelet tells the addresses when the pod is up, which may be later than its sidecar is.
    const isKnown = this.#options.comparesAddresses && pod.addresses.length > 0;
    if (isKnown && !isOneOf(pod.addresses, callerAddress)) throw new AttestationRejected('address_differs');
    if (account.name === 'default' && !pod.allowsDefaultServiceAccount)
      throw new AttestationRejected('service_account_default');
  }
}

function serviceAccountOf({ username }: TokenVerdict): ServiceAccount {
  const [, namespace, name] = userPattern.exec(username) ?? [];
  if (namespace === undefined || name === undefined) throw new AttestationRejected('service_account_missing');
  return { namespace, name };
}

/** As numbers: an IPv6 address has many spellings, and an IPv4 address comes as one of IPv6 too. */
function isOneOf(addresses: readonly string[], address: string): boolean {
  const list = new BlockList();
  for (const one of addresses) list.addAddress(one, familyOf(one));
  return list.check(address, familyOf(address));
}

function familyOf(address: string): 'ipv4' | 'ipv6' {
  return isIPv6(address) ? 'ipv6' : 'ipv4';
}
