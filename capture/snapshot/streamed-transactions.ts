import type { Lsn } from '../../schemas/lsn.ts';
import { isVisible, type TransactionSnapshot } from './transaction-visibility.ts';

/**
 * The transactions that came through the stream and are not known to be visible to new snapshots:
 * decoding runs ahead of visibility, because a commit is written before it is shown.
 */
export class StreamedTransactions {
  /** xid → start of its commit record; null until its last change has been seen. */
  readonly #commits = new Map<number, Lsn | null>();

  get size(): number {
    return this.#commits.size;
  }

  /** A change of this transaction came by. */
  began(xid: number): void {
    if (!this.#commits.has(xid)) this.#commits.set(xid, null);
  }

  committed(xid: number, commitLsn: Lsn): void {
    this.#commits.set(xid, commitLsn);
  }

  /** Forgets those that this snapshot sees: so does every later one. */
  seen(snapshot: TransactionSnapshot): void {
    for (const xid of this.#commits.keys()) {
      if (isVisible(snapshot, xid)) this.#commits.delete(xid);
    }
  }

  xids(): readonly number[] {
    return [...this.#commits.keys()];
  }

  /** The lowest start of a commit record; null when every transaction is visible. */
  ceiling(): Lsn | null {
    let lowest: Lsn | null = null;
    for (const lsn of this.#commits.values()) {
      if (lsn !== null && (lowest === null || lsn < lowest)) lowest = lsn;
    }
    return lowest;
  }
}
