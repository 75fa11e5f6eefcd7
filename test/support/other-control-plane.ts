import { CellPublisher } from '#control-plane/cell-publisher.ts';
import type { FeedSnapshot } from '#feeds/snapshot.ts';

/**
 * Until it is disposed, control planes of this process hand policy out as one of another version would: `change` says what that version writes
 * otherwise. Everything on the way (feeds, digests, acks, disks) is as it is.
 */
export function otherControlPlane(change: (snapshot: FeedSnapshot) => FeedSnapshot): Disposable {
  const { snapshotFor } = CellPublisher.prototype;
  CellPublisher.prototype.snapshotFor = function (this: CellPublisher, type, subscriber) {
    const snapshot = snapshotFor.call(this, type, subscriber);
    return snapshot?.type === 'policy' ? change(snapshot) : snapshot;
  };
  return {
    [Symbol.dispose]() {
      CellPublisher.prototype.snapshotFor = snapshotFor;
    },
  };
}
