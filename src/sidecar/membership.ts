import { join } from 'node:path';
import { evidenceOf, lastingEvidenceOf } from '#api/evidence.ts';
import { readTextFile } from '#certs/private-file.ts';
import type { SpiffeId } from '#certs/spiffe-id.ts';
import { bundlesOf, parseTrustBundle, type TrustBundles } from '#certs/trust-bundle.ts';
import type { DecisionReporter } from '#feeds/decision-reporter.ts';
import type { DecisionRing } from '#feeds/decision-ring.ts';
import type { FeedClient } from '#feeds/feed-client.ts';
import { LastGoodStore } from '#feeds/last-good.ts';
import { OwnIdentity, type OwnIdentityOptions } from '#net/own-identity.ts';
import { federationFeature, policyFeatures } from '#policy/snapshot-features.ts';
import { type Clock, sleep } from '#runtime/clock.ts';
import { messageOf } from '#runtime/errors.ts';
import type { Logger } from '#runtime/logger.ts';
import type { Random } from '#runtime/random.ts';
import { CandidateReports } from './candidate-reports.ts';
import type { CandidateTally } from './candidate-tally.ts';
import { ControlPlaneLink } from './control-plane-link.ts';
import { joinProblem } from './join-problem.ts';
import type { SidecarConfig } from './sidecar-config.ts';
import type { SidecarState } from './sidecar-state.ts';

interface MembershipOptions {
  readonly config: SidecarConfig;
  readonly id: SpiffeId;
  readonly instance: string;
  readonly state: SidecarState;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Opens the mesh's port and returns its number. */
  readonly openInbound: (identity: OwnIdentity) => Promise<number>;
  /** Where decisions lie; asked for once there is an SVID. */
  readonly ring: () => DecisionRing;
  readonly candidates: CandidateTally;
  /** Told why there is no SVID; undefined when there is one. */
  readonly onIdentity: (missing: string | undefined) => void;
  /** What was known from before is in use; the control plane's word may still be outstanding. */
  readonly onEntered: (feed: FeedClient) => void;
}

/** The answer of the control plane about an unknown key is a snapshot, which comes at once or not at all. */
const keyAnswerMs = 1_000;

/** This sidecar's part in the mesh: its identity, what it is told, what it tells. */
export class Membership implements AsyncDisposable {
  readonly #options: MembershipOptions;
  readonly #link: ControlPlaneLink;
  readonly #stack = new AsyncDisposableStack();
  readonly #abort = new AbortController();
  #identity: OwnIdentity | undefined;
  #feed: FeedClient | undefined;
  #reporter: DecisionReporter | undefined;
  /** It may be told to go before it has come. */
  #isLeaving = false;
  #joining: Promise<void> = Promise.resolve();

  constructor(options: MembershipOptions) {
    const { controlPlane, trustDomain } = options.config;
    this.#options = options;
    this.#link = new ControlPlaneLink({ ...options, address: controlPlane, trustDomain });
  }

  get identity(): OwnIdentity | undefined {
    return this.#identity;
  }

  get feed(): FeedClient | undefined {
    return this.#feed;
  }

  get reporter(): DecisionReporter | undefined {
    return this.#reporter;
  }

  /** With an SVID on disk everything is in place when this resolves; a first join goes on behind it. */
  async start(): Promise<void> {
    const identityOptions = await this.#identityOptions();
    const identity = await OwnIdentity.fromDisk(identityOptions);
    if (identity !== undefined) return await this.#enter(identity);
    this.#options.onIdentity('no SVID yet; asking the control plane for one');
    this.#joining = this.#join(identityOptions);
  }

  /** Asks for a key that a token names; resolves when the answer is in use, or none has come. */
  async askForKey(iss: string, kid: string): Promise<void> {
    const { state, clock } = this.#options;
    this.#feed?.askForKey(iss, kid);
    const answered = new AbortController();
    const unsubscribe = state.keySet.subscribe(() => answered.abort());
    await sleep(clock, keyAnswerMs, answered.signal).catch(() => {});
    unsubscribe();
  }

  /** Takes this instance out of what others choose from. News still comes: the application may go on calling. */
  leave(): void {
    this.#isLeaving = true;
    this.#feed?.withdraw();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort(new Error('the sidecar stops'));
    await this.#joining;
    await this.#stack.disposeAsync();
  }

  async #join(identityOptions: OwnIdentityOptions): Promise<void> {
    const { onIdentity, config, id } = this.#options;
    const { signal } = this.#abort;
    const onFailed = (error: unknown) => onIdentity(joinProblem(error, config, id));
    try {
      using joining = this.#link.joining(identityOptions.startBundles, () => evidenceOf(config));
      await this.#enter(await OwnIdentity.join(identityOptions, { requester: joining.requester, signal, onFailed }));
    } catch (error) {
      if (!signal.aborted) onIdentity(messageOf(error));
    }
  }

  /**
   * What was known before comes first, so that a restarted sidecar never refuses for want of policy; then the mesh's port, then the
   * control plane. Only a port of the system's choice must be open before it can be announced.
   */
  async #enter(identity: OwnIdentity): Promise<void> {
    const { config, instance, state, candidates, openInbound, onEntered, onIdentity } = this.#options;
    const { inbound, advertise, locality, weight, stateDir, svidRenewal } = config;
    this.#identity = identity;
    const session = this.#stack.use(this.#link.connected(identity.tls, () => lastingEvidenceOf(config)));
    const port = inbound.port === 0 ? await openInbound(identity) : inbound.port;
    const feed = session.feeds({
      instance,
      features: [...policyFeatures, federationFeature],
      apply: state.receivers(identity),
      lastGood: new LastGoodStore(join(stateDir, 'feeds')),
      registration: { address: advertise ?? inbound.host, port, locality, weight },
    });
    this.#feed = this.#stack.use(feed);
    if (this.#isLeaving) feed.withdraw();
    await feed.start();
    if (inbound.port !== 0) await openInbound(identity);
    this.#reporter = this.#stack.use(session.decisionReporter(this.#options.ring()));
    this.#stack.use(
      new CandidateReports({ ...this.#options, tally: candidates, report: session.candidateReporter(instance) }),
    );
    const { signal } = this.#abort;
    const renewing = identity.renew({ requester: session.renewal, signal, intervalMs: svidRenewal });
    this.#stack.defer(async () => {
      await renewing;
      await identity.settled();
    });
    onEntered(feed);
    onIdentity(undefined);
  }

  async #identityOptions(): Promise<OwnIdentityOptions> {
    const { config, id } = this.#options;
    return {
      ...this.#options,
      directory: join(config.stateDir, 'svid'),
      expect: id,
      startBundles: await this.#startBundles(),
    };
  }

  async #startBundles(): Promise<TrustBundles> {
    const { trustBundle, trustDomain } = this.#options.config;
    return bundlesOf(parseTrustBundle(await readTextFile(trustBundle), trustDomain));
  }
}
