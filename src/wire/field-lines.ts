const fieldNamePattern = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;
const fieldValuePattern = /^(?:[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?)?$/;

/** Whether `text` can be sent as a field's value: visible ASCII, spaces and tabs inside only (RFC 9110 5.5). */
export function isFieldValue(text: string): boolean {
  return fieldValuePattern.test(text);
}

/**
 * Field lines for an outgoing message. Names are lower case. Nothing that could end a line gets through: what comes from
 * data must be checked with `isFieldValue` first, a failure here is a programmer's mistake.
 */
export function fieldLines(fields: Readonly<Record<string, string | readonly string[] | undefined>>): string {
  let lines = '';
  for (const name in fields) {
    const value = fields[name];
    if (value === undefined) continue;
    if (typeof value === 'string') lines += fieldLine(name, value);
    else for (const one of value) lines += fieldLine(name, one);
  }
  return lines;
}

export function fieldLine(name: string, value: string): string {
  if (!checkedNames.has(name)) checkName(name);
  if (!isFieldValue(value)) throw new TypeError(`not a value for the field ${name}`);
  return `${name}: ${value}\r\n`;
}

/** Names are written in the source, so there are few: each is looked at once. */
const checkedNames = new Set<string>();

function checkName(name: string): void {
  if (!fieldNamePattern.test(name)) throw new TypeError(`not a field name: ${JSON.stringify(name)}`);
  checkedNames.add(name);
}
