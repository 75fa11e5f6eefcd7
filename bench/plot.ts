import type { Row } from './report.ts';

const columns = 3;
const panelWidth = 340;
const labelWidth = 110;
const valueWidth = 56;
const barHeight = 16;
const barGap = 4;
const titleHeight = 26;
const margin = 20;
const legendHeight = 34;
const inboundColour = '#2b6cb0';
const outboundColour = '#90cdf4';

type Measured = Row & { readonly cpuMicrosIn: number; readonly cpuMicrosOut: number };

/** CPU per request of both hops as bars: a panel for each scenario, method and number of connections, on a scale of its own. An SVG document. */
export function plot(rows: readonly Row[]): string {
  const measured = rows.filter((row): row is Measured => row.cpuMicrosIn !== null && row.cpuMicrosOut !== null);
  const panels = Object.entries(
    Object.groupBy(measured, (row) => `${row.scenario}, ${row.method}, ${row.connections} conn.`),
  );
  const barsMax = Math.max(0, ...panels.map(([, bars]) => bars!.length));
  const panelHeight = titleHeight + barsMax * (barHeight + barGap) + margin;
  const height = 2 * margin + legendHeight + Math.ceil(panels.length / columns) * panelHeight;
  const width = 2 * margin + columns * panelWidth;
  const drawn = panels.map(([title, bars], n) => {
    const x = margin + (n % columns) * panelWidth;
    const y = margin + legendHeight + Math.floor(n / columns) * panelHeight;
    return `<g transform="translate(${x} ${y})">${panel(title, bars!)}</g>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="sans-serif" font-size="12">
<title>CPU per request of each candidate</title>
<rect width="100%" height="100%" fill="white"/>
${legend()}
${drawn.join('\n')}
</svg>
`;
}

function legend(): string {
  return `<g transform="translate(${margin} ${margin})">
<text y="10" font-weight="bold">CPU in microseconds for each request</text>
<rect x="290" width="12" height="12" fill="${inboundColour}"/><text x="308" y="10">inbound hop</text>
<rect x="410" width="12" height="12" fill="${outboundColour}"/><text x="428" y="10">outbound hop</text>
</g>`;
}

function panel(title: string, bars: readonly Measured[]): string {
  const largest = Math.max(...bars.map(({ cpuMicrosIn, cpuMicrosOut }) => cpuMicrosIn + cpuMicrosOut));
  const scale = (panelWidth - labelWidth - valueWidth - margin) / largest;
  const drawn = bars.map(({ candidate, cpuMicrosIn, cpuMicrosOut }, n) => {
    const y = titleHeight + n * (barHeight + barGap);
    const [inside, outside] = [cpuMicrosIn * scale, cpuMicrosOut * scale];
    const sum = cpuMicrosIn + cpuMicrosOut;
    const weight = candidate.startsWith('cellmesh') ? ' font-weight="bold"' : '';
    return `<text x="${labelWidth - 6}" y="${y + 12}" text-anchor="end"${weight}>${candidate}</text>
<rect x="${labelWidth}" y="${y}" width="${inside.toFixed(1)}" height="${barHeight}" fill="${inboundColour}"/>
<rect x="${(labelWidth + inside).toFixed(1)}" y="${y}" width="${outside.toFixed(1)}" height="${barHeight}" fill="${outboundColour}"/>
<text x="${(labelWidth + inside + outside + 5).toFixed(1)}" y="${y + 12}">${sum < 100 ? sum.toFixed(1) : Math.round(sum)}</text>`;
  });
  return `<text y="14" font-weight="bold">${title}</text>\n${drawn.join('\n')}`;
}
