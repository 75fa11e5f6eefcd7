import type { ServerExchange } from './exchange.ts';
import { fieldLines } from './field-lines.ts';
import { grpcFields, isGrpc } from './grpc.ts';

export interface GeneratedResponse {
  readonly status: number;
  /** Lower-case names. `content-type` is added for a text body when missing. */
  readonly fields?: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly body?: string | Buffer;
}

/** Answers an exchange with a whole response. HEAD, 204 and 304 get the same head without the body; gRPC its own form of it. */
export function respond(exchange: ServerExchange<unknown>, response: GeneratedResponse): void {
  const { status, body = '' } = response;
  if (isGrpc(exchange.request)) {
    exchange.respond({ status: 200, fields: fieldLines(grpcFields(response)!), framing: 'none', contentLength: -1 });
    exchange.end();
    return;
  }
  const bytes = typeof body === 'string' ? Buffer.from(body) : body;
  exchange.respond({ status, fields: linesOf(response), framing: 'length', contentLength: bytes.length });
  exchange.write(bytes);
  exchange.end();
}

export function linesOf({ fields = {}, body = '' }: GeneratedResponse): string {
  const isUntypedText = typeof body === 'string' && body !== '' && fields['content-type'] === undefined;
  return fieldLines(fields) + (isUntypedText ? 'content-type: text/plain; charset=utf-8\r\n' : '');
}
