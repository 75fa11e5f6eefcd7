import { type IntermediateSource, intermediateLifetimeMs } from '#certs/intermediate.ts';
import { pemBlocks, toPem } from '#certs/pem.ts';
import type { KubernetesClient } from '#kubernetes/client.ts';
import { type CertificateRequest, certificateRequests } from '#kubernetes/resources-certificate-request.ts';
import type { Clock } from '#runtime/clock.ts';
import { CellmeshError } from '#runtime/errors.ts';
import type { Logger } from '#runtime/logger.ts';

interface IntermediateRequestsOptions {
  readonly client: Pick<KubernetesClient, 'ask' | 'delete' | 'watch'>;
  readonly clock: Clock;
  readonly logger: Logger;
}

export const intermediateSigner = 'cellmesh.io/intermediate';
/** A leader that is there answers in a fraction of a second; while there is none, whoever asks has something better to do than to wait. */
const answerMsMax = 10_000;

/**
 * Intermediates by request to whichever replica leads: an object CertificateSigningRequest each, which the API server signs with who made it. It is
 * deleted when it is answered; what a process leaves behind that was killed, Kubernetes collects within a day.
 */
export function intermediateRequests(options: IntermediateRequestsOptions): IntermediateSource {
  return { requestIntermediate: (csr) => requestOne(csr, options) };
}

async function requestOne(csr: Buffer, { client, clock, logger }: IntermediateRequestsOptions): Promise<Uint8Array> {
  const abort = new AbortController();
  const timer = clock.schedule(answerMsMax, () => abort.abort(unanswered()));
  let made: CertificateRequest | undefined;
  try {
    made = await create(csr, client, abort.signal);
    return certificateOf(await answerTo(made, client, abort.signal));
  } finally {
    timer.cancel();
    if (made !== undefined) {
      const { name } = made;
      // Not waited for: it changes nothing for whoever has the answer.
      client.delete(certificateRequests, { name }).catch((error: unknown) => {
        logger.warn('a request for an intermediate is left behind', { name, error });
      });
    }
  }
}

async function create(
  csr: Buffer,
  client: Pick<KubernetesClient, 'ask'>,
  signal: AbortSignal,
): Promise<CertificateRequest> {
  const { apiVersion, kind, plural, read } = certificateRequests;
  const spec = {
    signerName: intermediateSigner,
    request: Buffer.from(toPem('CERTIFICATE REQUEST', csr)).toString('base64'),
    usages: ['cert sign', 'crl sign'],
    expirationSeconds: intermediateLifetimeMs / 1000,
  };
  const object = { apiVersion, kind, metadata: { generateName: 'cellmesh-intermediate-' }, spec };
  const body = { type: 'application/json', text: JSON.stringify(object) };
  const path = `/apis/${apiVersion}/${plural}`;
  return read(await client.ask({ method: 'POST', path, body, isRepeatable: false }, signal));
}

async function answerTo(
  { name, resourceVersion }: CertificateRequest,
  client: Pick<KubernetesClient, 'watch'>,
  signal: AbortSignal,
): Promise<CertificateRequest> {
  const selection = { fieldSelector: `metadata.name=${name}`, resourceVersion };
  for await (const event of client.watch(certificateRequests, selection, signal)) {
    if (event.type === 'bookmark') continue;
    const { certificate, refusal } = event.object;
    if (refusal !== undefined) throw new CellmeshError('svid_not_issued', `the leader refuses it: ${refusal}`);
    if (certificate !== '') return event.object;
    if (event.type === 'deleted') break;
  }
  throw unanswered();
}

function certificateOf({ certificate }: CertificateRequest): Uint8Array {
  const [der] = pemBlocks(certificate, 'CERTIFICATE', 1);
  if (der === undefined) throw new CellmeshError('svid_not_issued', 'the answer to a request holds no certificate');
  return der;
}

function unanswered(): CellmeshError {
  return new CellmeshError('no_leader', 'no replica has signed the intermediate of this one', { retryable: true });
}
