// Calls a URL as any program does (NODE_USE_ENV_PROXY has it go through HTTP_PROXY) and prints what came, in one line of JSON.
const [url, method = 'GET'] = process.argv.slice(2);
try {
  const response = await fetch(url, { method, signal: AbortSignal.timeout(10_000) });
  const { status, headers } = response;
  console.log(JSON.stringify({ status, headers: Object.fromEntries(headers), body: await response.text() }));
} catch (error) {
  console.log(JSON.stringify({ error: error.cause?.code ?? error.message }));
}
