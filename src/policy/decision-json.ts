import type { RecordedClaims } from './decision-record.ts';
import type { OpenRecord } from './open-record.ts';

/** Members that are the same for many records, and their JSON. */
type Part<K extends keyof OpenRecord> = Pick<OpenRecord, K> & { readonly text: string };
type Verdict = Part<'direction' | 'instance' | 'outcome' | 'isAudited' | 'reason' | 'status'> & {
  /** Whether ids that begin with the instance's name need no escapes. */
  readonly hasPlainIds: boolean;
};
type Parties = Part<'peer' | 'address' | 'service' | 'policyVersion' | 'callee' | 'port'>;
type Customer = Part<'account'>;
type Way = Part<'rule' | 'route' | 'left' | 'granted'>;

/** Of each kind; some hundred bytes each. */
const partsMax = 500;

/**
 * The JSON of records, the same that `JSON.stringify` writes, for a sixth of the time: most of a record is as it was in another one before, so its
 * text is remembered, and what is new is put between.
 */
export class DecisionJson {
  #verdict: Verdict | undefined;
  #parties: Parties | undefined;
  /** By peer or callee. */
  readonly #allParties = new Map<string | undefined, Parties>();
  #way: Way | undefined;
  /** By rule or route. */
  readonly #allWays = new Map<string | undefined, Way>();
  #claims: RecordedClaims | undefined;
  #customer: Customer | undefined;
  /** Many requests carry one token. */
  readonly #allCustomers = new WeakMap<RecordedClaims, Customer>();
  #method: string | undefined;
  #methodText = '';

  /** Without a newline. */
  of(record: OpenRecord): string {
    const { id, time, method, path, failed, candidate, traceId, degraded, durationMs } = record;
    const verdict = this.#verdictOf(record);
    const start = verdict.hasPlainIds
      ? `{"schema":2,"id":"${id}`
      : `{"schema":2,"id":${JSON.stringify(id).slice(0, -1)}`;
    const known = `${verdict.text}${this.#partiesOf(record)}${this.#wayOf(record)}${this.#customerOf(record)}`;
    const asked = `${this.#methodOf(method)}${member(',"path":"', path)}${member(',"traceId":"', traceId)}`;
    const isRare = failed !== undefined || candidate !== undefined || degraded !== undefined;
    const rare = isRare ? membersOf({ failed, candidate, degraded }) : '';
    const end = `${numberText(durationMs)}}`;
    return `${start}","time":"${time}"${known}${asked}${rare},"durationMs":${end}`;
  }

  #verdictOf(record: OpenRecord): Verdict {
    const { direction, instance, outcome, isAudited, reason, status } = record;
    const last = this.#verdict;
    if (
      last !== undefined &&
      last.status === status &&
      last.outcome === outcome &&
      last.reason === reason &&
      last.isAudited === isAudited &&
      last.direction === direction &&
      last.instance === instance
    )
      return last;
    const members = { direction, instance, outcome, isAudited, reason, status };
    this.#verdict = { ...members, text: membersOf(members), hasPlainIds: plain.test(instance) };
    return this.#verdict;
  }

  #partiesOf(record: OpenRecord): string {
    let parties = this.#parties;
    if (parties !== undefined && areOf(parties, record)) return parties.text;
    const { peer, address, service, policyVersion, callee, port } = record;
    parties = this.#allParties.get(peer ?? callee);
    if (parties === undefined || !areOf(parties, record)) {
      const members = { peer, address, service, policyVersion, callee, port };
      parties = { ...members, text: membersOf(members) };
      keep(this.#allParties, peer ?? callee, parties);
    }
    this.#parties = parties;
    return parties.text;
  }

  #wayOf(record: OpenRecord): string {
    let way = this.#way;
    if (way !== undefined && isOf(way, record)) return way.text;
    const { rule, route, left, granted } = record;
    way = this.#allWays.get(rule ?? route);
    if (way === undefined || !isOf(way, record)) {
      const members = { rule, route, left, granted };
      way = { ...members, text: membersOf(members) };
      keep(this.#allWays, rule ?? route, way);
    }
    this.#way = way;
    return way.text;
  }

  #customerOf({ account, claims }: OpenRecord): string {
    if (claims === undefined) return member(',"account":"', account);
    let customer = claims === this.#claims ? this.#customer : this.#allCustomers.get(claims);
    if (customer === undefined || customer.account !== account) {
      customer = { account, text: membersOf({ account, claims }) };
      this.#allCustomers.set(claims, customer);
    }
    this.#claims = claims;
    this.#customer = customer;
    return customer.text;
  }

  #methodOf(method: string | undefined): string {
    if (method !== this.#method) {
      this.#method = method;
      this.#methodText = membersOf({ method });
    }
    return this.#methodText;
  }
}

function areOf(parties: Parties, record: OpenRecord): boolean {
  return (
    parties.peer === record.peer &&
    parties.port === record.port &&
    parties.service === record.service &&
    parties.policyVersion === record.policyVersion &&
    parties.callee === record.callee &&
    parties.address === record.address
  );
}

function isOf(way: Way, record: OpenRecord): boolean {
  return (
    way.rule === record.rule && way.route === record.route && way.left === record.left && way.granted === record.granted
  );
}

function keep<Value>(parts: Map<string | undefined, Value>, key: string | undefined, part: Value): void {
  if (parts.size >= partsMax) parts.clear();
  parts.set(key, part);
}

/** `,"name":value` of each that is there. The text is one piece of memory, for it is copied with every record. */
function membersOf(members: object): string {
  // A member before them, cut off again with the braces: all others have their comma then.
  return JSON.stringify({ '': 0, ...members }).slice('{"":0'.length, -1);
}

/** Of these characters JSON writes each as it is. */
const plain = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/;

/** @param start `,"name":"` */
function member(start: string, value: string | undefined): string {
  if (value === undefined) return '';
  return plain.test(value) ? `${start}${value}"` : `${start.slice(0, -1)}${JSON.stringify(value)}`;
}

/** What is behind the point, without zeros at the end. */
const thousandths = Array.from({ length: 1000 }, (_, count) => String(count / 1000).slice(1));

/** JSON of a number. With three digits behind its point it is made of two known texts: any other takes longer than half a record. */
function numberText(value: number): string {
  const count = Math.round(value * 1000);
  if (count / 1000 !== value || count < 0 || count > 1e12) return JSON.stringify(value);
  const whole = Math.floor(count / 1000);
  return `${whole}${thousandths[count - whole * 1000]}`;
}
