import { type LintRuleName, lintRules } from './lint-rules.ts';
import type { Finding } from './subject.ts';

/** Findings as SARIF 2.1.0 (OASIS), for code review. `version`: of this program. File names are taken for relative paths. */
export function sarifOf(findings: readonly Finding[], version: string): unknown {
  const names = Object.keys(lintRules) as LintRuleName[];
  return {
    $schema: 'https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json',
    version: '2.1.0',
    runs: [
      {
        tool: {
          driver: {
            name: 'cellmesh policy lint',
            semanticVersion: version,
            rules: names.map((id) => ({
              id,
              shortDescription: { text: lintRules[id].meaning },
              help: { text: lintRules[id].action },
              defaultConfiguration: { level: lintRules[id].severity },
            })),
          },
        },
        // SARIF counts columns in UTF-16 units, as we do, or must say otherwise.
        columnKind: 'utf16CodeUnits',
        results: findings.map(({ rule, severity, message, file, line, column }) => ({
          ruleId: rule,
          ruleIndex: names.indexOf(rule),
          level: severity,
          message: { text: message },
          locations: [
            {
              physicalLocation: {
                artifactLocation: { uri: uriOf(file) },
                region: { startLine: line, startColumn: column },
              },
            },
          ],
        })),
      },
    ],
  };
}

/** RFC 3986: a relative reference, or a `file:` URI of an absolute path. */
function uriOf(file: string): string {
  const path = file.split('/').map(encodeURIComponent).join('/');
  return path.startsWith('/') ? `file://${path}` : path;
}
