import type { Fact } from './facts.ts';

/** A cluster, as far as the API server lets us look. What is not there is undefined; times are milliseconds since the epoch. */
export interface ClusterFacts {
  /** Of the control plane. */
  readonly namespace: string;
  /** `v1.37.2`. */
  readonly serverVersion: Fact<string>;
  readonly definitions: Fact<readonly DefinitionFacts[]>;
  readonly deployment: Fact<DeploymentFacts | undefined>;
  readonly hasDisruptionBudget: Fact<boolean>;
  readonly lease: Fact<LeaseFacts | undefined>;
  /** What the control plane may and may not do. */
  readonly rights: Fact<readonly { readonly what: string; readonly isAllowed: boolean }[]>;
  readonly webhooks: Fact<readonly WebhookFacts[]>;
  /** Of a pod that was sent to the API server without being kept; undefined without a namespace to try it in. */
  readonly trial: Fact<TrialFacts | undefined>;
  /** That have opted in. */
  readonly namespaces: Fact<readonly string[]>;
  /** The rest is of those namespaces. */
  readonly pods: Fact<readonly MeshPod[]>;
  readonly services: Fact<readonly MeshService[]>;
  readonly policyObjects: Fact<readonly PolicyObject[]>;
  /** The trust bundle in each namespace, the control plane's first. */
  readonly bundles: Fact<readonly { readonly namespace: string; readonly text: string | undefined }[]>;
  /** Of the bundle in the control plane's namespace. */
  readonly roots: Fact<readonly AuthorityFacts[]>;
  /** Namespaces in which a NetworkPolicy is about what comes in. */
  readonly isolated: Fact<readonly string[]>;
  readonly nodes: Fact<readonly { readonly name: string; readonly renewedMs: number }[]>;
  /** Of new sidecars; undefined where no configuration of the injector is found. */
  readonly sidecarImage: Fact<string | undefined>;
}

export interface DefinitionFacts {
  readonly name: string;
  readonly found:
    | { readonly isEstablished: boolean; readonly served: readonly string[]; readonly specFields: readonly string[] }
    | undefined;
}

export interface DeploymentFacts {
  readonly wanted: number;
  readonly ready: number;
}

export interface LeaseFacts {
  readonly holder: string;
  readonly renewedMs: number;
  readonly durationMs: number;
}

export interface AuthorityFacts {
  /** DER in base64. */
  readonly der: string;
  readonly notBefore: number;
  readonly notAfter: number;
}

export interface WebhookFacts {
  /** Of the configuration. */
  readonly configuration: string;
  /** Undefined: there is no such webhook in it, or no such configuration. */
  readonly found:
    | {
        readonly failurePolicy: string;
        /** Those of `caBundle`; none where there is nothing to read. */
        readonly authorities: readonly AuthorityFacts[];
        readonly optInLabel: string | undefined;
        readonly timeoutSeconds: number;
      }
    | undefined;
}

export interface TrialFacts {
  readonly namespace: string;
  readonly outcome: 'injected' | 'plain' | { readonly refusal: string };
}

export interface MeshPod {
  readonly namespace: string;
  readonly name: string;
  readonly serviceAccount: string;
  readonly hasEnded: boolean;
  readonly isHostNetwork: boolean;
  readonly isOptedOut: boolean;
  readonly allowsDefaultServiceAccount: boolean;
  readonly allowsHostNetwork: boolean;
  readonly sidecarImage: string | undefined;
  /** What its annotation asks for. */
  readonly wantsTransparent: boolean;
  /** The container that sets the rules of interception. */
  readonly interception: 'missing' | 'waiting' | 'done' | 'failed';
  readonly excludedInboundPorts: readonly number[];
  readonly labels: Readonly<Record<string, string>>;
  readonly portsByName: Readonly<Record<string, number>>;
}

export interface MeshService {
  readonly namespace: string;
  readonly name: string;
  readonly selector: Readonly<Record<string, string>>;
  readonly targetPorts: readonly (number | string)[];
}

export interface PolicyObject {
  /** `ServicePolicy shop/web`. */
  readonly name: string;
  readonly namespace: string;
  /** Empty for a Cell. */
  readonly serviceAccount: string;
  /** The document, in JSON. */
  readonly text: string;
  /** Condition `Accepted`: undefined while nobody has judged what it says now. */
  readonly accepted: { readonly isAccepted: boolean; readonly isWhole: boolean; readonly message: string } | undefined;
  /** Condition `Programmed`, likewise, and since when it says so. */
  readonly programmed:
    | { readonly isProgrammed: boolean; readonly message: string; readonly sinceMs: number }
    | undefined;
}
