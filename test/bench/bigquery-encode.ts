import { managedwriter, type protos } from '@google-cloud/bigquery-storage';
import type { Change } from '../../schemas/change.ts';
import { formatPosition, positionZero } from '../../schemas/position.ts';
import type { LogicalType } from '../../schemas/table-schema.ts';
import { bigqueryTypeOf } from '../../schemas/type-mapping.ts';
import { RowEncoder, type RowDescriptor } from '../../sinks/bigquery/encode-row.ts';
import { stageBatch } from '../../sinks/bigquery/stage.ts';
import type { VersionLayout } from '../../sinks/lake/layout.ts';
import { median, report } from './report.ts';

type Connection = ConstructorParameters<typeof managedwriter.JSONWriter>[0]['connection'];

const rows = 20_000;
const rounds = 7;
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
const layout: VersionLayout = {
  names: { schema: 'lake', changes: 'orders__changes', state: 'orders__state', view: 'orders' },
  columns: types.map(([name, type]) => ({
    name,
    physical: name,
    type,
    lakeType: bigqueryTypeOf(type),
    isKey: name === 'id',
  })),
  later: [],
  version: {
    topic: 'bench.public.orders',
    valueSchemaId: 1,
    keySchemaId: 2,
    from: positionZero,
    table: {
      oid: 1,
      schema: 'public',
      name: 'orders',
      columns: types.map(([name, type]) => ({ name, type, pgType: type.kind, nullable: true })),
      key: ['id'],
      replicaIdentity: 'default',
    },
  },
};

function change(id: number): Change {
  const us = 1_700_000_000_000_000n + BigInt(id);
  return {
    op: 'c',
    seq: formatPosition({ generation: 1, commitLsn: 4096n, ordinal: id, part: 0 }),
    lsn: 4096n + BigInt(id),
    xid: 77n,
    committedAtUs: us,
    capturedAtUs: us + 500n,
    topic: layout.version.topic,
    partition: id % 6,
    offset: id,
    version: layout.version,
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

/** Rows as the client's writer wants them, made before its time is taken. */
function jsonRow({ after, ...origin }: Extract<Change, { op: 'c' | 'r' | 'u' }>) {
  const row: Record<string, string | number | boolean | null> = {
    _cdc_op: origin.op,
    _cdc_seq: origin.seq,
    _cdc_lsn: '0/1000',
    _cdc_xid: Number(origin.xid),
    _cdc_committed_at: Number(origin.committedAtUs),
    _cdc_captured_at: Number(origin.capturedAtUs),
    _cdc_loaded_at: Number(origin.capturedAtUs),
    _cdc_topic: origin.topic,
    _cdc_partition: origin.partition,
    _cdc_offset: origin.offset,
    _cdc_schema_id: 1,
    _cdc_batch_id: batchId,
  };
  for (const [index, [name, { kind }]] of types.entries()) {
    const value = after[index] ?? null;
    // It writes a BigInt as 0, and takes NUMERIC as text.
    if (kind === 'numeric') row[name] = String(value as bigint);
    else
      row[name] =
        typeof value === 'bigint' ? Number(value) : (value as string | number | boolean | null);
  }
  return row;
}

const batchId = 'a'.repeat(24);

/** A connection that keeps what it is given, and how long it was. */
function discarding(): { readonly connection: Connection; bytes: number } {
  const sink = {
    bytes: 0,
    connection: {
      onSchemaUpdated: () => ({ off: () => {} }),
      reconnect: () => {},
      getStreamId: () => 'bench',
      write: (request: protos.google.cloud.bigquery.storage.v1.IAppendRowsRequest) => {
        const serialized = request.protoRows?.rows?.serializedRows ?? [];
        sink.bytes = serialized.reduce((sum, row) => sum + row.length, 0);
      },
    } as unknown as Connection,
  };
  return sink;
}

function jsonWriter(descriptor: RowDescriptor, changes: readonly Change[]): () => number {
  const sink = discarding();
  const protoDescriptor = descriptor as protos.google.protobuf.IDescriptorProto;
  const writer = new managedwriter.JSONWriter({ connection: sink.connection, protoDescriptor });
  const objects = changes.flatMap((one) => ('after' in one ? [jsonRow(one)] : []));
  return () => {
    writer.appendRows(objects);
    return sink.bytes;
  };
}

/** Rows a second encoded for the two ways into BigQuery, beside the encoder of the client. */
export async function benchEncode(): Promise<void> {
  const changes = Array.from({ length: rows }, (_, id) => change(id));
  const encoder = new RowEncoder(layout);
  const fold = { floor: null, rows: [], added: [], removed: [] };
  const ways: Readonly<Record<string, () => number>> = {
    'client JSONWriter': jsonWriter(encoder.descriptor, changes),
    'storage write': () =>
      encoder
        .encode(changes, { batchId, loadedAtUs: 1_700_000_000_000_500n })
        .reduce((sum, row) => sum + row.length, 0),
    'load (NDJSON)': () =>
      stageBatch(layout, { version: layout.version, changes, fold }, changes)
        .rows.map((row) => JSON.stringify(row))
        .join('\n').length,
  };
  const rates = new Map<string, number[]>();
  const bytes = new Map<string, number>();
  for (let round = 0; round <= rounds; round += 1) {
    for (const [name, encode] of Object.entries(ways)) {
      const startedAt = performance.now();
      bytes.set(name, encode() / rows);
      const rate = (rows * 1000) / (performance.now() - startedAt);
      // The first round is for the compiler.
      if (round > 0) rates.set(name, [...(rates.get(name) ?? []), rate]);
    }
  }
  const rateOf = (name: string) => median(rates.get(name) ?? []);
  const bench = 'bigquery-encode';
  for (const name of Object.keys(ways)) {
    report({ bench, what: name, value: rateOf(name), unit: 'rows/s' });
    report({ bench, what: name, value: bytes.get(name) ?? 0, unit: 'bytes/row' });
  }
  const value = rateOf('storage write') / rateOf('client JSONWriter');
  report({ bench, what: 'storage write / client JSONWriter', value, unit: 'times', aim: '>= 5' });
}
