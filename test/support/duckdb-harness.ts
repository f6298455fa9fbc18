import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import {
  DuckDBBlobValue,
  DuckDBListValue,
  DuckDBTimestampTZValue,
  type DuckDBValue,
} from '@duckdb/node-api';
import type { Change, DeadLetter } from '../../schemas/change.ts';
import { parseLsn } from '../../schemas/lsn.ts';
import { createDuckdbSink, duckdbSinkSteps } from '../../sinks/duckdb/duckdb-sink.ts';
import { type LakeReader, openLakeReader } from '../../sinks/duckdb/read-lake.ts';
import type { Sink } from '../../sinks/sink.ts';
import type { LakeChange, LakeRow, SinkHarness } from '../conformance/sink-suite.ts';

/** A DuckDB sink on a lake file of its own in a temporary folder. */
export async function duckdbHarness(): Promise<SinkHarness & { readonly path: string }> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'tributary-lake-'));
  const file = path.join(folder, 'lake.duckdb');
  let doomed: string | null = null;
  const sinks: Sink[] = [];
  const newSink = () => {
    const sink = createDuckdbSink({
      path: file,
      memoryBytesMax: 256 * 1024 * 1024,
      onStep: (step) => {
        if (step !== doomed) return;
        doomed = null;
        throw new Error(`died at ${step}`);
      },
    });
    sinks.push(sink);
    return sink;
  };
  const read = async <T>(use: (lake: LakeReader) => Promise<T>): Promise<T> => {
    await using lake = await openLakeReader(file);
    return await use(lake);
  };
  return {
    path: file,
    sink: newSink(),
    reopen: async () => newSink(),
    rows: (table) => read((lake) => readRows(lake, table)),
    changes: (table) => read((lake) => readChanges(lake, table)),
    deadLetters: () => read(readDeadLetters),
    checkpoint: () => read((lake) => lake.checkpoint()),
    crashSteps: duckdbSinkSteps,
    crashAt: (step) => {
      doomed = step;
    },
    destroy: async () => {
      for (const sink of sinks) await sink.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

type Table = Parameters<SinkHarness['rows']>[0];

async function readRows(lake: LakeReader, table: Table): Promise<readonly LakeRow[]> {
  const rows: LakeRow[] = [];
  const own = ['_cdc_seq', '_cdc_committed_at'];
  for await (const [[seq = null, at = null], values] of lake.readRows(table, table.columns, own)) {
    rows.push({ values, seq: String(seq), committedAtUs: micros(at) });
  }
  return rows;
}

const changeColumns = [
  '_cdc_op',
  '_cdc_seq',
  '_cdc_lsn',
  '_cdc_xid',
  '_cdc_committed_at',
  '_cdc_captured_at',
  '_cdc_topic',
  '_cdc_partition',
  '_cdc_offset',
  '_cdc_schema_id',
  '_cdc_unchanged',
  '_cdc_batch_id',
] as const;

async function readChanges(lake: LakeReader, table: Table): Promise<readonly LakeChange[]> {
  const changes: LakeChange[] = [];
  for await (const [own, values] of lake.readChanges(table, table.columns, changeColumns)) {
    const of = (name: (typeof changeColumns)[number]) => own[changeColumns.indexOf(name)] ?? null;
    const xid = of('_cdc_xid');
    const unchanged = of('_cdc_unchanged');
    changes.push({
      values,
      op: String(of('_cdc_op')) as Change['op'],
      seq: String(of('_cdc_seq')),
      lsn: parseLsn(String(of('_cdc_lsn'))),
      xid: xid === null ? null : BigInt(String(xid)),
      committedAtUs: micros(of('_cdc_committed_at')),
      capturedAtUs: micros(of('_cdc_captured_at')) ?? 0n,
      topic: String(of('_cdc_topic')),
      partition: Number(of('_cdc_partition')),
      offset: Number(of('_cdc_offset')),
      schemaId: Number(of('_cdc_schema_id')),
      unchanged: unchanged instanceof DuckDBListValue ? unchanged.items.map(String) : [],
      batchId: String(of('_cdc_batch_id')),
    });
  }
  return changes;
}

const micros = (value: DuckDBValue): bigint | null =>
  value instanceof DuckDBTimestampTZValue ? value.micros : null;

async function readDeadLetters(lake: LakeReader): Promise<readonly DeadLetter[]> {
  const rows = await lake.rows('select * from tributary._tributary_dead_letters');
  const bytes = (value: DuckDBValue | undefined) =>
    value instanceof DuckDBBlobValue ? value.bytes : null;
  return rows.map((row) => ({
    topic: String(row['topic']),
    partition: Number(row['partition']),
    offset: Number(row['offset']),
    seq: row['seq'] === null ? null : String(row['seq']),
    reason: String(row['reason']),
    key: bytes(row['key']),
    value: bytes(row['value']),
  }));
}
