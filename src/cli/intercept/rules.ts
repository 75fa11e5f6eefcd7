import { isIPv6 } from 'node:net';

/** What is redirected, and what is not. */
export interface Interception {
  /** The sidecar's user: what it sends is never redirected. */
  readonly uid: number;
  /** Where the application's connections go to: the sidecar's `--intercepted-port`. */
  readonly outboundPort: number;
  /** The sidecar's mTLS port, where connections from outside go to; undefined: they go where they want to. */
  readonly inboundPort: number | undefined;
  /** Ports from outside that stay as they are, beside the mTLS port itself: health, metrics. */
  readonly openPorts: readonly number[];
  /** Destinations of the application that stay as they are: addresses, with or without a prefix. */
  readonly exceptTo: readonly string[];
  readonly exceptPorts: readonly number[];
}

/** A program to run, with what it reads. */
export interface RuleCommand {
  readonly program: string;
  readonly args: readonly string[];
  readonly input: string;
}

const table = 'cellmesh';
const chains = { outbound: 'CELLMESH_OUTBOUND', inbound: 'CELLMESH_INBOUND' } as const;

/**
 * One table of its own for both families, replaced and removed as a whole. Loopback is left alone: what an application says to its own sidecar by
 * port goes there as it is, and nothing that was redirected once can be again.
 */
export const nftables = {
  install({ uid, outboundPort, inboundPort, openPorts, exceptTo, exceptPorts }: Interception): RuleCommand {
    const v4 = exceptTo.filter((address) => !isV6(address));
    const v6 = exceptTo.filter(isV6);
    const outbound = [
      'type nat hook output priority -100; policy accept;',
      `meta skuid ${uid} return`,
      'oifname "lo" return',
      ...(v4.length > 0 ? [`ip daddr { ${v4.join(', ')} } return`] : []),
      ...(v6.length > 0 ? [`ip6 daddr { ${v6.join(', ')} } return`] : []),
      ...(exceptPorts.length > 0 ? [`tcp dport { ${exceptPorts.join(', ')} } return`] : []),
      `meta l4proto tcp redirect to :${outboundPort}`,
    ];
    const inbound = [
      'type nat hook prerouting priority -100; policy accept;',
      'iifname "lo" return',
      `tcp dport { ${[inboundPort, ...openPorts].join(', ')} } return`,
      `meta l4proto tcp redirect to :${inboundPort}`,
    ];
    return nft(
      `table inet ${table}`,
      `delete table inet ${table}`,
      `table inet ${table} {`,
      chain('outbound', outbound),
      ...(inboundPort === undefined ? [] : [chain('inbound', inbound)]),
      '}',
    );
  },

  remove(): RuleCommand {
    return nft(`table inet ${table}`, `delete table inet ${table}`);
  },
};

function chain(name: string, rules: readonly string[]): string {
  return `  chain ${name} {\n${rules.map((rule) => `    ${rule}\n`).join('')}  }`;
}

function nft(...lines: readonly string[]): RuleCommand {
  return { program: 'nft', args: ['-f', '-'], input: `${lines.join('\n')}\n` };
}

/**
 * The same by chains of our own in the `nat` table of each family. A restore is one transaction; the jump into a chain is set once by the caller, since only
 * it can see whether one is there.
 */
export const iptables = {
  /** The chains of one family with their rules. */
  fill(family: 4 | 6, interception: Interception): RuleCommand {
    const { uid, outboundPort, inboundPort, openPorts, exceptTo, exceptPorts } = interception;
    const addresses = exceptTo.filter((address) => isV6(address) === (family === 6));
    const outbound = [
      `-m owner --uid-owner ${uid} -j RETURN`,
      '-o lo -j RETURN',
      ...addresses.map((address) => `-d ${address} -j RETURN`),
      ...exceptPorts.map((port) => `-p tcp --dport ${port} -j RETURN`),
      `-p tcp -j REDIRECT --to-ports ${outboundPort}`,
    ];
    const inbound =
      inboundPort === undefined
        ? []
        : [
            '-i lo -j RETURN',
            ...[inboundPort, ...openPorts].map((port) => `-p tcp --dport ${port} -j RETURN`),
            `-p tcp -j REDIRECT --to-ports ${inboundPort}`,
          ];
    const lines = [
      '*nat',
      // Naming a chain empties it.
      `:${chains.outbound} -`,
      `:${chains.inbound} -`,
      ...outbound.map((rule) => `-A ${chains.outbound} ${rule}`),
      ...inbound.map((rule) => `-A ${chains.inbound} ${rule}`),
      'COMMIT',
    ];
    return { program: restoreOf(family), args: ['--noflush', '--wait'], input: `${lines.join('\n')}\n` };
  },

  /** Asked with `-C`, added with `-A`, taken away with `-D`. */
  jumps(family: 4 | 6, action: '-C' | '-A' | '-D'): readonly RuleCommand[] {
    return [
      tables(family, action, 'OUTPUT', '-j', chains.outbound),
      tables(family, action, 'PREROUTING', '-j', chains.inbound),
    ];
  },

  /** After the jumps: emptied first, since a chain with rules stays. */
  drop(family: 4 | 6): readonly RuleCommand[] {
    return Object.values(chains).flatMap((name) => [tables(family, '-F', name), tables(family, '-X', name)]);
  },
};

function tables(family: 4 | 6, ...args: readonly string[]): RuleCommand {
  return { program: family === 4 ? 'iptables' : 'ip6tables', args: ['--wait', '-t', 'nat', ...args], input: '' };
}

function restoreOf(family: 4 | 6): string {
  return family === 4 ? 'iptables-restore' : 'ip6tables-restore';
}

function isV6(address: string): boolean {
  return isIPv6(address.split('/')[0]!);
}
