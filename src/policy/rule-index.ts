import type { ScopeSet } from '#tokens/scope.ts';
import { type Condition, conditions } from './decide.ts';
import { PathTree } from './path-tree.ts';
import { type Peer, unmeshed } from './peer-pattern.ts';
import type { Declarations, InboundRequest, Rule } from './rule.ts';

/** Fewer are tried one by one. */
const rulesByPeerMin = 9;

/** The rules of one path pattern and port, in the order of the manifest. */
class Group {
  readonly #rules: Rule[] = [];
  #byPeer: RulesByPeer | undefined;

  get first(): Rule | undefined {
    return this.#rules[0];
  }

  add(rule: Rule): void {
    this.#rules.push(rule);
    if (this.#byPeer !== undefined) this.#byPeer.add(rule);
    else if (this.#rules.length >= rulesByPeerMin) this.#byPeer = new RulesByPeer(this.#rules);
  }

  /** Those that name the peer to the letter, and maybe others. */
  named(request: InboundRequest): readonly Rule[] {
    return this.#byPeer === undefined ? this.#rules : this.#byPeer.named(request);
  }

  /** Those that mean the peer without naming it, where `named` has not told them. */
  others({ isRouter }: InboundRequest): readonly Rule[] {
    return this.#byPeer === undefined || isRouter ? noRules : this.#byPeer.ofMany;
  }

  firstOfMethod(method: string): Rule | undefined {
    return this.#byPeer === undefined
      ? this.#rules.find((rule) => rule.takesMethod(method))
      : this.#byPeer.firstOfMethod(method);
  }
}

const noRules: readonly Rule[] = [];

/** Many rules of one group, by who may come. Each list is in the order of the manifest. */
class RulesByPeer {
  readonly #byId = new Map<Peer, Rule[]>();
  readonly #ofRouters: Rule[] = [];
  /** Those with `any`, and those with patterns of IDs. */
  readonly ofMany: Rule[] = [];
  readonly #firstByMethod = new Map<string, Rule>();
  #firstOfAllMethods: Rule | undefined;

  constructor(rules: readonly Rule[]) {
    for (const rule of rules) this.add(rule);
  }

  add(rule: Rule): void {
    const { ids, isRouterAllowed, isAnyAllowed, isUnmeshedAllowed, idPatterns, methods } = rule.source;
    const named: readonly Peer[] = isUnmeshedAllowed ? [...ids, unmeshed] : ids;
    for (const id of named) {
      const rules = this.#byId.get(id);
      if (rules === undefined) this.#byId.set(id, [rule]);
      else rules.push(rule);
    }
    if (isRouterAllowed) this.#ofRouters.push(rule);
    if (isAnyAllowed || idPatterns.length > 0) this.ofMany.push(rule);
    if (methods === undefined) this.#firstOfAllMethods ??= rule;
    for (const method of methods ?? []) if (!this.#firstByMethod.has(method)) this.#firstByMethod.set(method, rule);
  }

  named({ isRouter, peer }: InboundRequest): readonly Rule[] {
    return isRouter ? this.#ofRouters : (this.#byId.get(peer) ?? noRules);
  }

  firstOfMethod(method: string): Rule | undefined {
    return earlier(this.#firstByMethod.get(method), this.#firstOfAllMethods);
  }
}

/** The rules of one port, or of all. */
class PortRules {
  readonly #tree = new PathTree(() => new Group());
  readonly #everyPath = new Group();
  first: Rule | undefined;

  add(rule: Rule): void {
    this.first ??= rule;
    const { paths } = rule.source;
    if (paths === undefined) this.#everyPath.add(rule);
    else for (const group of new Set(paths.map((pattern) => this.#tree.at(pattern)))) group.add(rule);
  }

  find(request: InboundRequest, found: Group[], count: number): number {
    let length = count;
    if (this.#everyPath.first !== undefined) found[length++] = this.#everyPath;
    return this.#tree.find(request.path, found, length);
  }
}

/**
 * Finds the rules that can be about a request, by port, path and peer: what others there are costs nothing (`bench/decide.ts`). A look-up allocates nothing;
 * what it found holds until the next one.
 */
export class RuleIndex {
  readonly #ofPort = new Map<number, PortRules>();
  readonly #ofEveryPort = new PortRules();
  readonly #first: Rule | undefined;
  readonly #found: Group[] = [];
  #count = 0;

  constructor(rules: readonly Rule[]) {
    this.#first = rules[0];
    for (const rule of rules) this.#rulesOf(rule.source.port).add(rule);
  }

  /** Looks up port and path. */
  find(request: InboundRequest): void {
    const ofPort = this.#ofPort.get(request.port);
    this.#count = ofPort === undefined ? 0 : ofPort.find(request, this.#found, 0);
    this.#count = this.#ofEveryPort.find(request, this.#found, this.#count);
  }

  /** Of what was found, the first rule after the place `after` that holds; limits are asked for elsewhere. */
  firstThatHolds(request: InboundRequest, granted: ScopeSet, edges: Declarations, after: number): Rule | undefined {
    let first: Rule | undefined;
    for (let at = 0; at < this.#count; at++) {
      const group = this.#found[at]!;
      first = firstOf(group.named(request), request, granted, edges, after, first);
      first = firstOf(group.others(request), request, granted, edges, after, first);
    }
    return first;
  }

  /** The rule for this peer and method that got furthest, where none holds. */
  nearestForPeer(request: InboundRequest, granted: ScopeSet, edges: Declarations): Miss | undefined {
    let nearest: Miss | undefined;
    for (const group of this.#found.slice(0, this.#count)) {
      for (const rule of [...group.named(request), ...group.others(request)]) {
        if (!rule.takesMethod(request.method) || !rule.isFor(request)) continue;
        const condition = rule.failedOfPeer(request, granted, edges);
        if (condition !== undefined) nearest = nearer(nearest, { rule, condition });
      }
    }
    return nearest;
  }

  /** The rule that comes nearest where none is for this peer and method; undefined where there are no rules. */
  nearestForOthers({ method, port }: InboundRequest): Miss | undefined {
    let ofMethod: Rule | undefined;
    let ofPath: Rule | undefined;
    for (const group of this.#found.slice(0, this.#count)) {
      ofMethod = earlier(ofMethod, group.firstOfMethod(method));
      ofPath = earlier(ofPath, group.first);
    }
    const ofPort = earlier(this.#ofPort.get(port)?.first, this.#ofEveryPort.first);
    return (
      missOf(ofMethod, 'peer') ?? missOf(ofPath, 'method') ?? missOf(ofPort, 'path') ?? missOf(this.#first, 'port')
    );
  }

  #rulesOf(port: number | undefined): PortRules {
    if (port === undefined) return this.#ofEveryPort;
    let rules = this.#ofPort.get(port);
    if (rules === undefined) {
      rules = new PortRules();
      this.#ofPort.set(port, rules);
    }
    return rules;
  }
}

function firstOf(
  rules: readonly Rule[],
  request: InboundRequest,
  granted: ScopeSet,
  edges: Declarations,
  after: number,
  best: Rule | undefined,
): Rule | undefined {
  for (const rule of rules) {
    if (best !== undefined && rule.index >= best.index) return best;
    if (rule.index <= after || !rule.takesMethod(request.method) || !rule.isFor(request)) continue;
    if (rule.failedOfPeer(request, granted, edges) === undefined) return rule;
  }
  return best;
}

/** A rule that failed, and where. */
interface Miss {
  readonly rule: Rule;
  readonly condition: Condition;
}

/** Whoever got further; of two that got as far, the first in the manifest. */
function nearer(a: Miss | undefined, b: Miss): Miss {
  if (a === undefined) return b;
  const ahead = conditions.indexOf(b.condition) - conditions.indexOf(a.condition);
  return ahead > 0 || (ahead === 0 && b.rule.index < a.rule.index) ? b : a;
}

function missOf(rule: Rule | undefined, condition: Condition): Miss | undefined {
  return rule && { rule, condition };
}

function earlier(a: Rule | undefined, b: Rule | undefined): Rule | undefined {
  return b === undefined || (a !== undefined && a.index <= b.index) ? a : b;
}
