import type { OutgoingRequest, OutgoingResponse, RequestHead } from '../message.ts';
import { type GeneratedResponse, linesOf } from '../respond.ts';
import { statusLine } from '../status-text.ts';
import { webSocketAccept } from '../websocket.ts';

const upgradeLines = 'connection: upgrade\r\nupgrade: websocket\r\n';

/** `key`: of WebSocket, for an upgrade. */
export function requestHeadText(request: OutgoingRequest, key: string): string {
  const { method, target, framing } = request;
  let head = `${method} ${target} HTTP/1.1\r\nhost: ${request.authority}\r\n${request.fields}`;
  if (framing === 'length') head += `content-length: ${request.contentLength}\r\n`;
  else if (framing === 'chunked') head += 'transfer-encoding: chunked\r\n';
  if (request.acceptsTrailers) head += 'te: trailers\r\nconnection: te\r\n';
  if (request.upgrade !== undefined) head += `${upgradeLines}sec-websocket-key: ${key}\r\n`;
  if (request.expectsContinue) head += 'expect: 100-continue\r\n';
  return `${head}\r\n`;
}

/** Agrees to a tunnel; fields and the blank line follow. */
export function tunnelHead(request: RequestHead): string {
  if (request.upgrade === undefined) return 'HTTP/1.1 200 Connection Established\r\n';
  const accept = webSocketAccept(request.field('sec-websocket-key')!);
  return `HTTP/1.1 101 Switching Protocols\r\n${upgradeLines}sec-websocket-accept: ${accept}\r\n`;
}

/** `hasNoBody`: by status or method, whatever the framing says (RFC 9112 6.3). */
export function responseHeadText(response: OutgoingResponse, hasNoBody: boolean, closes: boolean): string {
  const { status, framing } = response;
  let head = statusLine(status, response.reason) + response.fields;
  if (framing === 'length') {
    if (status !== 204) head += `content-length: ${response.contentLength}\r\n`;
  } else if (!hasNoBody) head += framing === 'chunked' ? 'transfer-encoding: chunked\r\n' : 'content-length: 0\r\n';
  if (closes) head += 'connection: close\r\n';
  return `${head}\r\n`;
}

/** A whole response to what never became an exchange. */
export function refusalText(response: GeneratedResponse): string {
  const { status, body = '' } = response;
  const head = {
    status,
    fields: linesOf(response),
    framing: 'length',
    contentLength: Buffer.byteLength(body),
  } as const;
  return responseHeadText(head, false, true) + body;
}
