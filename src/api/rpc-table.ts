import type { CallerKind } from './caller.ts';

/** How often one caller may use an RPC: calls a minute, and how many at once after a pause. */
export interface RateClass {
  readonly perMinute: number;
  readonly burst: number;
}

/** A caller retries with back-off; these stop one that does not. */
export const rateClasses = {
  /** Each try may be a guess. By address. */
  join: { perMinute: 60, burst: 60 },
  /** Once in hours for each workload; drills renew every few seconds. */
  renew: { perMinute: 60, burst: 20 },
  /** Streams that stay open: counts reconnects. */
  stream: { perMinute: 60, burst: 30 },
  /** The cold path of routers; identity limits the work behind it by itself. */
  serve: { perMinute: 60_000, burst: 2_000 },
  /** Once a second for each instance of a workload, at most. */
  report: { perMinute: 60_000, burst: 2_000 },
  /** Each may be a question to whoever knows the token. By address, before that. */
  token: { perMinute: 1_200, burst: 300 },
  /** People and their scripts. */
  operate: { perMinute: 1_200, burst: 300 },
} as const satisfies Record<string, RateClass>;

export interface RpcRule {
  readonly callers: readonly CallerKind[];
  /** What a refusal names, and what a Kubernetes SubjectAccessReview will ask for. */
  readonly permission: string;
  readonly rate: keyof typeof rateClasses;
  /** Whether each use is logged with who and what. */
  readonly isAudited: boolean;
  /** It works on the SVID of whoever calls, so that nobody can call it who has none. */
  readonly isAboutOwnSvid?: true;
}

/** Every RPC there is. A server that offers one which is not here does not start. */
export const rpcTable: Readonly<Record<string, RpcRule>> = {
  'cellmesh.certs.v1.SvidIssuer/Join': {
    callers: ['anonymous'],
    permission: 'svids.join',
    rate: 'join',
    isAudited: true,
  },
  'cellmesh.certs.v1.SvidIssuer/Renew': {
    callers: ['workload', 'router', 'admin'],
    permission: 'svids.renew',
    rate: 'renew',
    isAudited: true,
    isAboutOwnSvid: true,
  },
  'cellmesh.certs.v1.Roots/Show': {
    callers: ['admin'],
    permission: 'roots.read',
    rate: 'operate',
    isAudited: false,
  },
  'cellmesh.certs.v1.Roots/Rotate': {
    callers: ['admin'],
    permission: 'roots.rotate',
    rate: 'operate',
    isAudited: true,
  },
  'cellmesh.feeds.v1.Feed/Subscribe': {
    callers: ['workload', 'router', 'control-plane'],
    permission: 'feeds.subscribe',
    rate: 'stream',
    isAudited: false,
  },
  'cellmesh.policy.v1.DecisionLog/Report': {
    callers: ['workload', 'router'],
    permission: 'decisions.report',
    rate: 'stream',
    isAudited: false,
  },
  'cellmesh.policy.v1.DecisionLog/Find': {
    callers: ['admin'],
    permission: 'decisions.read',
    rate: 'operate',
    isAudited: true,
  },
  'cellmesh.policy.v1.DecisionLog/Follow': {
    callers: ['admin'],
    permission: 'decisions.read',
    rate: 'operate',
    isAudited: true,
  },
  'cellmesh.policy.v1.DecisionLog/Export': {
    callers: ['admin'],
    permission: 'decisions.read',
    rate: 'operate',
    isAudited: true,
  },
  'cellmesh.policy.v1.PolicyHistory/ListVersions': {
    callers: ['admin'],
    permission: 'policies.read',
    rate: 'operate',
    isAudited: false,
  },
  'cellmesh.policy.v1.PolicyHistory/GetVersion': {
    callers: ['admin'],
    permission: 'policies.read',
    rate: 'operate',
    isAudited: true,
  },
  'cellmesh.policy.v1.Rollouts/Report': {
    callers: ['workload'],
    permission: 'rollouts.report',
    rate: 'report',
    isAudited: false,
  },
  'cellmesh.policy.v1.Rollouts/List': {
    callers: ['admin'],
    permission: 'policies.read',
    rate: 'operate',
    isAudited: false,
  },
  'cellmesh.controlplane.v1.ControlPlane/CreateJoinToken': {
    callers: ['admin'],
    permission: 'jointokens.create',
    rate: 'operate',
    isAudited: true,
  },
  'cellmesh.controlplane.v1.ControlPlane/GetStatus': {
    callers: ['admin'],
    permission: 'status.read',
    rate: 'operate',
    isAudited: false,
  },
  'cellmesh.identity.v1.IdentityAdmin/CreateAccount': {
    callers: ['admin'],
    permission: 'accounts.create',
    rate: 'operate',
    isAudited: true,
  },
  'cellmesh.identity.v1.IdentityAdmin/ListAccounts': {
    callers: ['admin'],
    permission: 'accounts.read',
    rate: 'operate',
    isAudited: false,
  },
  'cellmesh.identity.v1.IdentityAdmin/PlaceAccount': {
    callers: ['admin'],
    permission: 'accounts.place',
    rate: 'operate',
    isAudited: true,
  },
  'cellmesh.identity.v1.IdentityAdmin/CreateKey': {
    callers: ['admin'],
    permission: 'keys.create',
    rate: 'operate',
    isAudited: true,
  },
  'cellmesh.identity.v1.IdentityAdmin/ListKeys': {
    callers: ['admin'],
    permission: 'keys.read',
    rate: 'operate',
    isAudited: false,
  },
  'cellmesh.identity.v1.IdentityAdmin/RevokeKey': {
    callers: ['admin'],
    permission: 'keys.revoke',
    rate: 'operate',
    isAudited: true,
  },
  'cellmesh.identity.v1.IdentityAdmin/RotateKey': {
    callers: ['admin'],
    permission: 'keys.create',
    rate: 'operate',
    isAudited: true,
  },
  'cellmesh.identity.v1.IdentityAdmin/RegisterCell': {
    callers: ['admin'],
    permission: 'cells.register',
    rate: 'operate',
    isAudited: true,
  },
  'cellmesh.identity.v1.IdentityAdmin/ListCells': {
    callers: ['admin'],
    permission: 'cells.read',
    rate: 'operate',
    isAudited: false,
  },
  'cellmesh.identity.v1.IdentityAdmin/CreateRouterJoinToken': {
    callers: ['admin'],
    permission: 'jointokens.create',
    rate: 'operate',
    isAudited: true,
  },
  'cellmesh.identity.v1.IdentityCells/PublishBundle': {
    callers: ['control-plane'],
    permission: 'cells.publish',
    rate: 'operate',
    isAudited: true,
  },
  'cellmesh.identity.v1.IdentityEdge/VerifyKey': {
    callers: ['router'],
    permission: 'keys.verify',
    rate: 'serve',
    isAudited: false,
  },
  'cellmesh.identity.v1.IdentityEdge/RegisterSigningKey': {
    callers: ['router'],
    permission: 'signingkeys.register',
    rate: 'operate',
    isAudited: true,
  },
};
