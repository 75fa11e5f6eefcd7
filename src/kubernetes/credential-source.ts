import type { Secret } from '#runtime/secret.ts';

/** Who we are: at least one of both. */
export interface Credentials {
  readonly token?: Secret<string>;
  /** PEM. */
  readonly certificate?: { readonly chain: string; readonly key: Secret<string> };
}

/** Makes credentials, and keeps them while they are good. */
export interface CredentialSource {
  current(): Promise<Credentials>;
  /** Makes others, once, where the API server has refused those. @returns whether there are others now */
  renew(refused: Credentials): Promise<boolean>;
}
