import { stringify } from 'yaml';
import { type Fields, pathsOf } from '#cli/install/values.ts';
import type { JsonSchema } from '#policy/json-schema.ts';

/** `values.yaml`: what is without being set, each value under the sentence that says what it is for. */
export function valuesText(fields: Fields, indent = 0): string {
  const pad = ' '.repeat(indent);
  const texts = Object.entries(fields).map(([name, field]) => {
    const comment = `${pad}# ${field.doc}\n`;
    if ('fields' in field) return `${comment}${pad}${name}:\n${valuesText(field.fields, indent + 2)}`;
    const entry = stringify({ [name]: field.fallback }, { version: '1.1', lineWidth: 0 });
    return comment + entry.replace(/^(?=.)/gm, pad);
  });
  return texts.join(indent === 0 ? '\n' : '');
}

/** `values.schema.json`, in the draft that all versions of Helm read. What a value is not, `global` is to charts that have this one in them. */
export function schemaText(title: string, fields: Fields): string {
  const { properties, ...rest } = schemaOf(fields);
  const schema = { $schema: 'http://json-schema.org/draft-07/schema#', title, ...rest };
  return `${JSON.stringify({ ...schema, properties: { ...properties, global: { type: 'object' } } }, undefined, 2)}\n`;
}

function schemaOf(fields: Fields): JsonSchema {
  const properties = Object.entries(fields).map(([name, field]) => [
    name,
    { description: field.doc, ...('fields' in field ? schemaOf(field.fields) : field.shape.schema) },
  ]);
  return { type: 'object', properties: Object.fromEntries(properties), additionalProperties: false };
}

/** For `docs/install.md`. */
export function valuesTable(fields: Fields): string {
  const rows = pathsOf(fields).map(([path, { doc, fallback }]) => {
    const text = typeof fallback === 'string' && fallback !== '' ? fallback : JSON.stringify(fallback);
    return `| \`${path}\` | \`${text}\` | ${doc.replaceAll('|', '\\|')} |\n`;
  });
  return `| value | default | what it is for |\n|---|---|---|\n${rows.join('')}`;
}
