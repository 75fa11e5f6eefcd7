/** Documents in which every field is said. */
export const wholePolicy = `apiVersion: cellmesh.io/v1alpha1
kind: ServicePolicy
metadata: { name: one, namespace: mail, labels: { app.kubernetes.io/part-of: mail, empty: "" }, annotations: { example.com/note: A note. } }
spec:
  serviceAccount: one
  mode: enforce
  hosts: [one.mail, one]
  ports: [{ port: 80, protocol: http }, { port: 81, protocol: grpc }, { port: 82, protocol: tcp }]
  inbound: { mode: observe-plaintext, until: 2027-02-20T12:00:00Z }
  receive: claims
  expose: [{ hosts: [api.example], paths: ["/v1/**", /v1/.well-known, /a...b/...], auth: required }]
  allow:
    - name: all
      from: [mail/two, router, any, "spiffe://cell-1.example/ns/*/sa/api", spiffe://cell-1.example/ns/mail/sa/two]
      port: 80
      http: { methods: [GET, POST], paths: ["/a/*", "/%C3%A9", "/**"] }
      scopes: [a:read]
      anyScope: [a:read, b:read]
      account: required
      actor: [bot, other]
      claims:
        - { claim: sub, equals: x }
        - { pointer: /plan, in: [pro, 7, true, -0.5, ""] }
        - { pointer: /a~1b/c, as: words, equals: 0 }
        - { pointer: /roles, as: list, equals: false }
        - { pointer: /suspended, exists: false }
      until: 2027-01-31T12:00:00.123456789Z
      limits: [{ per: account, perSecond: 0.5, burst: 3 }, { per: peer, perSecond: 1000000 }]
      sensitive: true
    - { name: method, from: [mail/two], grpc: { methods: [p.v1.S/M, S/*] }, actor: none }
    - { name: bytes, from: [mail/two], port: 82, http: {}, account: none, limits: [{ per: rule, perSecond: 1 }], actor: required }
    - { name: others, from: [unmeshed], http: { paths: [/open] }, account: none, scopes: [], claims: [], sensitive: false }
  rollout: { percent: 12.5, newlyDeniedMax: 0.5%, requestsMin: 7 }
  calls:
    - to: mail/two
      listen: 127.0.0.1:9000
      carry: []
      own: [a:read]
      token: none
      timeouts: { connect: 1s, head: 2s, idle: 3s, total: 1h }
      retries: { attempts: 2, retryOn: [reset, 503] }
      routes:
        - { port: 80, http: { methods: [GET] }, timeouts: { head: 5ms, idle: 60m, total: 3600s }, retries: { attempts: 3, retryOn: [502] } }
        - { http: { methods: [POST] } }
    - { to: mail/three, listen: "[::1]:65535", token: propagate }
`;

export const wholeCell = `apiVersion: cellmesh.io/v1alpha1
kind: Cell
metadata: { name: cell-1, labels: { a: b } }
spec:
  trustDomain: cell-1.example
  domain: example
  tokenIssuer: https://identity.example
  scopes: { a:read: Read a., b:read: Read b. }
  ceiling:
    - { from: router, to: mail/one, scopes: [a:read] }
    - { from: mail/*, to: any, scopes: [] }
  defaults: { timeouts: { connect: 1s, head: 2s, idle: 3s, total: 1h } }
  federation: [{ trustDomain: partner.test, trustBundle: '{"keys":[]}' }]
`;

