import { type GraphEdge, type PolicyGraph, parties } from './graph.ts';

/** A graph as a flowchart of Mermaid, which GitHub and GitLab draw. Dashed edges are those over which nothing goes, with the reason. */
export function mermaidOf({ services, edges }: PolicyGraph): string {
  const others = parties.filter((party) => edges.some(({ from }) => from === party));
  const ids = new Map([...others, ...services.map(({ name }) => name)].map((name, at) => [name, `n${at}`]));
  const lines = [
    ...others.map((party) => `${ids.get(party)}(["${party}"])`),
    ...services.map(({ name, mode }) => {
      if (mode === undefined) return `${ids.get(name)}>"${escaped(name)}<br/>no manifest"]`;
      return `${ids.get(name)}["${escaped(name)}${mode === 'audit' ? '<br/>audit' : ''}"]`;
    }),
    ...edges.map((edge) => {
      const arrow = edge.missing === undefined ? '-->' : '-.->';
      return `${ids.get(edge.from)} ${arrow}|"${labelOf(edge)}"| ${ids.get(edge.to)}`;
    }),
  ];
  return ['flowchart LR', ...lines.map((line) => `  ${line}`)].join('\n');
}

const reasons = {
  call: 'not declared',
  rule: 'no rule',
  scopes: 'not enough scopes',
} as const satisfies Record<NonNullable<GraphEdge['missing']>, string>;

function labelOf({ missing, scopes, own }: GraphEdge): string {
  if (missing !== undefined) return reasons[missing];
  const lines = [...scopes, ...own.map((scope) => `own ${scope}`)];
  return lines.length === 0 ? 'no scope' : lines.map(escaped).join('<br/>');
}

/** Within quotes everything is text but the quote itself, entities and HTML. */
function escaped(text: string): string {
  return text.replace(/["#<>&]/g, (character) => `#${character.charCodeAt(0)};`);
}
