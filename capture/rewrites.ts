import { tableName, type TableSchema } from '../schemas/table-schema.ts';
import type { CaptureLogger } from './options.ts';
import type { RewriteMark } from './postgres/rewrite-marks.ts';
import type { Snapshot } from './snapshot/snapshot.ts';

/** oid → mark; durable with the progress record. */
export type RewriteMarks = Readonly<Record<string, RewriteMark>>;

/**
 * Notices tables whose rows were rewritten at the source, which sends no row events: from the marks of
 * one look to the next, also over a restart. What is read of a table after the look has the new values.
 */
export class Rewrites {
  readonly #marks: Map<number, RewriteMark>;

  constructor(marks: RewriteMarks = {}) {
    this.#marks = new Map(Object.entries(marks).map(([oid, mark]) => [Number(oid), mark]));
  }

  /** Takes what a look found, and gives the oids of tables that were rewritten since the look before. */
  take(found: ReadonlyMap<number, RewriteMark>): readonly number[] {
    const rewritten = [...found].flatMap(([oid, mark]) =>
      wasRewritten(this.#marks.get(oid), mark) ? [oid] : [],
    );
    for (const [oid, mark] of found) this.#marks.set(oid, mark);
    return rewritten;
  }

  /** Forgets the tables that are not among these. */
  keep(oids: ReadonlySet<number>): void {
    for (const oid of this.#marks.keys()) if (!oids.has(oid)) this.#marks.delete(oid);
  }

  state(): RewriteMarks {
    return Object.fromEntries(this.#marks);
  }
}

/** Whether rows may hold other values than at the time of the first mark; false when there is none. */
export function wasRewritten(before: RewriteMark | undefined, now: RewriteMark): boolean {
  return before !== undefined && before.files !== now.files && before.columns !== now.columns;
}

/** Reads tables again whose rows are not what the log says any more. */
export function readAgain(
  tables: readonly TableSchema[],
  to: { readonly snapshot: Snapshot; readonly logger: CaptureLogger },
): void {
  for (const table of tables) {
    to.logger.warn(`${tableName(table)} was rewritten at the source: reading it again`);
  }
  to.snapshot.request(tables);
}
