import { installations } from '#cli/install/installations.ts';
import { controlPlanePermissions, identityPermissions, type Permissions } from '#cli/install/permissions.ts';
import { valuesTable } from './values-files.ts';

/** `docs/install.md` with its tables as the source has them; the headings stay where they are. */
export function withTables(page: string): string {
  const tables = {
    'Values of `cellmesh-cell`': valuesTable(installations.cell.fields),
    'Values of `cellmesh-global`': valuesTable(installations.global.fields),
    'What the control plane may do': permissionsTable(controlPlanePermissions),
    'What identity may do': permissionsTable(identityPermissions),
  };
  return Object.entries(tables).reduce((text, [heading, table]) => {
    const [before, after] = text.split(`### ${heading}\n`);
    if (after === undefined) throw new Error(`docs/install.md has no heading "${heading}"`);
    return `${before}### ${heading}\n${after.replace(/^\|[\s\S]*?\n(?=\n|$)/m, () => table)}`;
  }, page);
}

function permissionsTable({ cluster, namespace }: Permissions): string {
  const rows = [
    ...cluster.map((one) => [one, 'cluster'] as const),
    ...namespace.map((one) => [one, 'own namespace'] as const),
  ].map(([{ apiGroup, resource, names, verbs, reason }, where]) => {
    const what = `\`${resource}${apiGroup === '' ? '' : `\` of \`${apiGroup}`}\``;
    const named = names === undefined ? '' : ` (${names.map((name) => `\`${name}\``).join(', ')} alone)`;
    return `| ${what}${named} | ${verbs.join(', ')} | ${where} | ${reason} |\n`;
  });
  return `| what | verbs | where | what for |\n|---|---|---|---|\n${rows.join('')}`;
}
