import type { OutgoingRequest } from '../message.ts';

/** The lines of a request's head, pseudo-header fields first (RFC 9113 8.3.1). In few pieces: each costs when they are put together. */
export function requestLines(request: OutgoingRequest, scheme: 'https' | 'http'): string {
  const { method, target, authority, fields, framing, contentLength, upgrade } = request;
  const path = scheme === 'https' ? '\r\n:scheme: https\r\n:path: ' : '\r\n:scheme: http\r\n:path: ';
  const rest = `\r\n:authority: ${authority}\r\n${fields}`;
  let lines: string;
  if (method === 'CONNECT') lines = `:method: CONNECT${rest}`;
  else if (upgrade !== undefined) lines = `:method: CONNECT\r\n:protocol: ${upgrade}${path}${target}${rest}`;
  else lines = `:method: ${method}${path}${target}${rest}`;
  if (framing === 'length') lines += `content-length: ${contentLength}\r\n`;
  if (request.acceptsTrailers) lines += 'te: trailers\r\n';
  return request.expectsContinue ? `${lines}expect: 100-continue\r\n` : lines;
}
