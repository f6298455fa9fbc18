import type { Change, DeadLetter } from '../../schemas/change.ts';
import { parseLsn } from '../../schemas/lsn.ts';
import {
  type BigquerySinkOptions,
  bigquerySinkSteps,
  createBigquerySink,
} from '../../sinks/bigquery/bigquery-sink.ts';
import { type LakeReader, openLakeReader } from '../../sinks/bigquery/read-lake.ts';
import type { Sink } from '../../sinks/sink.ts';
import type { LakeChange, SinkHarness } from '../conformance/sink-suite.ts';
import { send } from './local-bigquery/rest.ts';
import type { TestBigQuery } from './test-bigquery.ts';
import { createDatasetBeside } from './test-dataset.ts';

export interface BigqueryHarness extends SinkHarness {
  readonly lake: LakeReader;
  readonly dataset: string;
}

/** A BigQuery sink on a dataset of its own. `settingsOf` is asked for the settings of each owner. */
export async function bigqueryHarness(
  server: TestBigQuery,
  settingsOf: () => Partial<BigquerySinkOptions> = () => ({}),
): Promise<BigqueryHarness> {
  const { project, endpoint, location, grpcAddress } = server;
  const dataset = await createDatasetBeside(server);
  let doomed: string | null = null;
  const options = { project, dataset, location, endpoint, storageEndpoint: grpcAddress };
  const owners: Sink[] = [];
  const newSink = () => {
    const owner = createBigquerySink({
      ...options,
      // The suites are about staging tables, unless they say otherwise.
      inlineTableBytesMax: 0,
      ...settingsOf(),
      onStep: (step) => {
        if (step !== doomed) return;
        doomed = null;
        throw new Error(`died at ${step}`);
      },
    });
    owners.push(owner);
    return owner;
  };
  const lake = openLakeReader(options);
  return {
    lake,
    dataset,
    sink: newSink(),
    reopen: async () => newSink(),
    rows: async (table) => {
      const own = ['_cdc_seq', '_cdc_committed_at'];
      const rows = await collected(lake.readRows(table, table.columns, own));
      return rows.map(([[seq = null, at = null], values]) => {
        return { values, seq: String(seq), committedAtUs: micros(at) };
      });
    },
    changes: async (table) => {
      const rows = await collected(lake.readChanges(table, table.columns, changeColumns));
      return rows.map(([own, values]) => changeOf(own, values));
    },
    deadLetters: async () => {
      const rows = await lake.rows(/* sql */ `
        select topic, \`partition\`, \`offset\`, seq, reason, to_base64(key), to_base64(value)
        from \`${dataset}\`._tributary_dead_letters`);
      return rows.map(letterOf);
    },
    checkpoint: () => lake.checkpoint(),
    crashSteps: bigquerySinkSteps,
    crashAt: (step) => {
      doomed = step;
    },
    destroy: async () => {
      // The emulator has 16 connections for streams, and each owner takes one a table.
      await Promise.all(owners.map((owner) => owner.close()));
      const path = `projects/${project}/datasets/${dataset}?deleteContents=true`;
      await send(server, path, { method: 'DELETE' });
    },
  };
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

function changeOf(own: readonly (string | null)[], values: LakeChange['values']): LakeChange {
  const of = (name: (typeof changeColumns)[number]) => own[changeColumns.indexOf(name)] ?? null;
  const xid = of('_cdc_xid');
  return {
    values,
    op: String(of('_cdc_op')) as Change['op'],
    seq: String(of('_cdc_seq')),
    lsn: parseLsn(String(of('_cdc_lsn'))),
    xid: xid === null ? null : BigInt(xid),
    committedAtUs: micros(of('_cdc_committed_at')),
    capturedAtUs: micros(of('_cdc_captured_at')) ?? 0n,
    topic: String(of('_cdc_topic')),
    partition: Number(of('_cdc_partition')),
    offset: Number(of('_cdc_offset')),
    schemaId: Number(of('_cdc_schema_id')),
    // An emulator has NULL where the service has an empty list.
    unchanged: (JSON.parse(of('_cdc_unchanged') ?? '[]') as readonly string[] | null) ?? [],
    batchId: String(of('_cdc_batch_id')),
  };
}

const micros = (value: string | null): bigint | null => (value === null ? null : BigInt(value));

function letterOf(row: readonly (string | null)[]): DeadLetter {
  const [topic, partition, offset, seq = null, reason, key = null, value = null] = row;
  const bytes = (text: string | null) => (text === null ? null : Buffer.from(text, 'base64'));
  return {
    topic: String(topic),
    partition: Number(partition),
    offset: Number(offset),
    seq,
    reason: String(reason),
    key: bytes(key),
    value: bytes(value),
  };
}

async function collected<T>(items: AsyncIterable<T>): Promise<readonly T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}
