// A container to call out from, by `kubectl exec`.
process.on('SIGTERM', () => process.exit(0));
setInterval(() => {}, 60_000);
