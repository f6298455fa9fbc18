import { PipelineError } from '../../runtime/errors.ts';
import type { Change, RowImage } from '../../schemas/change.ts';
import type { PositionText } from '../../schemas/position.ts';
import { tableName, type TableVersion } from '../../schemas/table-schema.ts';
import { columnPlace } from '../lake/plan-evolution.ts';
import type { Refusal } from '../sink.ts';
import { policedType, type PolicyOf } from './column-policy.ts';
import { unfitReason } from './encode.ts';

/** What the reasons of these dead letters begin with, and no others do. */
export const unfitMark = 'unfit: ';
/** Rows that wait at the same time: some 100 bytes each, and more of them are no exception any more. */
const waitingRowsMax = 100_000;
/** 0x00 and the schema id in front of a key's bytes, which stay the same when its schema is registered anew. */
const frameBytes = 5;

type RowChange = Extract<Change, { readonly after: RowImage }>;

/** A row that no longer waits, or with `key` null all rows of its table. */
export interface SettledRow {
  readonly topic: string;
  /** As `rowKey` gives it. */
  readonly key: string | null;
  readonly seq: PositionText;
}

/** A row's key as the waiting rows are told apart by. */
export const rowKey = (key: Uint8Array): string =>
  Buffer.from(key).subarray(frameBytes).toString('base64');

/** Why a row cannot be written as it is: the first of its columns that are to hold all or nothing. */
export function unfitColumn(
  version: TableVersion,
  image: RowImage,
  policyOf: PolicyOf,
): string | null {
  for (const [index, { name, type }] of version.table.columns.entries()) {
    const place = columnPlace(version, name);
    const value = image[index] ?? null;
    if (value === null || policyOf(place.name).unfit !== 'dead_letter') continue;
    const reason = unfitReason(type, value, policedType(type, place, policyOf));
    if (reason !== null) return `column ${name}: ${reason}`;
  }
  return null;
}

/**
 * Decides which changes become dead letters. The row of one stays in the lake as it was, and waits: what comes after
 * is taken only with all of its columns, because the value of one that it leaves out may be that of the dead letter.
 * So a row of the lake is always the source's as it was at one position. A delete ends the waiting, like a whole row
 * and a truncate. What is waited for is stored with the batches: the dead letters begin it, settled rows end it.
 */
export class UnfitRows {
  readonly #policyOf: PolicyOf;
  /** topic → keys. */
  readonly #waiting: Map<string, Set<string>>;
  readonly #isPoliced = new WeakMap<TableVersion, boolean>();
  #settled: SettledRow[] = [];
  /** The last delete: it may be half of a key change, whose other half continues its row. */
  #left: { readonly change: string; readonly wasWaiting: boolean } | null = null;

  constructor(policyOf: PolicyOf, waiting: ReadonlyMap<string, ReadonlySet<string>>) {
    this.#policyOf = policyOf;
    this.#waiting = new Map([...waiting].map(([topic, keys]) => [topic, new Set(keys)]));
  }

  /** To be asked for each change once, in their order. Throws `sink-refused` when too many rows wait. */
  refuse(change: Change, recordKey: Uint8Array | null): Refusal | null {
    const key = recordKey === null ? null : rowKey(recordKey);
    switch (change.op) {
      case 't':
        this.#settleAll(change);
        return null;
      case 'd':
        // Its old values, if it has any, are of no row any more: exact text will do for them.
        this.#left = { change: halves(change), wasWaiting: this.#settle(change, key) };
        return null;
      default:
        return this.#refuseRow(change, key);
    }
  }

  /** Rows that were settled up to a position: to be stored with the batch that ends there. */
  takeSettled(upTo: PositionText): readonly SettledRow[] {
    const taken = this.#settled.filter(({ seq }) => seq <= upTo);
    this.#settled = this.#settled.filter(({ seq }) => seq > upTo);
    return taken;
  }

  #refuseRow(change: RowChange, key: string | null): Refusal | null {
    const unfit = this.#hasPolicy(change.version)
      ? unfitColumn(change.version, wholeImage(change), this.#policyOf)
      : null;
    if (unfit !== null) return this.#keepOut(change, key, unfit);
    const isWhole = change.unchanged.length === 0 || change.before !== null;
    if (!isWhole && this.#continuesWaiting(change, key)) {
      const reason = 'it leaves out columns, and the change that has them is a dead letter';
      return this.#keepOut(change, key, reason);
    }
    this.#settle(change, key);
    return null;
  }

  #hasPolicy(version: TableVersion): boolean {
    const known = this.#isPoliced.get(version);
    if (known !== undefined) return known;
    const places = version.table.columns.map(({ name }) => columnPlace(version, name).name);
    const isPoliced = places.some((place) => this.#policyOf(place).unfit === 'dead_letter');
    this.#isPoliced.set(version, isPoliced);
    return isPoliced;
  }

  #continuesWaiting(change: RowChange, key: string | null): boolean {
    const { topic, seq } = change;
    const isMoved = seq.endsWith('/2') && this.#left?.change === halves(change);
    if (isMoved) return this.#left?.wasWaiting === true;
    return key !== null && this.#waiting.get(topic)?.has(key) === true;
  }

  #keepOut(change: RowChange, key: string | null, reason: string): Refusal {
    const { after: _after, unchanged: _unchanged, before, ...origin } = change;
    if (key !== null) this.#wait(change, key);
    // Rows without a key are told apart by their values: nothing could ever take the old one away later.
    const isMultiset = key === null && before !== null;
    const instead: Change | null = isMultiset ? { ...origin, op: 'd', before } : null;
    return { reason: `${unfitMark}${reason}`, instead };
  }

  #wait({ topic, version }: Change, key: string): void {
    const keys = this.#waiting.get(topic) ?? new Set();
    this.#waiting.set(topic, keys.add(key));
    const count = [...this.#waiting.values()].reduce((sum, { size }) => sum + size, 0);
    if (count <= waitingRowsMax) return;
    throw new PipelineError(
      'sink-refused',
      `more than ${waitingRowsMax} rows wait for values that BigQuery can hold, of ${tableName(version.table)} among others`,
      {
        hint: 'set columns.unfit: exact_text for the columns that _tributary_dead_letters names',
      },
    );
  }

  #settle({ topic, seq }: Change, key: string | null): boolean {
    const wasWaiting = key !== null && this.#waiting.get(topic)?.delete(key) === true;
    if (wasWaiting) this.#settled.push({ topic, key, seq });
    return wasWaiting;
  }

  #settleAll({ topic, seq }: Change): void {
    const keys = this.#waiting.get(topic);
    if (keys === undefined || keys.size === 0) return;
    keys.clear();
    this.#settled.push({ topic, key: null, seq });
  }
}

/** Halves of one key change differ in nothing but the position's part. */
const halves = ({ seq }: Change): string => seq.slice(0, -1);

/** The row with the columns that its old image knows. */
function wholeImage({ after, before, unchanged }: RowChange): RowImage {
  if (before === null || unchanged.length === 0) return after;
  const image = [...after];
  for (const index of unchanged) image[index] = before[index] ?? null;
  return image;
}
