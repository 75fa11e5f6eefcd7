import { constants } from 'node:crypto';
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls';
import { toPem } from '#certs/pem.ts';
import { chainPem, privateKeyPem } from '#certs/svid.ts';
import type { TlsIdentity } from './tls-identity.ts';

/**
 * The hybrid of X25519 and ML-KEM first: what is recorded today must not be readable tomorrow. It costs a server 16 % more CPU a
 * handshake than X25519 alone (2213 against 1757 us, Node 26), and connections are pooled. The others are for foreign peers.
 */
const keyShareGroups = 'X25519MLKEM768:X25519:P-256';

/** All of TLS 1.3's that OpenSSL enables by default, AES-128 first: the cheapest with AES instructions. */
const cipherSuites = 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256';

/** What `signature-algorithm.ts` accepts in certificates, as TLS names it. */
const signatureSchemes =
  'ecdsa_secp256r1_sha256:ecdsa_secp384r1_sha384:rsa_pss_rsae_sha256:rsa_pss_rsae_sha384:rsa_pkcs1_sha256:rsa_pkcs1_sha384';

/** Everything of a context that does not depend on who one is. */
const commonOptions: SecureContextOptions = {
  // A root of a bundle is trusted as such, also when an operator's own CA signed it (see openssl-verdict.ts for servers).
  allowPartialTrustChain: true,
  minVersion: 'TLSv1.3',
  maxVersion: 'TLSv1.3',
  ciphers: cipherSuites,
  ecdhCurve: keyShareGroups,
  sigalgs: signatureSchemes,
  // A resumed session skips the certificates: CVE-2026-48934 and -58040 are two of its ways to the wrong peer.
  secureOptions: constants.SSL_OP_NO_TICKET,
};

/** Before there is an SVID, at the join: knows whom to trust, presents nothing. */
export type AnonymousIdentity = Pick<TlsIdentity, 'bundles'> & { readonly svid?: undefined };

const clientContexts = new WeakMap<TlsIdentity | AnonymousIdentity, SecureContext>();

/**
 * What OpenSSL is given of an identity. It gets all roots in one pool, which is why its verdict alone is never enough: `verifySvid`
 * holds a chain to the roots of its own trust domain.
 */
export function contextOptions({ svid, bundles }: TlsIdentity | AnonymousIdentity): SecureContextOptions {
  const roots = [...bundles.values()].flatMap((bundle) => bundle.roots);
  const ca = roots.map(({ der }) => toPem('CERTIFICATE', der));
  if (svid === undefined) return { ...commonOptions, ca };
  return { ...commonOptions, ca, cert: chainPem(svid.chain), key: privateKeyPem(svid) };
}

/** One context per identity value: it is made once, and goes when the identity is replaced. */
export function clientContext(identity: TlsIdentity | AnonymousIdentity): SecureContext {
  let context = clientContexts.get(identity);
  if (context === undefined) {
    context = createSecureContext(contextOptions(identity));
    clientContexts.set(identity, context);
  }
  return context;
}
