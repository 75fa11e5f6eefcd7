/** `; did you mean …?` for what is two keystrokes or fewer beside one of `names`; else empty. */
export function suggestion(written: string, names: readonly string[]): string {
  const near = names.find((name) => editDistanceAtMost2(written.toLowerCase(), name.toLowerCase()));
  return near === undefined ? '' : `; did you mean \`${near}\`?`;
}

function editDistanceAtMost2(a: string, b: string): boolean {
  if (Math.abs(a.length - b.length) > 2 || a.length > 64) return false;
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(substitution, previous[j]! + 1, row[j - 1]! + 1));
    }
    previous = row;
  }
  return previous[b.length]! <= 2;
}
