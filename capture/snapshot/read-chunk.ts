import { PipelineError } from '../../runtime/errors.ts';
import { tableName, type TableSchema } from '../../schemas/table-schema.ts';
import type { TupleBytes } from '../pgoutput/message.ts';
import type { ChunkPlan } from './chunk-plan.ts';
import {
  beginSql,
  copySql,
  describeSql,
  publishedBefore15Sql,
  publishedSql,
  tableParameter,
} from './chunk-sql.ts';
import { CopyTextReader } from './copy-text.ts';
import type { SnapshotLimits } from './snapshot-limits.ts';
import type { SnapshotSession } from './snapshot-session.ts';
import { parseTransactionSnapshot, type TransactionSnapshot } from './transaction-visibility.ts';

export type ChunkReading =
  | { readonly kind: 'read'; readonly rows: readonly TupleBytes[]; readonly bytes: number }
  /** The snapshot was refused: read again. */
  | { readonly kind: 'refused' }
  /** The table is not, or not published, as the plan has it: ask the catalog. */
  | { readonly kind: 'changed' }
  /** More bytes than a chunk may have; the session is at its end. */
  | { readonly kind: 'too-large' };

export interface ReadChunkOptions {
  readonly publications: readonly string[];
  readonly limits: SnapshotLimits;
  /**
   * Told the snapshot and the table's files as soon as they are known, before any row is read; false
   * ends the chunk.
   */
  readonly accept: (snapshot: TransactionSnapshot, storage: string) => boolean;
}

interface CatalogColumn {
  readonly name: string;
  readonly pgType: string;
  /** '' for a plain column, 's' stored, 'v' virtual. */
  readonly generated: string;
}
interface DescribedTable {
  readonly oid: number;
  readonly isPartitioned: boolean;
  readonly snapshot: TransactionSnapshot;
  readonly storage: string;
  readonly columns: readonly CatalogColumn[];
}
interface PublishedTable {
  /** Null: all columns that are not generated … */
  readonly columns: readonly string[] | null;
  /** … or, when the publication says so, also the stored ones. */
  readonly hasGenerated: boolean;
  readonly filters: readonly string[];
}

/**
 * Reads one chunk in a short transaction of its own. Throws what `pg` throws; after any failure the
 * session must not be used again.
 */
export async function readChunk(
  session: SnapshotSession,
  plan: ChunkPlan,
  options: ReadChunkOptions,
): Promise<ChunkReading> {
  const { limits } = options;
  await session.run(
    beginSql(plan.table, { lockMs: limits.lockTimeoutMs, readMs: limits.readTimeoutMs }),
  );
  const described = await describe(session, plan.table);
  const published = await findPublished(session, plan.table, options.publications);
  if (!matches(plan.table, described, published)) {
    await session.run('rollback');
    return { kind: 'changed' };
  }
  if (!options.accept(described.snapshot, described.storage)) {
    await session.run('rollback');
    return { kind: 'refused' };
  }
  const types = described.columns.map((column) => [column.name, column.pgType] as const);
  const sql = copySql(plan, {
    filters: published.filters,
    isPartitioned: described.isPartitioned,
    columnTypes: new Map(types),
  });
  const reader = new CopyTextReader(plan.table.columns.length);
  try {
    await session.copy(sql, (bytes) => {
      reader.push(bytes);
      checkSize(plan, reader.bytes, limits);
    });
  } catch (error) {
    if (error instanceof ChunkTooLarge) return { kind: 'too-large' };
    throw error;
  }
  await session.run('commit');
  return { kind: 'read', rows: reader.rows, bytes: reader.bytes };
}

class ChunkTooLarge extends Error {}

function checkSize(plan: ChunkPlan, bytes: number, limits: SnapshotLimits): void {
  if (plan.kind === 'whole' && bytes > limits.wholeBytesMax) {
    const name = tableName(plan.table);
    throw new PipelineError(
      'source-unfit',
      `${name} has no key and takes more than ${limits.wholeBytesMax} bytes: too much to read in one piece`,
      { hint: `give ${name} a primary key, or leave it out of the publication` },
    );
  }
  if (plan.kind !== 'range' || plan.to - plan.from <= 1) return;
  if (bytes > 2 * limits.chunkBytesMax) throw new ChunkTooLarge();
}

async function describe(session: SnapshotSession, table: TableSchema): Promise<DescribedTable> {
  const [row] = await session.query(describeSql, [tableParameter(table)]);
  const columns = JSON.parse(row?.[4] ?? '[]') as readonly [string, string, string][];
  return {
    snapshot: parseTransactionSnapshot(row?.[0] ?? ''),
    oid: Number(row?.[1]),
    isPartitioned: row?.[2] === 'p',
    storage: row?.[3] ?? '',
    columns: columns.map(([name, pgType, generated]) => ({ name, pgType, generated })),
  };
}

async function findPublished(
  session: SnapshotSession,
  table: TableSchema,
  publications: readonly string[],
): Promise<PublishedTable | null> {
  const sql = session.serverVersion >= 150_000 ? publishedSql : publishedBefore15Sql;
  const rows = await session.query(sql, [[...publications], tableParameter(table)]);
  if (rows.length === 0) return null;
  const list = rows[0]?.[0] ?? null;
  const filters = rows.map((row) => row[1] ?? null);
  return {
    columns: list === null ? null : (JSON.parse(list) as readonly string[]),
    hasGenerated: rows[0]?.[2] === 's',
    // A publication without a filter publishes every row, whatever the others say.
    filters: filters.includes(null) ? [] : filters.filter((filter) => filter !== null),
  };
}

/** Whether the rows can be read as this version of the table: the same columns of the same types. */
function matches(
  table: TableSchema,
  described: DescribedTable,
  published: PublishedTable | null,
): published is PublishedTable {
  if (published === null || described.oid !== table.oid) return false;
  const list = published.columns;
  const columns = described.columns.filter((column) =>
    list === null
      ? column.generated === '' || (column.generated === 's' && published.hasGenerated)
      : list.includes(column.name),
  );
  return (
    columns.length === table.columns.length &&
    columns.every((column, at) => {
      const twin = table.columns[at];
      return column.name === twin?.name && column.pgType === twin.pgType;
    })
  );
}
