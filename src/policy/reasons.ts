/**
 * Every reason for which a request gets an answer that is not the application's: its status, what it means, what to do. The code
 * goes to the caller with the decision id; the explanation to operators. `docs/errors.md` is written from this table.
 */
export const reasons = {
  // Who is asking, and with what
  credentials_missing: {
    status: 401,
    meaning: 'The router was given no usable credentials.',
    action: 'Send `Authorization: Basic` with account and key.',
  },
  credentials_rejected: {
    status: 401,
    meaning: 'Account and key do not belong together, or the key is no longer valid.',
    action: 'Check both; the decision record says which it was.',
  },
  token_missing: {
    status: 401,
    meaning: 'The rule needs a customer, and the request carries no token.',
    action:
      'Pass the context of the incoming request on; see "Which request caused this call" in docs/architecture.md.',
  },
  token_malformed: {
    status: 401,
    meaning: 'The token is no signed JWT in compact form.',
    action: 'Send the token as it was minted.',
  },
  token_too_large: { status: 401, meaning: 'The token has more than 4 KiB.', action: 'Grant fewer scopes.' },
  token_type: {
    status: 401,
    meaning: 'The token is not an `at+jwt`.',
    action: 'Use a token that was minted for this cell.',
  },
  token_algorithm: {
    status: 401,
    meaning: 'The token is signed with an algorithm that its key does not use.',
    action: 'Find out who made this token.',
  },
  token_key_unknown: {
    status: 401,
    meaning: 'The key that the token names is not known in this cell.',
    action: 'See whether the router is registered and the key feed is fresh.',
  },
  token_signature: { status: 401, meaning: 'The signature does not hold.', action: 'Find out who changed this token.' },
  token_expired: { status: 401, meaning: 'The token has expired.', action: 'Ask for a new one; compare the clocks.' },
  token_not_yet_valid: {
    status: 401,
    meaning: 'The token was issued in the future.',
    action: 'Compare the clocks of router and sidecar.',
  },
  token_issuer: {
    status: 401,
    meaning: 'No key of the issuer that the token names is trusted here.',
    action: 'Check `Cell.spec.tokenIssuer` and the key feed.',
  },
  token_audience: {
    status: 401,
    meaning: 'The token is for another cell or service.',
    action: 'Use a token for this cell.',
  },
  token_cell: { status: 401, meaning: 'The token names another cell.', action: 'Use a token for this cell.' },
  token_claims: { status: 401, meaning: 'A claim is missing or malformed.', action: 'Find out who made this token.' },
  token_entry: {
    status: 401,
    meaning: 'A token enters a cell from the router that minted it: key, client_id and TLS peer do not agree.',
    action: 'Find out how the token left its router.',
  },
  hop_missing: {
    status: 401,
    meaning: 'A token came without the word of the hop before about what is left of its scopes.',
    action: 'Calls go through sidecars, which add it.',
  },
  hop_malformed: {
    status: 400,
    meaning: 'What the hop before says about the scopes left cannot be read.',
    action: 'Compare the versions of both sidecars.',
  },
  // Policy
  policy_missing: {
    status: 503,
    meaning: 'The sidecar has no policy for its service yet.',
    action: 'See whether a manifest for its service account exists, and whether the control plane is reachable.',
  },
  protocol_mismatch: {
    status: 400,
    meaning:
      'The port that the request names is not of its kind: HTTP to a port with `protocol: tcp`, or a connection to another.',
    action: 'Call the port as the manifest declares it.',
  },
  host_unknown: {
    status: 421,
    meaning: 'No manifest of the service declares this host and port.',
    action: 'Check `hosts` and `ports` of the callee.',
  },
  route_not_allowed: {
    status: 403,
    meaning: 'No rule of the callee allows this method and path.',
    action: 'Add a rule to its manifest, or correct the request.',
  },
  plaintext_not_allowed: {
    status: 403,
    meaning: 'The call came without TLS, and the service hears none such, or no longer.',
    action: "Take the caller into the mesh; for a while, `inbound` of the callee's manifest can let it in.",
  },
  peer_not_allowed: {
    status: 403,
    meaning: 'No rule for this route names the calling workload.',
    action: "Add the caller to the rule's `from` if it should be.",
  },
  peer_not_declared: {
    status: 403,
    meaning: "The caller's own manifest does not declare this call.",
    action: "Add the callee to the caller's `calls`.",
  },
  rule_expired: {
    status: 403,
    meaning: 'The rule for this route and peer has ended: its `until` is past.',
    action: 'Extend it, or write a rule that stays, if the call should go on.',
  },
  actor_not_allowed: {
    status: 403,
    meaning: 'The rule does not allow whoever acts on behalf of the customer, or somebody to act for it.',
    action: "See the rule's `actor`, and `act.sub` of the token.",
  },
  claim_not_allowed: {
    status: 403,
    meaning: 'A claim of the token is not what the rule asks for.',
    action: "See the rule's `claims`; the decision record has the values that it met.",
  },
  limit_reached: {
    status: 429,
    meaning: 'Every rule that allows the request has a limit, and each of them is reached.',
    action: 'Send fewer requests, after the time that `Retry-After` says, or raise `limits` of a rule.',
  },
  scope_missing: {
    status: 403,
    meaning: 'The customer does not have a scope that the rule needs.',
    action: 'Use a key that has the scope.',
  },
  scope_not_carried: {
    status: 403,
    meaning: 'The customer has the scope, but a hop on the way may not carry it to here.',
    action: "Add it to the caller's `carry`, if it should be.",
  },
  scope_not_own: {
    status: 403,
    meaning: 'The workload calls for itself, and does not have the scope by itself.',
    action: "Add it to the caller's `own`, if it should be.",
  },
  not_declared: {
    status: 403,
    meaning: 'The manifest of the calling service declares no call to this host.',
    action: 'Add the callee to `calls`, or correct the host.',
  },
  context_missing: {
    status: 403,
    meaning: 'The application does not say on whose behalf it calls.',
    action: 'Pass `tracestate` or `cellmesh-context` on, or say `cellmesh-as: self`.',
  },
  context_unknown: {
    status: 403,
    meaning: 'The handle is not one of this sidecar.',
    action: 'Handles are valid on the sidecar that gave them, until their token ends.',
  },
  context_expired: {
    status: 403,
    meaning: 'The token behind the handle has ended.',
    action: 'Work that outlives a request calls as itself, or is given a new token.',
  },
  account_mismatch: {
    status: 403,
    meaning: 'The handle is of another account than `cellmesh-expect-account` says.',
    action: 'The application mixed up two customers; nothing was sent.',
  },
  account_not_expected: {
    status: 403,
    meaning: 'The route is sensitive, and the application does not say whose data it means.',
    action: 'Send `cellmesh-expect-account`.',
  },
  route_unknown: {
    status: 404,
    meaning: 'No service of the cell exposes this host and path to routers.',
    action: 'Check `expose` in the manifests.',
  },
  // What is not clean HTTP
  message_malformed: { status: 400, meaning: 'The request breaks a rule of HTTP.', action: 'Correct the client.' },
  path_not_absolute: { status: 400, meaning: 'The path does not begin with `/`.', action: 'Correct the client.' },
  path_character: {
    status: 400,
    meaning: 'The target holds a character that must be percent-encoded.',
    action: 'Encode it.',
  },
  path_percent: {
    status: 400,
    meaning: 'A `%` in the path is broken, or hides another encoding.',
    action: 'Encode once.',
  },
  path_encoded_separator: {
    status: 400,
    meaning: 'The path holds a backslash or an encoded slash.',
    action: 'Separate segments with `/`.',
  },
  path_dot_segment: { status: 400, meaning: 'The path holds `.` or `..`.', action: 'Send the path that is meant.' },
  path_empty_segment: { status: 400, meaning: 'The path holds `//`.', action: 'Send the path that is meant.' },
  path_parameter: { status: 400, meaning: 'The path holds `;`.', action: 'Send the path that is meant.' },
  field_malformed: {
    status: 400,
    meaning: 'A field that the mesh reads is malformed or sent twice.',
    action: 'Correct the client.',
  },
  // Limits
  message_too_large: { status: 413, meaning: 'The request is over a limit.', action: 'Send less.' },
  message_timeout: {
    status: 408,
    meaning: 'The request did not arrive in time.',
    action: 'Send it without long pauses.',
  },
  rate_limited: {
    status: 429,
    meaning: 'Too many attempts that could not be answered from memory.',
    action: 'Wait as long as Retry-After says.',
  },
  overloaded: {
    status: 503,
    meaning: 'As many requests as allowed are in flight.',
    action: 'Retry later, or add instances.',
  },
  // What lies behind
  upstream_unreachable: {
    status: 503,
    meaning: 'No instance of the callee could be reached.',
    action: 'See whether it runs and is registered.',
  },
  upstream_failed: {
    status: 502,
    meaning: 'The callee broke off before its answer was complete.',
    action: 'Look at the callee.',
  },
  upstream_malformed: { status: 502, meaning: "The callee's answer is not clean HTTP.", action: 'Correct the callee.' },
  upstream_timeout: {
    status: 504,
    meaning: 'The callee did not answer in time.',
    action: 'Look at the callee, or raise the time-out.',
  },
  identity_unavailable: {
    status: 503,
    meaning: 'The router cannot know whether the key is good: `identity` does not answer.',
    action: 'Retry later; known keys go on working.',
  },
  account_unplaced: {
    status: 503,
    meaning: 'The account has no cell, or its cell is not known to this router.',
    action: '`cellmesh accounts place`.',
  },
  wrong_cell: { status: 421, meaning: 'The account lives in another cell.', action: 'Routers retry once by the hint.' },
  state_stale: {
    status: 503,
    meaning: 'What the sidecar knows is older than it may be.',
    action: 'See why the control plane has been unreachable.',
  },
  internal: { status: 500, meaning: 'An error in cellmesh itself.', action: 'Report it with the decision id.' },
} as const satisfies Record<string, { status: number; meaning: string; action: string }>;

export type Reason = keyof typeof reasons;

export function statusOf(reason: Reason): number {
  return reasons[reason].status;
}

/** Denials that rules have a say in, limits aside: another manifest can say otherwise. */
export const reasonsOfRules = [
  'route_not_allowed',
  'plaintext_not_allowed',
  'peer_not_allowed',
  'peer_not_declared',
  'rule_expired',
  'token_missing',
  'actor_not_allowed',
  'claim_not_allowed',
  'scope_missing',
  'scope_not_carried',
  'scope_not_own',
] as const satisfies readonly Reason[];
