/**
 * Every code that a `CellmeshError` can carry: what it means, and what its reader does next. `docs/errors.md` is written from
 * this table. Outcomes of a request (denials) have codes of their own, in `policy/reasons.ts`.
 */
export const errorCodes = {
  // runtime
  config_invalid: {
    meaning: 'A setting is missing, unknown or has a value that cannot be used.',
    action: 'Correct every line that the error lists; `--help` shows the settings.',
  },
  file_unreadable: { meaning: 'A file that is needed cannot be read.', action: 'Check the path and its permissions.' },
  state_locked: {
    meaning: 'Another process uses this state.',
    action: 'Stop the other process, or choose another state directory.',
  },
  state_version: {
    meaning: 'The state was written by a version that this one cannot read.',
    action: 'Run the version that wrote it, or start with a fresh state directory.',
  },
  port_taken: { meaning: 'Another program listens on the port.', action: 'Stop it, or set another port.' },
  start_failed: { meaning: 'A part of the process did not start.', action: 'The cause names the part and its reason.' },
  // certs
  spiffe_id_invalid: {
    meaning: 'A text is not a SPIFFE ID or trust domain by the rules of the standard.',
    action:
      'Use `spiffe://<trust domain>/<path>`: lower-case domain; letters, digits, `.`, `-` and `_` in path segments.',
  },
  der_invalid: {
    meaning: 'Bytes are not DER, or exceed 16 KiB or 16 levels.',
    action: 'Look at what made them; `openssl asn1parse` shows where they break.',
  },
  certificate_invalid: {
    meaning: 'Bytes are not a certificate that can be read.',
    action: 'Check the file; `openssl x509 -text` shows what it holds.',
  },
  csr_invalid: {
    meaning: 'A certification request is malformed, unsigned, or not for a P-256 key.',
    action: 'Make the request with a P-256 key and sign it with that key.',
  },
  trust_bundle_invalid: {
    meaning: 'A trust bundle is not the SPIFFE JWKS document of its trust domain.',
    action: 'Fetch the bundle again from its authority.',
  },
  svid_rejected: {
    meaning: 'A certificate chain is no valid X.509 SVID; `rule` names the rule that it breaks.',
    action: 'Look the rule up, and issue the workload a new SVID.',
  },
  svid_not_issued: {
    meaning: 'The authority does not sign: its own certificate, the key or the name do not allow it.',
    action: 'Renew the root or intermediate that the message names.',
  },
  root_expired: {
    meaning: 'The root of a trust domain has ended, so that nothing can be issued and no SVID below it is good.',
    action:
      "Run the command that the message names: `cellmesh certs recover`, in a cluster with `--namespace`; an operator's own root (`--root-key`) is replaced by its operator.",
  },
  roots_invalid: {
    meaning: 'What is stored as the roots of a trust domain cannot be read, or is not theirs.',
    action: 'Restore it from a backup; without one, move it away, and everybody joins again.',
  },
  no_leader: {
    meaning: 'None of the replicas of a control plane has done what only their leader does.',
    action: 'Wait some seconds; the log of each replica says who leads, and why it cannot.',
  },
  rotation_refused: {
    meaning: 'The root is not replaced here, or not this way.',
    action: 'Do what the message says.',
  },
  svid_unexpected: {
    meaning:
      "The authority issued an SVID for another identity than the one that was asked for: the join token is another workload's.",
    action: 'Create a join token for the SPIFFE ID that this process is configured as, and give it that one.',
  },
  svid_unreadable: {
    meaning: 'The SVID in a directory is missing, torn or does not fit its key.',
    action: 'Join again with a new token.',
  },
  key_permissions: {
    meaning: 'A private key can be read by others than its owner.',
    action: 'Run `chmod 600` on the file, and replace the key if others may have read it.',
  },
  join_token_rejected: {
    meaning: 'A join token is malformed, unknown, expired or was used before.',
    action: 'Create a new join token; each works once, within ten minutes.',
  },
  attestation_rejected: {
    meaning:
      'What a workload presented as evidence of who it is was not accepted; the log of whoever was asked, control plane or identity, says why.',
    action: 'Look for `attestation refused` in that log.',
  },
  attestation_unavailable: {
    meaning:
      'Whoever was asked cannot check such evidence: it was not set up for it, or its own source does not answer.',
    action:
      'Start the control plane, or identity, with `--kubernetes`; where it has that, its log says what does not answer.',
  },
  join_token_refused: {
    meaning: 'A join token cannot be created for this identity, or too many are outstanding.',
    action: 'Name a workload identity, or wait until outstanding tokens expire.',
  },
  // tokens
  scope_invalid: {
    meaning: 'A scope is not `resource:action`, or a list of scopes is malformed.',
    action: 'Write scopes as the cell document lists them.',
  },
  account_id_invalid: {
    meaning: 'An account id is not `AC` and 32 hexadecimal digits.',
    action: '`cellmesh accounts list` shows the ids.',
  },
  cell_id_invalid: { meaning: 'A cell id is not a DNS label.', action: '`cellmesh cells list` shows the ids.' },
  key_set_invalid: {
    meaning: 'A set of token verification keys, or a signing key, cannot be used.',
    action:
      'The message names the key and what is wrong; publish public P-256 or RSA keys with `iss`, `kid` and `kind`.',
  },
  token_rejected: {
    meaning: 'A token does not verify; the reason code says what is wrong.',
    action: 'See the reason under "Requests".',
  },
  token_too_large: { meaning: 'A token would have more than 4 KiB.', action: 'Grant fewer scopes.' },
  // policy
  document_invalid: {
    meaning: 'A manifest, a cell document or a settings file is refused; nothing of it is in force.',
    action: 'Correct every line that the error lists (`file:line:column: reason`); docs/manifest.md shows the fields.',
  },
  path_pattern_invalid: {
    meaning: 'A path in a manifest is neither exact nor a glob by segments.',
    action: 'Write it canonical, with `*` for one segment and `**` for the rest.',
  },
  path_rejected: {
    meaning: 'A request target has no canonical path.',
    action: 'See the reason under "Requests".',
  },
  policy_snapshot_invalid: {
    meaning: 'A compiled policy or route table cannot be read; the last good one stays.',
    action: 'Compare the versions of control plane and receiver.',
  },
  decision_invalid: {
    meaning: 'A stored or received decision record is not of the known schema.',
    action: 'Compare the versions of who wrote and who reads it.',
  },
  // api
  rpc_denied: {
    meaning: 'The caller does not have the permission that the call needs.',
    action: 'Call with an identity that has it, or give it to whoever calls; the message names both.',
  },
  rpc_rate_limited: { meaning: 'One caller makes too many calls.', action: 'Wait as long as the message says.' },
  rpc_unavailable: {
    meaning: 'The service that was called cannot be reached, or does not answer.',
    action: 'See whether it runs; the message names address and reason.',
  },
  rpc_internal: {
    meaning: 'The service that was called failed; its own log says how.',
    action: 'Look into that log.',
  },
  kubernetes_refused: {
    meaning: 'The Kubernetes API server refused a request; `status` and `reason` are its own.',
    action: 'For 401 and 403 check the credentials and rights of the process; the others are explained by the message.',
  },
  kubectl_failed: {
    meaning: '`kubectl`, which reaches the cluster for an operator, is not there or failed; the message has its words.',
    action:
      'Run the command that the message names by hand, with the same `--kubeconfig`, `--context` and `--namespace`.',
  },
  credential_plugin_failed: {
    meaning:
      'The program that a kubeconfig names to make credentials (`exec`) is not there, failed, or printed something else.',
    action: 'Run `kubectl get namespaces` with the same kubeconfig and context: what helps it helps here.',
  },
  kubernetes_unavailable: {
    meaning: 'The Kubernetes API server does not answer, or not so that it can be understood.',
    action: 'Check the address and that the server runs; it is tried again.',
  },
  kubernetes_too_old: {
    meaning: 'The cluster runs a version of Kubernetes that has no native sidecars.',
    action: 'Upgrade the cluster to Kubernetes 1.29 or newer.',
  },
  install_failed: {
    meaning: 'An installation in a cluster could not be finished; the message names the object and the cause.',
    action: 'Do what the message says and run the command again: what is applied already stays as it is.',
  },
  uninstall_refused: {
    meaning: 'Uninstalling would take what it was not asked for.',
    action: 'Read what the message lists; the option that it names goes on.',
  },
  not_found: { meaning: 'What a call names does not exist.', action: 'List what there is.' },
  conflict: {
    meaning: 'Somebody else changed it in between, or it exists already.',
    action: 'Read it again, and decide anew.',
  },
  // feeds and traffic
  feed_invalid: {
    meaning: 'A message or a stored snapshot of a feed is malformed.',
    action: 'Compare the versions of both ends; remove the file that the message names to start without it.',
  },
  look_up_timeout: {
    meaning: 'A look-up took longer than anybody waits.',
    action: 'See why whoever is asked is slow.',
  },
  // identity
  api_key_invalid: {
    meaning: 'A secret is no API key of this installation.',
    action: 'Copy the whole key, from `cmk1_` on.',
  },
  identity_busy: { meaning: 'More keys are being verified than there is room for.', action: 'Try again in a second.' },
  identity_state: { meaning: "A record in identity's store is damaged.", action: 'Restore the store from a backup.' },
  key_limit: { meaning: 'An account has two usable keys already.', action: 'Revoke one of them first.' },
  request_invalid: { meaning: 'A field of a call cannot be used.', action: 'The message names the field.' },
  // wire
  message_malformed: {
    meaning: 'A request breaks a rule of HTTP; the rule is named in the message.',
    action: 'Correct the client: nothing that two readers could understand differently is forwarded.',
  },
  message_too_large: {
    meaning: 'A head, a line, the number of fields or a body is over its limit.',
    action: 'Send less, or raise the limit that the message names.',
  },
  message_timeout: {
    meaning: 'A request did not arrive in time.',
    action: 'Send the whole request without long pauses.',
  },
  upstream_unreachable: {
    meaning: 'No connection to the upstream could be opened.',
    action: 'See whether it runs and listens; the cause names the reason.',
  },
  upstream_failed: {
    meaning: 'The upstream closed the connection before its response was complete.',
    action: 'Look at the upstream; a server whose keep-alive time is below the pool idle time also shows this.',
  },
  upstream_malformed: {
    meaning: 'A response breaks a rule of HTTP; the rule is named in the message.',
    action: 'Correct the upstream.',
  },
  upstream_timeout: {
    meaning: 'The upstream did not connect or answer in time.',
    action: 'Look at the upstream, or raise the time-out.',
  },
  upstream_overloaded: {
    meaning: 'As many requests as allowed are in flight with the upstream, and as many wait.',
    action: 'Retry later; add instances, or raise the limit.',
  },
  exchange_aborted: {
    meaning: 'One side gave up before the end of the response.',
    action: 'Nothing, if the client meant to.',
  },
  // net
  peer_refused: {
    meaning: 'The other end of a connection is not who it must be; `rule` names what it breaks.',
    action: 'Look the rule up; compare identity, trust bundles and clocks of both ends.',
  },
  dial_failed: {
    meaning: 'No mutual TLS connection came about: nobody listens, or the other end refused the handshake.',
    action: 'Check that the other end runs; its log says whom it refused and why.',
  },
  dial_timeout: {
    meaning: 'A connection or its handshake took too long.',
    action: 'Check the network between the two, and the load of the other end.',
  },
  endpoints_invalid: {
    meaning: 'A list of service instances cannot be read; the last good one stays.',
    action: 'Compare the versions of both ends.',
  },
  listen_failed: {
    meaning: 'A listener cannot be opened on its address.',
    action: 'Check that the address belongs to this machine and that the port may be used.',
  },
  // cli
  intercept_failed: {
    meaning: 'Connections cannot be redirected, or not any more left alone.',
    action: 'Run it with CAP_NET_ADMIN where `nft` or `iptables` is installed; the message is what that said.',
  },
  injection_refused: {
    meaning: 'A pod cannot get a sidecar as it is; no object of the file was changed.',
    action: 'Do what every line says (`file:line:column: object: reason`); docs/injection.md lists the annotations.',
  },
  installation_missing: {
    meaning: 'The directory was not made by `cellmesh up`.',
    action: 'Start a cell with `cellmesh up`, or name its directory with `--state`.',
  },
} as const;

export type ErrorCode = keyof typeof errorCodes;
