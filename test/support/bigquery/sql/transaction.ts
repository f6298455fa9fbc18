import { ServiceError } from '../service-error.ts';
import type { Store } from '../store.ts';
import type { TableRef } from '../stream-store.ts';

/** https://cloud.google.com/bigquery/docs/transactions#limitations */
const mutatedTablesMax = 100;

/** Tables that a multi-statement transaction has mutated, against all others of the store. */
export class Transaction {
  readonly #store: Store;
  readonly #startedAt: number;
  readonly #held = new Map<string, TableRef>();
  readonly #changed = new Set<string>();

  constructor(store: Store) {
    this.#store = store;
    this.#startedAt = store.commits;
  }

  /** Says that a table will be changed, be it only by new rows. Throws `invalidQuery` for one too many. */
  change({ projectId, datasetId, tableId }: TableRef): void {
    this.#changed.add(`${projectId}:${datasetId}.${tableId}`);
    if (this.#changed.size <= mutatedTablesMax) return;
    throw new ServiceError(
      'invalidQuery',
      `Transaction cannot modify more than ${mutatedTablesMax} tables`,
    );
  }

  /**
   * Says that rows of a table will be updated or deleted. Throws `invalidQuery` if another transaction does so too,
   * did since this one began, or if rows were streamed lately.
   * https://cloud.google.com/bigquery/docs/transactions#transaction_concurrency
   */
  mutate(ref: TableRef): void {
    const state = this.#store.mutations(ref);
    const name = `${ref.projectId}:${ref.datasetId}.${ref.tableId}`;
    const isHeld = state.holder !== undefined && state.holder !== this;
    if (isHeld || state.committed > this.#startedAt) {
      throw new ServiceError(
        'invalidQuery',
        `Transaction is aborted due to concurrent update against table ${name}.`,
      );
    }
    if (state.streamedUntilMs > this.#store.now()) {
      throw new ServiceError(
        'invalidQuery',
        `UPDATE or DELETE statement over table ${name} would affect rows in the streaming buffer, which is not supported`,
      );
    }
    state.holder = this;
    this.#held.set(name, ref);
  }

  /** Lets go of the tables, whose mutations now count if they were committed. */
  end(isCommitted: boolean): void {
    if (isCommitted && this.#held.size > 0) this.#store.noteCommit(this.#held.values());
    for (const ref of this.#held.values()) this.#store.mutations(ref).holder = undefined;
    this.#held.clear();
  }
}
