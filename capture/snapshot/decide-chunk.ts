import type { TableSchema } from '../../schemas/table-schema.ts';
import type { TupleBytes } from '../pgoutput/message.ts';
import { encodeTuple, TupleCursor } from '../pgoutput/tuple.ts';
import { type KeyText, rowKey } from './change-effect.ts';
import type { ChunkMemory, RememberedKey } from './remember.ts';
import type { SnapshotRules } from './snapshot-rules.ts';

export interface ChunkDecision {
  readonly rows: readonly TupleBytes[];
  /** Keys whose whole row the log has once `rows` are on it. */
  readonly settled: readonly KeyText[];
}

export interface ReadChunk {
  readonly table: TableSchema;
  readonly rows: readonly TupleBytes[];
  readonly memory: ChunkMemory;
  /** Keys that a repair chunk asked for; empty for a range. */
  readonly asked: readonly KeyText[];
  /** Whether anyone needs to know the keys of the rows. */
  readonly needsKeys: boolean;
}

/** Rules 4 and 5 at the fence: what of the chunk to emit, and which keys need no repair any more. */
export function decideChunk(chunk: ReadChunk, rules: SnapshotRules): ChunkDecision {
  const { table, memory, asked } = chunk;
  if (memory.truncated && rules.truncate)
    return { rows: [], settled: unanswered(chunk, new Set()) };
  if (memory.keys.size === 0 && !chunk.needsKeys && asked.length === 0) {
    return { rows: chunk.rows, settled: [] };
  }
  const rows: TupleBytes[] = [];
  const settled: KeyText[] = [];
  const read = new Set<KeyText>();
  for (const row of chunk.rows) {
    const key = rowKey(table, row);
    read.add(key);
    const emitted = decideRow(row, memory.keys.get(key), rules);
    if (emitted === null) continue;
    rows.push(emitted);
    settled.push(key);
  }
  return { rows, settled: [...settled, ...unanswered(chunk, read)] };
}

function decideRow(
  row: TupleBytes,
  remembered: RememberedKey | undefined,
  rules: SnapshotRules,
): TupleBytes | null {
  if (remembered === undefined) return row;
  if (remembered.deleted) return rules.skipDeleted ? null : row;
  if (remembered.complete) return rules.skipComplete ? null : row;
  if (remembered.replaced && rules.skipReplaced) return null;
  return rules.overlay ? overlay(row, remembered) : row;
}

/** Asked keys that the snapshot had no row for are gone, unless a transaction it did not see brought them half. */
function unanswered(chunk: ReadChunk, read: ReadonlySet<KeyText>): readonly KeyText[] {
  return chunk.asked.filter((key) => {
    if (read.has(key)) return false;
    const remembered = chunk.memory.keys.get(key);
    return remembered === undefined || remembered.deleted || remembered.complete;
  });
}

function overlay(row: TupleBytes, remembered: RememberedKey): TupleBytes {
  const columns: (Buffer | null)[] = [];
  const cursor = new TupleCursor().reset(row);
  while (cursor.next()) {
    const set = remembered.columns.get(cursor.index);
    if (set !== undefined) columns.push(set);
    else if (cursor.kind === 'null') columns.push(null);
    else columns.push(cursor.bytes.subarray(cursor.start, cursor.end));
  }
  return encodeTuple(columns);
}
