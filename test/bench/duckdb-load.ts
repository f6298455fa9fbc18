import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import type { Change } from '../../schemas/change.ts';
import { cutAfter, formatPosition } from '../../schemas/position.ts';
import type { ColumnSchema, LogicalType, TableVersion } from '../../schemas/table-schema.ts';
import { createDuckdbSink } from '../../sinks/duckdb/duckdb-sink.ts';
import { makeBatch } from '../../sinks/batch.ts';
import type { Checkpoint } from '../../sinks/sink.ts';

/*
 * Rows a second into a DuckDB lake, from changes in memory, on ten columns: first inserts, then updates
 * spread over all rows. One JSON line a batch size and kind; `cpuMsPer1000Rows`, of all threads, says more
 * than the rate on a machine with other work. The lake lies in the folder for temporary files.
 *   node test/bench/duckdb-load.ts [rows = 400000] [batch sizes = 1000,10000,100000]
 */

const rowsWanted = Number(process.argv[2] ?? 400_000);
const batchSizes = (process.argv[3] ?? '1000,10000,100000').split(',').map(Number);
const types: readonly (readonly [string, LogicalType])[] = [
  ['id', { kind: 'int8' }],
  ['master_id', { kind: 'int8' }],
  ['master_uuid', { kind: 'uuid' }],
  ['status', { kind: 'text' }],
  ['title', { kind: 'text' }],
  ['amount', { kind: 'numeric', precision: 12, scale: 2 }],
  ['quantity', { kind: 'int4' }],
  ['is_active', { kind: 'bool' }],
  ['payload', { kind: 'jsonb' }],
  ['created_at', { kind: 'timestamptz', precision: 6 }],
];
const version: TableVersion = {
  topic: 'bench.public.orders',
  valueSchemaId: 1,
  keySchemaId: 2,
  from: formatPosition({ generation: 1, commitLsn: 0n, ordinal: 0, part: 0 }),
  table: {
    oid: 1,
    schema: 'public',
    name: 'orders',
    columns: types.map(([name, type]): ColumnSchema => {
      return { name, type, pgType: type.kind, nullable: true };
    }),
    key: ['id'],
    replicaIdentity: 'default',
  },
};

function change(op: 'c' | 'u', id: number, place: { lsn: number; ordinal: number }): Change {
  const commitLsn = BigInt(place.lsn * 4096);
  const us = 1_700_000_000_000_000n + BigInt(place.lsn);
  return {
    op,
    seq: formatPosition({ generation: 1, commitLsn, ordinal: place.ordinal, part: 0 }),
    lsn: commitLsn + BigInt(place.ordinal),
    xid: BigInt(place.lsn),
    committedAtUs: us,
    capturedAtUs: us + 500n,
    topic: version.topic,
    partition: id % 6,
    offset: place.lsn * 1000 + place.ordinal,
    version,
    after: [
      BigInt(id),
      BigInt(id % 1000),
      `00000000-0000-4000-8000-${id.toString(16).padStart(12, '0')}`,
      ['open', 'paid', 'cancelled'][id % 3] ?? '',
      `order number ${id} of the day`,
      BigInt(id * 37),
      id % 10,
      id % 2 === 0,
      id % 5 === 0 ? null : `{"source": "web", "n": ${id}}`,
      us,
    ],
    before: null,
    unchanged: [],
  };
}

const percentile = (values: readonly number[], part: number): number =>
  values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) * part)] ?? 0;

async function measure(batchRows: number): Promise<void> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'tributary-bench-'));
  const sink = createDuckdbSink({ path: path.join(folder, 'lake.duckdb') });
  try {
    let before: Checkpoint = await sink.open();
    await sink.evolve(version);
    const rows = Math.min(rowsWanted, batchRows * 100);
    const times = { c: [] as number[], u: [] as number[] };
    const cpuMs = { c: 0, u: 0 };
    let lsn = 0;
    for (const op of ['c', 'u'] as const) {
      for (let from = 0; from < rows; from += batchRows) {
        lsn += 1;
        const changes: Change[] = [];
        for (let at = 0; at < batchRows; at += 1) {
          // A prime stride spreads the updates of a batch over the whole table.
          const id = op === 'c' ? from + at : ((from + at) * 7919) % rows;
          changes.push(change(op, id, { lsn, ordinal: at + 1 }));
        }
        const cut = cutAfter(1, BigInt(lsn * 4096));
        const after = { ...before, applied: cut, watermarkOffset: lsn };
        const watermark = {
          cut,
          lsn: `0/${(lsn * 4096).toString(16).toUpperCase()}`,
          committedAtUs: '1700000000000000',
          publish: true,
          full: true,
          ends: {},
        };
        const batch = makeBatch({ cut: watermark, before, after, changes, deadLetters: [] });
        const [startedAt, cpuAt] = [performance.now(), process.cpuUsage()];
        await sink.apply(batch);
        times[op].push(performance.now() - startedAt);
        const { user, system } = process.cpuUsage(cpuAt);
        cpuMs[op] += (user + system) / 1000;
        before = after;
      }
    }
    for (const op of ['c', 'u'] as const) {
      const total = times[op].reduce((sum, ms) => sum + ms, 0);
      const line = {
        bench: 'duckdb-load',
        op: op === 'c' ? 'insert' : 'update',
        batchRows,
        batches: times[op].length,
        rowsPerSecond: Math.round((times[op].length * batchRows * 1000) / total),
        batchMsMedian: Math.round(percentile(times[op], 0.5)),
        batchMsP99: Math.round(percentile(times[op], 0.99)),
        cpuMsPer1000Rows: Math.round((cpuMs[op] * 1000) / (times[op].length * batchRows)),
        rssMiB: Math.round(process.memoryUsage().rss / 1024 / 1024),
      };
      process.stdout.write(`${JSON.stringify(line)}\n`);
    }
  } finally {
    await sink.close();
    await rm(folder, { recursive: true, force: true });
  }
}

for (const batchRows of batchSizes) await measure(batchRows);
