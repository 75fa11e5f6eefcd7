// Keeps values under keys, in memory, and speaks a protocol of its own: a line for each question, a line for each answer.
//
//   SET <key> <value>   OK
//   GET <key>           VALUE <value>, or NONE
//   QUIT                ends the connection
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { stopWithParent } from './stop.js';

/** The newest thousand. */
const values = new Map();
const valuesMax = 1000;

const server = createServer((socket) => {
  socket.on('error', () => {});
  createInterface({ input: socket }).on('line', (line) => {
    if (line === 'QUIT') socket.end();
    else socket.write(`${answer(line)}\n`);
  });
});
server.on('error', (error) => {
  console.error(`store: ${error.message}`);
  process.exitCode = 1;
});
server.listen(Number(process.env.PORT), '127.0.0.1');
stopWithParent(() => server.close(() => process.exit(0)));

function answer(line) {
  const [, command, key, value] = /^(SET|GET) (\S+)(?: (.+))?$/.exec(line) ?? [];
  if (command === 'SET' && value !== undefined) {
    values.set(key, value);
    if (values.size > valuesMax) values.delete(values.keys().next().value);
    return 'OK';
  }
  if (command === 'GET' && value === undefined) return values.has(key) ? `VALUE ${values.get(key)}` : 'NONE';
  return 'ERROR write GET <key>, SET <key> <value> or QUIT';
}
