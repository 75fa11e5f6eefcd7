// Calls out in its first line, and again when it is told to end: its sidecar is there before it and after it.
const call = async (when) => {
  const response = await fetch(process.env.URL).catch((error) => ({ status: error.cause?.code ?? error.message }));
  console.log(`${when}: ${response.status}`);
};
await call('first line');
process.on('SIGTERM', async () => {
  // Longer than the sidecar's preStop hook takes.
  await new Promise((resolve) => setTimeout(resolve, 3000));
  await call('last line');
  process.exit(0);
});
setInterval(() => {}, 60_000);
