import type { DeadLetter } from '../../schemas/change.ts';
import type { PositionText } from '../../schemas/position.ts';
import type { TableHistory } from '../lake/layout.ts';
import { stageLifetimeMs } from './apply-table.ts';
import type { LakeConnection } from './client.ts';
import { lettersOf, settledOf, type ShareTables } from './shared-tables.ts';
import { quoteText, relation, type TableField } from './sql.ts';
import { rowKey, type SettledRow, unfitMark } from './unfit-rows.ts';

/** What of a batch is no part of its tables. */
export interface LetterBatch {
  readonly batchId: string;
  /** Name of a staging table for them. */
  readonly stage: string;
  readonly letters: readonly DeadLetter[];
  readonly settled: readonly SettledRow[];
}

/** As literals they could fill a script. */
const stagedFields: readonly TableField[] = [
  { name: 'topic', type: 'STRING' },
  { name: 'place', type: 'INT64' },
  { name: 'position', type: 'INT64' },
  { name: 'seq', type: 'STRING' },
  { name: 'reason', type: 'STRING' },
  { name: 'key', type: 'BYTES' },
  { name: 'value', type: 'BYTES' },
  { name: 'settled_key', type: 'STRING' },
];

const base64 = (bytes: Uint8Array | null): string | null =>
  bytes === null ? null : Buffer.from(bytes).toString('base64');

/** Loads them into a staging table; gives the statements that the transaction of their batch takes. */
export async function stageLetters(
  lake: LakeConnection,
  tables: ShareTables,
  { batchId, stage: name, letters, settled }: LetterBatch,
): Promise<readonly string[]> {
  const rows = [
    ...letters.map(({ topic, partition, offset, seq, reason, key, value }) => {
      const bytes = { key: base64(key), value: base64(value) };
      return { topic, place: partition, position: offset, seq, reason, ...bytes };
    }),
    ...settled.map(({ topic, key, seq }) => ({ topic, seq, settled_key: key })),
  ];
  const fields = stagedFields;
  await lake.createTable({ name, fields, lifetimeMs: stageLifetimeMs });
  await lake.load({ jobId: `tributary_load_${name}`, table: name, fields, rows });
  const stage = relation(tables.dataset, name);
  const statements: string[] = [];
  if (letters.length > 0) {
    statements.push(/* sql */ `
    insert into ${lettersOf(tables)} (topic, \`partition\`, \`offset\`, seq, reason, key, value,
      batch_id, recorded_at)
    select s.topic, s.place, s.position, s.seq, s.reason, s.key, s.value, ${quoteText(batchId)},
      current_timestamp()
    from ${stage} as s where s.reason is not null`);
  }
  if (settled.length > 0) {
    statements.push(/* sql */ `
    insert into ${settledOf(tables)} (topic, key, seq, batch_id, recorded_at)
    select s.topic, s.settled_key, s.seq, ${quoteText(batchId)}, current_timestamp()
    from ${stage} as s where s.reason is null`);
  }
  return statements;
}

/** Below them nothing of a table is left. */
export interface Floors {
  readonly histories: ReadonlyMap<string, Pick<TableHistory, 'floor'>>;
  readonly floors: Readonly<Record<string, PositionText>>;
}

/**
 * The rows that wait for values that the lake can hold, by topic: their newest dead letter is above everything that
 * settled them since, a truncate or a newer table of the name among it.
 */
export async function readWaitingRows(
  lake: LakeConnection,
  tables: ShareTables,
  { histories, floors }: Floors,
): Promise<ReadonlyMap<string, ReadonlySet<string>>> {
  const letters = await lake.rows(/* sql */ `
    select topic, to_base64(key), max(seq) from ${lettersOf(tables)}
    where starts_with(reason, ${quoteText(unfitMark)}) and key is not null and seq is not null
    group by topic, key`);
  if (letters.length === 0) return new Map();
  const stored = await lake.rows(/* sql */ `
    select topic, key, max(seq) from ${settledOf(tables)} group by topic, key`);
  const placed = (topic: unknown, key: unknown) => JSON.stringify([topic, key]);
  const settled = new Map(stored.map(([topic, key, seq]) => [placed(topic, key), seq ?? '']));
  const waiting = new Map<string, Set<string>>();
  for (const [topic, bytes, seq] of letters) {
    const name = String(topic);
    const key = rowKey(Buffer.from(String(bytes), 'base64'));
    const ends = [
      settled.get(placed(name, key)),
      settled.get(placed(name, null)),
      histories.get(name)?.floor,
      floors[name],
    ];
    if (ends.some((end) => (end ?? '') > String(seq))) continue;
    waiting.set(name, (waiting.get(name) ?? new Set()).add(key));
  }
  return waiting;
}
