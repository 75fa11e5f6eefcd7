/** What is put off to the end of a read. */
export interface PutOff {
  /** The read has been heard. */
  readOver(): void;
}

const putOff: PutOff[] = [];
let isHearing = false;

/** Tells `one` when the read that is being heard is over; outside of one, in the next tick, which costs more than what most reads lead to. */
export function afterRead(one: PutOff): void {
  if (isHearing) putOff.push(one);
  else process.nextTick(tellOver, one);
}

/** Lets `listener` hear what a socket has read. */
export function hearRead(listener: (bytes: Buffer) => void, bytes: Buffer): void {
  isHearing = true;
  try {
    listener(bytes);
  } finally {
    isHearing = false;
    for (let one = putOff.pop(); one !== undefined; one = putOff.pop()) one.readOver();
  }
}

function tellOver(one: PutOff): void {
  one.readOver();
}
