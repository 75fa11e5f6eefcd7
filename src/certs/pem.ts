/** Turns DER into one PEM block (RFC 7468). */
export function toPem(label: string, der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

/** The contents of the first `countMax` blocks that carry `label`; what else the text holds is ignored. */
export function pemBlocks(text: string, label: string, countMax: number): readonly Buffer[] {
  const begin = `-----BEGIN ${label}-----`;
  const end = `-----END ${label}-----`;
  const blocks: Buffer[] = [];
  let position = text.indexOf(begin);
  while (position !== -1 && blocks.length < countMax) {
    const start = position + begin.length;
    const stop = text.indexOf(end, start);
    if (stop === -1) break;
    blocks.push(Buffer.from(text.slice(start, stop), 'base64'));
    position = text.indexOf(begin, stop + end.length);
  }
  return blocks;
}
