/** What a change does to what is allowed; `same`: it is only written otherwise; `different`: something more and something less, or neither. */
export type Effect = 'wider' | 'narrower' | 'different' | 'same';

/** One thing that is not as it was. */
export interface Change {
  /** `mode`, `rule read`, `call to shop/cart`; of a field its name. */
  readonly what: string;
  readonly kind: 'added' | 'removed' | 'changed';
  readonly effect: Effect;
  /** In words; absent where it was not there. */
  readonly before?: string;
  readonly after?: string;
  /** Of what has fields. */
  readonly fields?: readonly Change[];
}

export function added(what: string, after: string, effect: Effect = 'wider'): Change {
  return { what, kind: 'added', effect, after };
}

export function removed(what: string, before: string, effect: Effect = 'narrower'): Change {
  return { what, kind: 'removed', effect, before };
}

/** @param effect asked for only where the two differ */
export function changed(
  what: string,
  before: string,
  after: string,
  effect: () => Effect = () => 'different',
): Change[] {
  return before === after ? [] : [{ what, kind: 'changed', effect: effect(), before, after }];
}

/** Of something whose fields changed; nothing when none did. */
export function changedWithin(what: string, fields: readonly Change[]): Change[] {
  return fields.length === 0 ? [] : [{ what, kind: 'changed', effect: joined(fields), fields }];
}

/** @param isWider whether the new takes all that the old took */
export function effectOf(isWider: boolean, isNarrower: boolean): Effect {
  if (isWider) return isNarrower ? 'same' : 'wider';
  return isNarrower ? 'narrower' : 'different';
}

function joined(changes: readonly Change[]): Effect {
  const [first = 'same', ...others] = new Set(
    changes.map(({ effect }) => effect).filter((effect) => effect !== 'same'),
  );
  return others.length === 0 ? first : 'different';
}

/** Of a list that allows the more the longer it is. What is new, what is gone, and whether the rest has another order. */
export function changedList(
  what: string,
  before: readonly string[],
  after: readonly string[],
  effects: { readonly added: Effect; readonly removed: Effect } = { added: 'wider', removed: 'narrower' },
): Change[] {
  const [less, more] = [new Set(before), new Set(after)];
  const stays = (some: readonly string[]) => some.filter((one) => less.has(one) && more.has(one)).join(', ');
  return [
    ...[...more].filter((one) => !less.has(one)).map((one) => added(what, one, effects.added)),
    ...[...less].filter((one) => !more.has(one)).map((one) => removed(what, one, effects.removed)),
    ...changed(`order of ${what}s`, stays(before), stays(after)),
  ];
}

/** Of a set that allows the more the more is in it; `undefined` is everything, and `all` its word. */
export function changedSet(
  what: string,
  before: readonly string[] | undefined,
  after: readonly string[] | undefined,
  all = 'all',
): Change[] {
  const textOf = (some: readonly string[] | undefined) => (some === undefined ? all : setText(some));
  const has = (some: readonly string[] | undefined, others: readonly string[] | undefined) =>
    some === undefined || others?.every((one) => some.includes(one)) === true;
  return changed(what, textOf(before), textOf(after), () => effectOf(has(after, before), has(before, after)));
}

export function setText(some: readonly string[]): string {
  return [...new Set(some)].sort().join(', ') || 'none';
}
