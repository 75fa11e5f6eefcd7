// Calls the router as a customer: METHOD PATH [ACCOUNT:SECRET]. Prints what came, in one line of JSON.
import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import { text } from 'node:stream/consumers';

const [method, path, credentials] = process.argv.slice(2);
const name = 'api.e2e.example';
const authorization = credentials && `Basic ${Buffer.from(credentials).toString('base64')}`;
const headers = { host: name, ...(authorization && { authorization }) };
const ca = readFileSync('/web/authority.pem');
const sent = request({ host: 'cellmesh-router.cellmesh-global', servername: name, ca, method, path, headers });
sent.on('error', (error) => console.log(JSON.stringify({ error: error.code ?? error.message })));
sent.on('response', async (response) => {
  console.log(JSON.stringify({ status: response.statusCode, headers: response.headers, body: await text(response) }));
});
sent.end();