/** What is written in place of what, and what the API server says about it. */
export const refusals: readonly (readonly [from: string, to: string, said: RegExp])[] = [
  ...['cell-1.example', 'example', 'cell-2.example'].map(
    (domain) =>
      [
        'trustDomain: partner.test',
        `trustDomain: ${domain}`,
        /spec\.federation: Invalid value: .*a cell trusts no other cell/,
      ] as const,
  ),
  // What the shapes say.
  ['  mode: enforce\n', '', /spec\.mode: Required value/],
  [
    'mode: enforce',
    'mode: enforced',
    /spec\.mode: Unsupported value: "enforced": supported values: "audit", "enforce"/,
  ],
  ['name: one,', 'name: one.mail,', /metadata\.name: Invalid value: "one\.mail"/],
  ['serviceAccount: one', 'serviceAccount: One', /spec\.serviceAccount in body should match/],
  ['hosts: [one.mail, one]', 'hosts: []', /spec\.hosts in body should have at least 1 items/],
  ['hosts: [one.mail, one]', `hosts: [${'a.'.repeat(127)}a]`, /spec\.hosts\[0\]: Too long: may not be more than 253/],
  [
    'port: 80, protocol: http',
    'port: 65536, protocol: http',
    /spec\.ports\[0\]\.port in body should be less than or equal to 65535/,
  ],
  [
    'port: 80, protocol: http',
    'port: "80", protocol: http',
    /spec\.ports\[0\]\.port in body must be of type integer: "string"/,
  ],
  ['protocol: tcp', 'protocol: udp', /spec\.ports\[2\]\.protocol: Unsupported value: "udp"/],
  [', until: 2027-02-20T12:00:00Z }', ' }', /spec\.inbound: Invalid value: .*say `until` when/],
  [
    'mode: observe-plaintext',
    'mode: strict',
    /spec\.inbound\.until: Invalid value: .*`until` is of `observe-plaintext`/,
  ],
  ['mode: observe-plaintext', 'mode: plaintext', /spec\.inbound\.mode: Unsupported value: "plaintext"/],
  ['[/open] }, account: none,', '[/open] },', /"spec\.allow\[3\]" must validate at least one schema \(anyOf\)/],
  ['account: none, scopes: []', 'account: none, scopes: [a:read]', /spec\.allow\[3\].*(anyOf|at most 0 items)/],
  ['account: none, scopes: []', 'account: none, anyScope: [a:read]', /spec\.allow\[3\].*(anyOf|not)/],
  ['account: none, scopes: []', 'account: none, actor: none', /spec\.allow\[3\].*(anyOf|not)/],
  ['claims: [], s', 'claims: [{ claim: sub, exists: true }], s', /spec\.allow\[3\].*(anyOf|at most 0 items)/],
  ['sensitive: false }\n', 'sensitive: true }\n', /spec\.allow\[3\].*(anyOf|Unsupported value)/],
  ['receive: claims', 'receive: token', /spec\.receive: Unsupported value: "token": supported values: "claims"/],
  ['"/v1/**"', '/v1/../a', /spec\.expose\[0\]\.paths\[0\] in body should match/],
  ['"/v1/**"', '/a//b', /spec\.expose\[0\]\.paths\[0\] in body should match/],
  ['"/v1/**"', '/v1;a', /spec\.expose\[0\]\.paths\[0\] in body should match/],
  [
    '[mail/two, router,',
    '[two, router,',
    /spec\.allow\[0\]\.from\[0\] in body should match '\^\(router\|any\|unmeshed\)\$\|/,
  ],
  ['[mail/two, router,', '["mail/*", router,', /spec\.allow\[0\]\.from\[0\] in body should match/],
  ['scopes: [a:read]\n', 'scopes: [read]\n', /spec\.allow\[0\]\.scopes\[0\] in body should match/],
  ['methods: [GET, POST]', 'methods: [get]', /spec\.allow\[0\]\.http\.methods\[0\] in body should match/],
  ['actor: none', 'actor: nobody', /spec\.allow\[1\]\.actor in body should match '\^\(none\|required\)\$'/],
  ['actor: none', 'actor: []', /spec\.allow\[1\]\.actor in body should have at least 1 items/],
  ['actor: none', 'actor: [1]', /spec\.allow\[1\]\.actor\[0\] in body must be of type string/],
  ['actor: none', 'actor: true', /"spec\.allow\[1\]\.actor" must not validate the schema \(not\)/],
  ['actor: none', 'actor: 1', /spec\.allow\[1\]\.actor in body should be less than or equal to 0/],
  ['actor: none', 'actor: {}', /spec\.allow\[1\]\.actor in body should have at least 1 properties/],
  ['equals: x', 'equals: [x]', /spec\.allow\[0\]\.claims\[0\]\.equals: Too many: 1: must have at most 0 items/],
  [
    'equals: x',
    'equals: 9007199254740993',
    /spec\.allow\[0\]\.claims\[0\]\.equals in body should be less than or equal to/,
  ],
  ['equals: x', `equals: ${'a'.repeat(257)}`, /spec\.allow\[0\]\.claims\[0\]\.equals: Too long/],
  ['2027-01-31T12', '2027-02-30T12', /spec\.allow\[0\]\.until in body must be of type date-time/],
  [
    'perSecond: 0.5',
    'perSecond: 0',
    /spec\.allow\[0\]\.limits\[0\]\.perSecond: Invalid value: .*a number from 0\.001 to 1000000 is expected/,
  ],
  ['percent: 12.5', 'percent: 101', /spec\.rollout\.percent in body should be less than or equal to 100/],
  ['0.5%', '100.5%', /spec\.rollout\.newlyDeniedMax in body should match/],
  ['to: mail/two', 'to: https://api.example', /spec\.calls\[0\]\.to in body should match/],
  ['127.0.0.1:9000', '0.0.0.0:9000', /spec\.calls\[0\]\.listen in body should match/],
  ['token: none', 'token: exchange', /spec\.calls\[0\]\.token: Unsupported value: "exchange"/],
  ['attempts: 2', 'attempts: 6', /spec\.calls\[0\]\.retries\.attempts in body should be less than or equal to 5/],
  [
    '[reset, 503]',
    '[reset, 500]',
    /spec\.calls\[0\]\.retries\.retryOn\[1\]: Unsupported value: 500: supported values: "reset", "502", "503", "504"/,
  ],
  ['[reset, 503]', '["503"]', /spec\.calls\[0\]\.retries\.retryOn\[0\]: Unsupported value: "503"/],
  // What several fields say together.
  ['port: 81', 'port: 80', /spec\.ports\[1\]: Duplicate value: \{"port":80\}/],
  ['name: method', 'name: all', /spec\.allow\[1\]: Duplicate value: \{"name":"all"\}/],
  ['to: mail/three', 'to: mail/two', /spec\.calls\[1\]: Duplicate value: \{"to":"mail\/two"\}/],
  ['[a:read, b:read]', '[a:read, a:read]', /spec\.allow\[0\]\.anyScope\[1\]: Duplicate value: "a:read"/],
  ['port: 80\n', 'port: 79\n', /spec\.allow: Invalid value: .*`port` of a rule is not one of `ports`/],
  [
    'port: 80\n',
    'port: 80\n      grpc: { methods: [S/M] }\n',
    /spec\.allow\[0\]: Invalid value: .*a rule is about `http` or about `grpc`, not both/,
  ],
  [
    '{ name: method,',
    '{ name: method, port: 80,',
    /spec\.allow: Invalid value: .*`grpc` of a rule is for a port with `protocol: grpc`/,
  ],
  ['protocol: tcp', 'protocol: grpc', /spec\.allow: Invalid value: .*`port` says which of several/],
  [
    'http: {},',
    'http: { methods: [GET] },',
    /spec\.allow: Invalid value: .*a port that is tcp has neither methods nor paths/,
  ],
  [
    'ports: [{ port: 80, protocol: http }, ',
    'ports: [{ port: 83, protocol: tcp }, { port: 80, protocol: http }, ',
    /spec\.expose: Invalid value: .*`expose` sends to the first of `ports`, which is tcp/,
  ],
  [
    'per: rule',
    'per: account',
    /spec\.allow\[2\]\.limits: Invalid value: .*a limit `per: account` needs `account: required`/,
  ],
  [
    '{ claim: sub, equals',
    '{ claim: sub, pointer: /sub, equals',
    /spec\.allow\[0\]\.claims\[0\]: Invalid value: .*a condition is about either a `claim` or a `pointer`/,
  ],
  [
    '{ claim: sub, equals',
    '{ equals',
    /spec\.allow\[0\]\.claims\[0\]: Invalid value: .*a condition is about either a `claim` or a `pointer`/,
  ],
  [
    'equals: x }',
    'equals: x, in: [y] }',
    /"spec\.allow\[0\]\.claims\[0\]" must validate one and only one schema \(oneOf\)/,
  ],
  ['equals: x }', 'as: value }', /"spec\.allow\[0\]\.claims\[0\]" must validate one and only one schema \(oneOf\)/],
  [
    'exists: false',
    'exists: false, as: list',
    /spec\.allow\[0\]\.claims\[4\]\.as: Invalid value: .*`exists` is not read `as` anything/,
  ],
  ['[::1]:65535', '[::1]:65536', /spec\.calls\[1\]\.listen: Invalid value: .*a port is at most 65535/],
  ['total: 1h', 'total: 61m', /spec\.calls\[0\]\.timeouts\.total: Invalid value: .*a duration is from 1ms to 1h/],
  ['total: 1h', 'total: 999999999h', /spec\.calls\[0\]\.timeouts\.total: Invalid value: /],
  ['connect: 1s', 'connect: 0ms', /spec\.calls\[0\]\.timeouts\.connect: Invalid value: .*a duration is from 1ms to 1h/],
  [
    'head: 5ms',
    'head: 0s',
    /spec\.calls\[0\]\.routes\[0\]\.timeouts\.head: Invalid value: .*a duration is from 1ms to 1h/,
  ],
  [
    '{ methods: [GET] }, timeouts',
    '{ methods: [POST] }, timeouts',
    /spec\.calls\[0\]\.routes\[0\]\.http\.methods\[0\]: Unsupported value: "POST"/,
  ],
  // Of a Cell.
  ['name: cell-1,', 'name: cell.1,', /metadata\.name: Invalid value: "cell\.1"/],
  [' domain: example', ' domain: Example', /spec\.domain in body should match/],
  ['https://identity.example', '""', /spec\.tokenIssuer in body should be at least 1 chars long/],
  ['b:read: Read b.', 'b: Read b.', /spec\.scopes: Invalid value: .*a scope is written resource:action/],
  ['b:read: Read b.', `b:${'a'.repeat(63)}: Read b.`, /spec\.scopes: Invalid value: .*with at most 64 characters/],
  ['Read b.', 'a'.repeat(513), /spec\.scopes\.b:read: Too long: may not be more than 512/],
  ['from: mail/*', 'from: "*/mail"', /spec\.ceiling\[1\]\.from in body should match/],
  ['to: any', 'to: router', /spec\.ceiling\[1\]\.to in body should match/],
];
