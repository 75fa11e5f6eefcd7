import koffi from 'koffi';

/**
 * Makes the kernel answer this thread as one without IPv6 does: `socket(AF_INET6)` is EAFNOSUPPORT, by a filter of system calls (seccomp(2)). A
 * program loads it with `--import`; it cannot be taken back.
 */
const libc = koffi.load(null);
const prctl = libc.func('int prctl(int, unsigned long, unsigned long, unsigned long, unsigned long)');
const prctlFilter = libc.func('int prctl(int, unsigned long, void *)');
const [setNoNewPrivileges, setSeccomp, modeFilter] = [38, 22, 2];
const socketCall: number | undefined = { x64: 41, arm64: 198 }[process.arch as string];
const addressFamilyInet6 = 10;
const noSuchFamily = 0x0005_0000 | 97;

/** code, jump if true, jump if false, operand (`struct sock_filter`). */
const instructions: readonly (readonly [number, number, number, number])[] = [
  [0x20, 0, 0, 0],
  [0x15, 0, 3, socketCall ?? 0],
  [0x20, 0, 0, 16],
  [0x15, 0, 1, addressFamilyInet6],
  [0x06, 0, 0, noSuchFamily],
  [0x06, 0, 0, 0x7fff_0000],
];
const filter = Buffer.alloc(instructions.length * 8);
for (const [index, [code, whenTrue, whenFalse, operand]] of instructions.entries()) {
  filter.writeUInt16LE(code, index * 8);
  filter.writeUInt8(whenTrue, index * 8 + 2);
  filter.writeUInt8(whenFalse, index * 8 + 3);
  filter.writeUInt32LE(operand, index * 8 + 4);
}
const program = Buffer.alloc(16);
program.writeUInt16LE(instructions.length, 0);
program.writeBigUInt64LE(koffi.address(filter), 8);
if (socketCall === undefined) throw new Error(`the number of socket(2) is not known for ${process.arch}`);
if (prctl(setNoNewPrivileges, 1, 0, 0, 0) !== 0 || prctlFilter(setSeccomp, modeFilter, program) !== 0)
  throw new Error('the kernel takes no filter of system calls');
