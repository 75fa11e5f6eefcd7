import { listAt, textAt } from '#kubernetes/json.ts';
import type { Resource } from '#kubernetes/resources.ts';

/** What is looked at of a configuration of webhooks. */
export interface WebhookConfiguration {
  readonly name: string;
  readonly webhooks: readonly {
    readonly name: string;
    /** Base64 of PEM; empty where there is none. */
    readonly caBundle: string;
  }[];
}

function read(object: unknown): WebhookConfiguration {
  return {
    name: textAt(object, 'metadata', 'name') ?? '',
    webhooks: listAt(object, 'webhooks').map((webhook) => ({
      name: textAt(webhook, 'name') ?? '',
      caBundle: textAt(webhook, 'clientConfig', 'caBundle') ?? '',
    })),
  };
}

const common = { apiVersion: 'admissionregistration.k8s.io/v1', isNamespaced: false, read } as const;

export const mutatingConfigurations: Resource<WebhookConfiguration> = {
  ...common,
  kind: 'MutatingWebhookConfiguration',
  plural: 'mutatingwebhookconfigurations',
};

export const validatingConfigurations: Resource<WebhookConfiguration> = {
  ...common,
  kind: 'ValidatingWebhookConfiguration',
  plural: 'validatingwebhookconfigurations',
};
