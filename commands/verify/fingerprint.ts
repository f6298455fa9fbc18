import { hash } from 'node:crypto';

/** Canonical columns of one row (null = SQL NULL), key columns apart. */
export interface CanonicalRow {
  readonly key: readonly (string | null)[];
  readonly columns: readonly (string | null)[];
}

const bucketCount = 1_024;
const lanes = 4;

/**
 * A table as 1,024 sums: every row's 128-bit digest is added, lane by lane, to the bucket that its key
 * falls into. Independent of the order of the rows, and two equal rows do not cancel out; so two tables
 * with equal fingerprints hold the same multiset of rows, and a differing bucket names a 1/1024 of the
 * keys to look into.
 */
export class Fingerprint {
  readonly #sums = new Uint32Array(bucketCount * lanes);
  rows = 0;

  add(row: CanonicalRow): void {
    const digest = hash('sha256', rowText(row.columns), 'buffer');
    const at = bucketOf(row) * lanes;
    for (let lane = 0; lane < lanes; lane += 1) {
      this.#sums[at + lane] = ((this.#sums[at + lane] ?? 0) + digest.readUInt32BE(lane * 4)) >>> 0;
    }
    this.rows += 1;
  }

  differingBuckets(other: Fingerprint): ReadonlySet<number> {
    const differing = new Set<number>();
    for (let index = 0; index < this.#sums.length; index += 1) {
      if (this.#sums[index] !== other.#sums[index]) differing.add(Math.floor(index / lanes));
    }
    return differing;
  }
}

/** The bucket of a row: by its key, or by the whole row in a table without one. */
export function bucketOf(row: CanonicalRow): number {
  const text = rowText(row.key.length > 0 ? row.key : row.columns);
  return hash('sha256', text, 'buffer').readUInt32BE(0) % bucketCount;
}

/** Unambiguous text of a list of columns: NULL, "" and neighbours that run together all differ. */
export function rowText(columns: readonly (string | null)[]): string {
  return columns.map((column) => (column === null ? '-' : `${column.length}:${column}`)).join('|');
}
