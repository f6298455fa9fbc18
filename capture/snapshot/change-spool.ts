import { PipelineError } from '../../runtime/errors.ts';
import { tableName, type TableSchema } from '../../schemas/table-schema.ts';
import { copyTuple } from './change-effect.ts';
import type { StreamedChange } from './snapshot.ts';
import { isVisible, type TransactionSnapshot } from './transaction-visibility.ts';

/** About what the objects of one spooled change take beside its bytes. */
const changeOverheadBytes = 200;

/**
 * Changes of a keyless table that streamed by while it was read. Those that its snapshot does not see
 * are emitted once more after the rows: a multiset cannot be overlaid.
 */
export class ChangeSpool {
  readonly #table: TableSchema;
  readonly #bytesMax: number;
  #changes: StreamedChange[] = [];
  #bytes = 0;
  #isOverflowing = false;
  #snapshot: TransactionSnapshot | null = null;

  constructor(table: TableSchema, bytesMax: number) {
    this.#table = table;
    this.#bytesMax = bytesMax;
  }

  /** What is wrong when more changes came than may be kept; the chunk cannot be used then. */
  get overflow(): PipelineError | null {
    return this.#isOverflowing ? this.#overflowError() : null;
  }

  add(change: StreamedChange): void {
    if (this.#snapshot !== null && isVisible(this.#snapshot, change.xid)) return;
    if (this.#isOverflowing) return;
    const copy = copyChange(change);
    this.#changes.push(copy);
    this.#bytes += changeBytes(copy);
    this.#isOverflowing = this.#bytes > this.#bytesMax;
  }

  seal(snapshot: TransactionSnapshot): void {
    this.#snapshot = snapshot;
    this.#changes = this.#changes.filter((change) => !isVisible(snapshot, change.xid));
    this.#bytes = this.#changes.reduce((sum, change) => sum + changeBytes(change), 0);
  }

  take(): readonly StreamedChange[] {
    const changes = this.#changes;
    this.dispose();
    return changes;
  }

  dispose(): void {
    this.#changes = [];
    this.#bytes = 0;
  }

  #overflowError(): PipelineError {
    const name = tableName(this.#table);
    return new PipelineError(
      'source-unfit',
      `the changes of ${name} during its snapshot take more than ${this.#bytesMax} bytes; without a key it is read in one piece`,
      { hint: `give ${name} a primary key, or take its snapshot while it changes less` },
    );
  }
}

function copyChange(change: StreamedChange): StreamedChange {
  switch (change.op) {
    case 'truncate':
      return change;
    case 'insert':
      return { ...change, after: copyTuple(change.after) };
    case 'delete':
      return { ...change, before: copyBefore(change.before) };
    case 'update': {
      const before = change.before === null ? null : copyBefore(change.before);
      return { ...change, before, after: copyTuple(change.after) };
    }
  }
}

function copyBefore<Before extends { readonly tuple: Parameters<typeof copyTuple>[0] }>(
  before: Before,
): Before {
  return { ...before, tuple: copyTuple(before.tuple) };
}

function changeBytes(change: StreamedChange): number {
  if (change.op === 'truncate') return changeOverheadBytes;
  const after = change.op === 'delete' ? 0 : change.after.bytes.length;
  const before = change.op === 'insert' ? 0 : (change.before?.tuple.bytes.length ?? 0);
  return changeOverheadBytes + after + before;
}
