import { createHash } from 'node:crypto';
import type { OperatorAuthenticator, OperatorVerdict } from '#api/operator-token.ts';
import type { Clock } from '#runtime/clock.ts';
import { CellmeshError } from '#runtime/errors.ts';
import type { Logger } from '#runtime/logger.ts';
import type { Secret } from '#runtime/secret.ts';
import { BoundedMap } from '#traffic/bounded-map.ts';
import type { KubernetesClient } from './client.ts';
import { type AccessAttributes, accessAttributesOf, ruleText } from './operator-permissions.ts';
import { tokenReviews } from './resources.ts';
import { subjectAccessReviews } from './resources-access.ts';

interface OperatorsOptions {
  readonly client: Pick<KubernetesClient, 'review'>;
  /** Who tokens must be for: the SPIFFE ID of whoever asks here. One that leaks is worth nothing elsewhere, and none of elsewhere here. */
  readonly audience: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** As long as the API server itself goes on calling a token good. A command makes several calls in this time. */
const knownMs = 10_000;
const knownMax = 1_000;
const nameCharactersMax = 256;

interface Known {
  readonly name: string;
  /** Clock.monotonic() */
  readonly until: number;
}

/**
 * Operators by their tokens of Kubernetes: TokenReview says whose a token is, SubjectAccessReview whether they may. Who may is remembered for
 * ten seconds, who may not is asked about each time.
 */
export class KubernetesOperators implements OperatorAuthenticator {
  readonly #options: OperatorsOptions;
  /** By permission and the hash of the token: a dump of memory holds no token. */
  readonly #known = new BoundedMap<string, Known>(knownMax);

  constructor(options: OperatorsOptions) {
    this.#options = options;
  }

  async authorize(token: Secret<string>, permission: string): Promise<OperatorVerdict> {
    const key = `${permission} ${createHash('sha256').update(token.reveal()).digest('base64')}`;
    const now = this.#options.clock.monotonic();
    const known = this.#known.get(key);
    if (known !== undefined && known.until > now) return { isAllowed: true, name: known.name };
    this.#known.delete(key);
    const verdict = await this.#ask(token, accessAttributesOf(permission));
    if (verdict.isAllowed) this.#known.set(key, { name: verdict.name, until: now + knownMs });
    return verdict;
  }

  async #ask(token: Secret<string>, resourceAttributes: AccessAttributes): Promise<OperatorVerdict> {
    const { client, audience, logger } = this.#options;
    try {
      const { isAuthenticated, audiences, user, error } = await client.review(tokenReviews, {
        token: token.reveal(),
        audiences: [audience],
      });
      // A server that knows nothing of audiences answers with none, for tokens of anybody's.
      if (!isAuthenticated || !audiences.includes(audience)) return notAuthenticated(audience, error);
      const { username, groups, uid, extra } = user;
      const name = username.slice(0, nameCharactersMax);
      if (name === '') return notAuthenticated(audience, 'the API server names no user');
      const { isAllowed } = await client.review(subjectAccessReviews, {
        ...{ user: username, groups, uid, extra },
        resourceAttributes,
      });
      return isAllowed ? { isAllowed, name } : notAllowed(name, resourceAttributes);
    } catch (cause) {
      logger.error('operators cannot be checked', { error: cause });
      throw new CellmeshError('rpc_unavailable', 'who calls cannot be checked now: the API server does not say', {
        cause,
        retryable: true,
      });
    }
  }
}

function notAuthenticated(audience: string, detail: string): OperatorVerdict {
  const reason = `the API server of the cluster does not take the token for the audience ${audience} (kubectl create token <service account> --audience ${audience})`;
  return { isAllowed: false, reason, told: { detail } };
}

function notAllowed(operator: string, attributes: AccessAttributes): OperatorVerdict {
  const { verb, resource, group } = attributes;
  const reason = `${operator} may not ${verb} ${resource}.${group}; no ClusterRole that is bound to them has the rule ${ruleText(attributes)}`;
  return { isAllowed: false, reason, told: { operator } };
}
