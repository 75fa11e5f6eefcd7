// Constant load: RATE requests a second until SIGTERM, each at its time whatever became of those before; with CONNECTION=close each on a connection of its own. Answers GET /counts on loopback with what came of them.
import { createServer } from 'node:http';

const { URL: url, RATE = '50', CONNECTION } = process.env;
const headers = CONNECTION === undefined ? {} : { connection: CONNECTION };
const counts = { sent: 0, answered: 0, failed: 0, failures: {} };

async function callOnce() {
  counts.sent++;
  let outcome;
  try {
    const response = await fetch(url, { headers, signal: AbortSignal.timeout(10_000) });
    const body = await response.text();
    outcome = response.status === 200 ? undefined : `${response.status} ${body.slice(0, 200)}`;
  } catch (error) {
    outcome = String(error.cause?.code ?? error.message);
  }
  counts.answered++;
  if (outcome === undefined) return;
  counts.failed++;
  counts.failures[outcome] = (counts.failures[outcome] ?? 0) + 1;
}

const timer = setInterval(() => void callOnce(), 1000 / Number(RATE));
createServer((_, response) => response.end(JSON.stringify(counts))).listen(9000, '127.0.0.1');
process.on('SIGTERM', () => {
  clearInterval(timer);
  process.exit(0);
});
