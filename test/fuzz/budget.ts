/** A bounded run by default; `CELLMESH_FUZZ_COUNT` raises it for a long one, `CELLMESH_FUZZ_SEED` repeats one. */
export const fuzzSeed = Number(process.env['CELLMESH_FUZZ_SEED'] ?? Date.now() & 0x7fffffff);

/** @param usual what fits into a few seconds */
export function fuzzCount(usual: number): number {
  return Number(process.env['CELLMESH_FUZZ_COUNT'] ?? usual);
}
