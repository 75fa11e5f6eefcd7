import { join } from 'node:path';
import type { Command } from 'commander';
import { type Certificate, parseCertificatesPem } from '#certs/certificate.ts';
import { readTextFile } from '#certs/private-file.ts';
import { readSvid } from '#certs/svid.ts';
import { systemClock } from '#runtime/clock.ts';
import { messageOf } from '#runtime/errors.ts';
import { type Installation, readInstallation, region } from './installation.ts';
import { type StateOptions, withState } from './operator.ts';
import { distance, print, table } from './output.ts';
import { addRecover } from './recover-root.ts';
import { type RootsReport, rootsTable, rotationLine, showRoots } from './roots.ts';
import { addRotateRoot, authorities } from './rotate-root.ts';

interface CertificateRow {
  readonly of: string;
  readonly kind: 'svid' | 'intermediate' | 'root';
  readonly name: string;
  readonly serial: string;
  readonly notBefore: string;
  readonly notAfter: string;
  readonly ends: string;
}

/** Who is who, and until when. */
export function addCerts(program: Command): void {
  const certs = program
    .command('certs')
    .summary('SVIDs, their issuers and roots')
    .description('SVIDs, their issuers and roots.');
  withState(
    certs
      .command('show')
      .description('Shows the certificates of every identity in the state directory, or those of a PEM file.')
      .argument('[file]', 'a PEM file with certificates'),
  ).action(async (file: string | undefined, options: StateOptions) => {
    if (file === undefined) return await showInstallation(options);
    const rows = parseCertificatesPem(await readTextFile(file)).map((one) => rowOf(file, one));
    print({ rows, problems: [] }, () => certificateTable(rows), options);
  });
  addRotateRoot(certs);
  addRecover(certs);
}

async function showInstallation(options: StateOptions): Promise<void> {
  const { rows, problems } = await certificatesOf(await readInstallation(options.state));
  const roots: RootsReport[] = [];
  for (const authority of authorities) {
    try {
      roots.push(await showRoots((use) => authority.at({ ...options, region }, use)));
    } catch (error) {
      problems.push(`the phases of roots, of the ${authority.name}: ${messageOf(error)}`);
    }
  }
  const forPeople = () => {
    const phases = roots.map((one) => `\n${one.trustDomain}\n${rootsTable(one)}\n${rotationLine(one)}`);
    return [certificateTable(rows), ...phases, ...problems].join('\n');
  };
  print({ rows, roots, problems }, forPeople, options);
}

function certificateTable(rows: readonly CertificateRow[]): string {
  return table(
    ['OF', 'KIND', 'NAME', 'SERIAL', 'ENDS'],
    rows.map((row) => [row.of, row.kind, row.name, row.serial.slice(0, 16), row.ends]),
  );
}

async function certificatesOf(installation: Installation): Promise<{ rows: CertificateRow[]; problems: string[] }> {
  const { services, router, controlPlane, identity } = installation;
  const directories: [string, string][] = [
    ['identity (admin)', join(identity.stateDir, 'admin')],
    ['control-plane (admin)', join(controlPlane.stateDir, 'admin')],
    ['router', join(router.stateDir, 'svid')],
    ...services.map(({ namespace, name, stateDir }): [string, string] => [
      `${namespace}/${name}`,
      join(stateDir, 'svid'),
    ]),
  ];
  const rows: CertificateRow[] = [];
  const problems: string[] = [];
  for (const [of, directory] of directories) {
    try {
      const { svid, bundles } = await readSvid(directory, systemClock.now());
      rows.push(...svid.chain.map((certificate) => rowOf(of, certificate)));
      const own = [...bundles.values()].find(({ trustDomain }) => svid.id.startsWith(`spiffe://${trustDomain}/`));
      rows.push(...(own?.roots ?? []).map((root) => rowOf(of, root)));
    } catch (error) {
      problems.push(`${of}: ${messageOf(error)}`);
    }
  }
  return { rows, problems };
}

function rowOf(of: string, certificate: Certificate): CertificateRow {
  const { subjectAltName, serial, notBefore, notAfter, issuer, subject } = certificate;
  const isAuthority = certificate.basicConstraints?.isAuthority === true;
  return {
    of,
    kind: !isAuthority ? 'svid' : issuer.equals(subject) ? 'root' : 'intermediate',
    name: subjectAltName?.uris[0] ?? '-',
    serial,
    notBefore: new Date(notBefore).toISOString(),
    notAfter: new Date(notAfter).toISOString(),
    ends: distance(notAfter, systemClock.now()),
  };
}
