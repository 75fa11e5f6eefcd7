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
type Known = Readonly<Record<'verdict' | 'parties' | 'way' | 'customer' | 'method', string>>;

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
  /** The texts of the last record, */
  #known: Known = { verdict: '', parties: '', way: '', customer: '', method: '' };
  /** and all of them in one piece, once two records in a row had the same. */
  #knownText = '';

  /** Without a newline. */
  of(record: OpenRecord): string {
    const { id, time, path, failed, candidate, traceId, degraded, durationMs } = record;
    const verdict = this.#verdictOf(record);
    const plainId = verdict.hasPlainIds ? id : JSON.stringify(id).slice(1, -1);
    const known = this.#knownOf(record, verdict);
    const isRare = failed !== undefined || candidate !== undefined || degraded !== undefined;
    const rare = isRare ? membersOf({ failed, candidate, degraded }) : '';
    // Added up, not put into a template, which would ask each of them whether it is a text.
    const start = idStart + plainId + timeStart + time + known;
    // Neither has a character that JSON escapes: both are of few characters, by their types.
    const asked =
      (path === undefined ? '' : pathStart + path + quote) +
      (traceId === undefined ? '' : traceStart + traceId + quote);
    return start + asked + rare + durationStart + endText(durationMs);
  }

  /** What nearly every record shares with the one before it: a piece of memory is copied faster than five. */
  #knownOf(record: OpenRecord, { text: verdict }: Verdict): string {
    const parties = this.#partiesOf(record);
    const way = this.#wayOf(record);
    const customer = this.#customerOf(record);
    const method = this.#methodOf(record.method);
    const last = this.#known;
    if (
      last.verdict === verdict &&
      last.parties === parties &&
      last.way === way &&
      last.customer === customer &&
      last.method === method
    ) {
      if (this.#knownText === '') this.#knownText = [quote, verdict, parties, way, customer, method].join('');
      return this.#knownText;
    }
    this.#known = { verdict, parties, way, customer, method };
    this.#knownText = '';
    return quote + verdict + parties + way + customer + method;
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
    if (claims === undefined) return account === undefined ? '' : membersOf({ account });
    const last = this.#customer;
    if (last !== undefined && claims === this.#claims && last.account === account) return last.text;
    let customer = this.#allCustomers.get(claims);
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

const quote = '"';
const idStart = '{"schema":2,"id":"';
const timeStart = '","time":"';
const pathStart = ',"path":"';
const traceStart = ',"traceId":"';
const durationStart = ',"durationMs":';

/** What is before the point of most durations: a number becomes a text slowly. */
const wholes = Array.from({ length: 1000 }, (_, whole) => String(whole));
/** What is behind the point, without zeros at the end, and the end of the record. */
const thousandths = Array.from({ length: 1000 }, (_, count) => `${String(count / 1000).slice(1)}}`);

/** JSON of the duration, and the end of the record. With three digits behind its point it is made of two known texts; others take as long as half a record. */
function endText(value: number): string {
  const count = Math.round(value * 1000);
  if (count / 1000 !== value || count < 0 || count > 1e12) return `${JSON.stringify(value)}}`;
  const whole = Math.floor(count / 1000);
  return (wholes[whole] ?? String(whole)) + thousandths[count - whole * 1000]!;
}
