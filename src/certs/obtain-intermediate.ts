import { generateKeyPairSync, sign } from 'node:crypto';
import type { Clock } from '#runtime/clock.ts';
import { CellmeshError } from '#runtime/errors.ts';
import type { Watch } from '#runtime/watch.ts';
import { type Certificate, parseCertificate } from './certificate.ts';
import { createCsr } from './csr.ts';
import type { IntermediateSource } from './intermediate.ts';
import type { Issuer } from './root-signer.ts';
import type { TrustDomain } from './spiffe-id.ts';
import { brokenIssuerRule, brokenValidityRule } from './svid-rules.ts';
import type { TrustBundle } from './trust-bundle.ts';

interface ObtainOptions {
  readonly trustDomain: TrustDomain;
  readonly intermediates: IntermediateSource;
  readonly bundle: Watch<TrustBundle>;
  readonly clock: Clock;
}

/** An intermediate whose key is in this process. */
export interface Intermediate {
  readonly certificate: Certificate;
  readonly issuer: Issuer;
  /** The one of the bundle that signed it. */
  readonly root: Certificate;
}

/**
 * A new key, a request, and the answer held against the rules that it will be held against in every chain.
 * @throws CellmeshError `svid_not_issued`, or what asking for it throws
 */
export async function obtainIntermediate({
  trustDomain,
  intermediates,
  bundle,
  clock,
}: ObtainOptions): Promise<Intermediate> {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const certificate = parseCertificate(await intermediates.requestIntermediate(createCsr(privateKey)));
  if (!certificate.publicKey.equals(publicKey)) throw notIssued('the intermediate is for another key');
  const broken = brokenIssuerRule(certificate, trustDomain, 0) ?? brokenValidityRule(certificate, clock.now());
  if (broken !== undefined) throw notIssued(`the intermediate breaks ${broken.rule}: ${broken.reason}`);
  const root = bundle.current.roots.find(
    (one) => one.subject.equals(certificate.issuer) && certificate.isSignedBy(one.publicKey),
  );
  if (root === undefined) throw notIssued(`no root in the bundle of ${trustDomain} signed the intermediate`);
  const wrong = brokenIssuerRule(root, trustDomain, 1) ?? brokenValidityRule(root, clock.now());
  if (wrong !== undefined) throw notIssued(`a root of ${trustDomain} breaks ${wrong.rule}: ${wrong.reason}`);
  return {
    certificate,
    root,
    issuer: { algorithm: 'ecdsa-sha256', sign: (bytes) => sign('sha256', bytes, privateKey) },
  };
}

function notIssued(reason: string): CellmeshError {
  return new CellmeshError('svid_not_issued', reason);
}
