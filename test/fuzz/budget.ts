/**
 * A bounded run, the same each time, by default: a change is not blamed for what another one did. `CELLMESH_FUZZ_COUNT` raises it for a long one,
 * `CELLMESH_FUZZ_SEED` looks elsewhere; `new` is a seed that nobody has had.
 */
const usualSeed = 20_261_128;
const given = process.env['CELLMESH_FUZZ_SEED'] ?? String(usualSeed);
export const fuzzSeed = given === 'new' ? Date.now() & 0x7fffffff : Number(given);

/** @param usual what fits into a few seconds */
export function fuzzCount(usual: number): number {
  return Number(process.env['CELLMESH_FUZZ_COUNT'] ?? usual);
}
