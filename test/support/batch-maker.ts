import type { Change, RowImage } from '../../schemas/change.ts';
import { cutAfter, formatPosition, type Part, type PositionText } from '../../schemas/position.ts';
import type { ColumnSchema, LogicalType, TableVersion } from '../../schemas/table-schema.ts';
import { makeBatch } from '../../sinks/batch.ts';
import type { Checkpoint, Sink, SinkBatch } from '../../sinks/sink.ts';

export interface TableSpec {
  readonly schema?: string;
  readonly name: string;
  readonly oid?: number;
  readonly id?: number;
  readonly key: readonly string[];
  /** name → type, or the column without its name. */
  readonly columns: Readonly<Record<string, LogicalType | Omit<ColumnSchema, 'name'>>>;
}

/** A table version for tests; `from` says where it begins. */
export function versionOf(spec: TableSpec, from: PositionText): TableVersion {
  const { schema = 'public', name, oid = 16_384, id = 1, key } = spec;
  const columns = Object.entries(spec.columns).map(([column, given]): ColumnSchema => {
    if ('type' in given) return { name: column, ...given };
    return { name: column, type: given, pgType: given.kind, nullable: true };
  });
  return {
    topic: `app.${schema}.${name}`.replaceAll(/[^A-Za-z0-9._-]/g, '_'),
    valueSchemaId: id,
    keySchemaId: key.length === 0 ? null : id + 1000,
    from,
    table: { oid, schema, name, columns, key, replicaIdentity: 'default' },
  };
}

type ChangeBody =
  | {
      readonly op: 'c' | 'r' | 'u';
      readonly after: RowImage;
      readonly unchanged?: readonly number[];
    }
  | { readonly op: 'd'; readonly before: RowImage }
  | { readonly op: 't' };

/** Writes changes one transaction after the other and hands them to a sink, as the sink's core would. */
export class BatchMaker {
  /** Number of the transaction being written, from 1. */
  transaction: number;
  #ordinal = 0;
  #changes: Change[] = [];

  constructor(transaction = 1) {
    this.transaction = transaction;
  }

  /** Where the next change will be: the place for a new version to begin. */
  get next(): PositionText {
    return this.#position(this.#ordinal + 1, 0);
  }

  add(version: TableVersion, body: ChangeBody, part: Part = 0): this {
    this.#ordinal += 1;
    const lsn = BigInt(this.transaction * 4096);
    const us = 1_700_000_000_000_000n + BigInt(this.transaction) * 1_000_000n;
    const origin = {
      seq: this.#position(this.#ordinal, part),
      lsn: lsn - 64n + BigInt(this.#ordinal),
      xid: BigInt(this.transaction),
      committedAtUs: us,
      capturedAtUs: us + 5_000n,
      topic: version.topic,
      partition: 0,
      offset: this.transaction * 100_000 + this.#ordinal,
      version,
    };
    if (body.op === 't' || body.op === 'd') this.#changes.push({ ...origin, ...body });
    else this.#changes.push({ ...origin, before: null, unchanged: [], ...body });
    return this;
  }

  /** The changes so far as a batch that goes on from `before`, and the checkpoint after it. */
  take(before: Checkpoint, options: { readonly publish?: boolean } = {}): SinkBatch {
    const { publish = true } = options;
    const commitLsn = BigInt(this.transaction * 4096);
    const last = this.#changes.at(-1)?.seq ?? this.#position(0, 0);
    // An unpublished cut is inside the transaction.
    const cut = publish ? cutAfter(1, commitLsn) : `${last.slice(0, -1)}2`;
    const after = { ...before, applied: cut, watermarkOffset: before.watermarkOffset + 1 };
    const watermark = {
      cut,
      lsn: `0/${(this.transaction * 4096 + 8).toString(16).toUpperCase()}`,
      committedAtUs: String(1_700_000_000_000_000 + this.transaction * 1_000_000),
      publish,
      full: true,
      ends: {},
    };
    const changes = this.#changes;
    this.#changes = [];
    if (publish) {
      this.transaction += 1;
      this.#ordinal = 0;
    }
    return makeBatch({ cut: watermark, before, after, changes, deadLetters: [] });
  }

  /** Applies the changes so far; gives the checkpoint reached. */
  async apply(
    sink: Sink,
    before: Checkpoint,
    options: { readonly publish?: boolean } = {},
  ): Promise<Checkpoint> {
    const batch = this.take(before, options);
    await sink.apply(batch);
    return batch.checkpoint;
  }

  #position(ordinal: number, part: Part): PositionText {
    return formatPosition({
      generation: 1,
      commitLsn: BigInt(this.transaction * 4096),
      ordinal,
      part,
    });
  }
}
