import { once } from 'node:events';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';

/** Keeps `value`, as JSON, under `key`. */
export async function put(key, value) {
  const answer = await ask(`SET ${key} ${JSON.stringify(value)}`);
  if (answer !== 'OK') throw new Error(`store: ${answer}`);
}

/** What is kept under `key`; undefined for nothing. */
export async function get(key) {
  const [, value] = /^VALUE (.+)$/.exec(await ask(`GET ${key}`)) ?? [];
  return value && JSON.parse(value);
}

/** A connection for each question: each is decided by itself. It goes to the loopback port that our sidecar holds open for the store. */
async function ask(line) {
  const [host, port] = process.env.STORE.split(':');
  const socket = connect({ host, port: Number(port) });
  await once(socket, 'connect');
  socket.write(`${line}\nQUIT\n`);
  const answer = (await text(socket)).trimEnd();
  if (answer === '') throw new Error('store: the connection was closed');
  return answer;
}
