type LibcFunction = (...values: readonly unknown[]) => number;

/**
 * A function of this system's libc that Node does not offer. koffi is loaded when the first is wanted: a megabyte.
 * @param prototype in C, with directions of pointers: https://koffi.dev/functions
 * @throws what koffi throws, where it cannot be loaded or libc has no such function
 */
export async function libcFunction(prototype: string): Promise<LibcFunction> {
  const { default: koffi } = await import('koffi');
  return koffi.load(null).func(prototype);
}
