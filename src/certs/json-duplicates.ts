/**
 * The name of a member that one object of a JSON text has twice, or undefined. JSON.parse keeps the last one silently; another
 * reader keeps the first, and the two then trust different keys. `json` must be a text that JSON.parse accepts.
 */
export function duplicateMember(json: string): string | undefined {
  const token = /"(?:[^"\\]|\\.)*"(\s*:)?|[{}]/g;
  const open: Set<string>[] = [];
  for (const [text, colon] of json.matchAll(token)) {
    if (text === '{') open.push(new Set());
    else if (text === '}') open.pop();
    else if (colon !== undefined) {
      const name = JSON.parse(text.slice(0, -colon.length)) as string;
      const names = open.at(-1);
      if (names?.has(name)) return name;
      names?.add(name);
    }
  }
  return undefined;
}
