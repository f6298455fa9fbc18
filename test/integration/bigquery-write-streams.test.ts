import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { status } from '@grpc/grpc-js';
import type { PipelineError } from '../../runtime/errors.ts';
import type { RowDescriptor } from '../../sinks/bigquery/encode-row.ts';
import { reasonOf } from '../../sinks/bigquery/errors.ts';
import { fieldTag, fieldTypes, ProtoWriter } from '../../sinks/bigquery/proto-writer.ts';
import { refusedRowOf } from '../../sinks/bigquery/storage-errors.ts';
import { openWriteStreams, type WriteStreams } from '../../sinks/bigquery/write-streams.ts';
import { FakeBigQuery } from '../support/bigquery/fake-bigquery.ts';
import type { WriteFault } from '../support/bigquery/grpc/write-faults.ts';
import type { TableRef } from '../support/bigquery/stream-store.ts';
import { readFields } from '../support/bigquery/table-schema.ts';

/** Pauses as short as a test has time for; requests as small as many of them need. */
const limits = {
  ackTimeoutMs: 20_000,
  attemptsMax: 8,
  pauseMsMax: 5,
  exhaustedPauseMs: 2,
  foundWithinMs: 100,
  visibleWithinMs: 20_000,
  requestBytesMax: 60,
  requestsInFlightMax: 3,
};
const place = { project: 'test', dataset: 'lake' };

let fake: FakeBigQuery;
let streams: WriteStreams;
let tables = 0;

const open = (): WriteStreams =>
  openWriteStreams(
    { ...place, endpoint: fake.apiEndpoint, storageEndpoint: fake.storageEndpoint },
    limits,
  );

beforeAll(async () => {
  fake = await FakeBigQuery.start();
  await fake.store.createDataset({ projectId: 'test', datasetId: 'lake' });
});
afterAll(() => fake[Symbol.asyncDispose]());
beforeEach(() => {
  streams = open();
});
afterEach(async () => {
  await streams.close();
  fake.writes.faults.clear();
  fake.writes.streams.schemaLagRequests = 0;
});

async function newTable(primaryKey: readonly string[] = [], name = 't'): Promise<TableRef> {
  tables += 1;
  const ref = { projectId: 'test', datasetId: 'lake', tableId: `${name}${tables}` };
  const fields = readFields([
    { name: 'n', type: 'INT64' },
    { name: 'größe in cm', type: 'STRING' },
  ]);
  const settings =
    primaryKey.length === 0 ? {} : { tableConstraints: { primaryKey: { columns: primaryKey } } };
  await fake.store.createTable(ref, { fields, settings });
  return ref;
}

const columnName = '.google.cloud.bigquery.storage.v1.columnName';
const descriptor: RowDescriptor = {
  name: 'Row',
  field: [
    { name: 'n', number: 1, label: 1, type: fieldTypes.int64 },
    {
      name: 'column_2',
      number: 2,
      label: 1,
      type: fieldTypes.string,
      options: { [columnName]: 'größe in cm' },
    },
  ],
};
const withColumn: RowDescriptor = {
  name: 'Row',
  field: [...descriptor.field, { name: 'more', number: 3, label: 1, type: fieldTypes.int64 }],
};
const keyed: RowDescriptor = {
  name: 'Row',
  field: [
    ...descriptor.field,
    { name: '_CHANGE_TYPE', number: 4, label: 1, type: fieldTypes.string },
    { name: '_CHANGE_SEQUENCE_NUMBER', number: 5, label: 1, type: fieldTypes.string },
  ],
};

interface Cells {
  readonly n: number;
  readonly size?: string;
  readonly more?: number;
  readonly change?: readonly [type: string, sequence: string];
}

const writer = new ProtoWriter();
function row({ n, size, more, change }: Cells): Uint8Array {
  writer.integer(fieldTag(1, 'int64'), n);
  if (size !== undefined) writer.text(fieldTag(2, 'string'), size);
  if (more !== undefined) writer.integer(fieldTag(3, 'int64'), more);
  if (change !== undefined) {
    writer.text(fieldTag(4, 'string'), change[0]);
    writer.text(fieldTag(5, 'string'), change[1]);
  }
  return writer.finish();
}
const rowsOf = (from: number, to: number): readonly Uint8Array[] =>
  Array.from({ length: to - from }, (_, index) => row({ n: from + index, size: 'é'.repeat(6) }));

/** A table's rows in the order in which they were appended. */
async function stored({ tableId }: TableRef, columns = 'n'): Promise<readonly unknown[]> {
  const connection = await fake.store.connect();
  try {
    const read = await connection.runAndReadAll(
      `select ${columns} from "test.lake"."${tableId}" order by rowid`,
    );
    return read.getRows().map((cells) => (cells.length === 1 ? Number(cells[0]) : cells));
  } finally {
    connection.closeSync();
  }
}
const range = (end: number): readonly number[] => Array.from({ length: end }, (_, index) => index);
const failureOf = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => null,
    (error: unknown) => error,
  );

const faults: Readonly<Record<string, WriteFault>> = {
  'the answer is lost': { kind: 'cut', when: 'after' },
  'the connection breaks before': { kind: 'cut', when: 'before' },
  'the service is away': { kind: 'status', when: 'before', code: status.UNAVAILABLE },
  'the rows are taken and told as failed': {
    kind: 'status',
    when: 'after',
    code: status.INTERNAL,
  },
  'the call is aborted': { kind: 'status', when: 'before', code: status.ABORTED },
  'the token has expired': { kind: 'status', when: 'before', code: status.UNAUTHENTICATED },
  'the service is asked too much': {
    kind: 'status',
    when: 'before',
    code: status.RESOURCE_EXHAUSTED,
  },
  'the answer says that it is asked too much': {
    kind: 'refusal',
    code: status.RESOURCE_EXHAUSTED,
  },
  'the answer says that it is away': { kind: 'refusal', code: status.UNAVAILABLE },
};
const faultNames = Object.keys(faults);

/** Which appends they strike. A token that is refused twice in a row is no passing fault. */
const strikes = fc
  .array(fc.record({ name: fc.constantFrom(...faultNames), skip: fc.nat(6) }), { maxLength: 5 })
  .filter((all) => all.filter(({ name }) => name === 'the token has expired').length <= 1);

describe('a committed stream', () => {
  it('has every row once and in order, whatever goes wrong between', async () => {
    expect.hasAssertions();
    const sizes = fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(sizes, strikes, async (counts, struck) => {
        fake.writes.faults.clear();
        const ref = await newTable();
        const stream = await streams.create(ref.tableId);
        for (const { name, skip } of struck) {
          fake.writes.faults.add({ call: 'append', skip, fault: faults[name]! });
        }
        let at = 0;
        // Not awaited one by one: a stream keeps the order of the calls itself.
        const appends = counts.map((count) => {
          const offset = BigInt(at);
          at += count;
          return streams.append({ stream, offset, descriptor, rows: rowsOf(at - count, at) });
        });
        await Promise.all(appends);
        expect(await stored(ref)).toEqual(range(at));
        expect(await streams.finalize(stream)).toBe(BigInt(at));
      }),
      { numRuns: 40 },
    );
  });

  it.for(faultNames.filter((name) => faults[name]!.kind !== 'refusal'))(
    'is made and finalized although %s',
    async (name) => {
      const ref = await newTable();
      for (const call of ['create', 'finalize'] as const) {
        fake.writes.faults.add({ call, fault: faults[name]! });
      }
      const stream = await streams.create(ref.tableId);
      await streams.append({ stream, offset: 0n, descriptor, rows: rowsOf(0, 3) });
      expect(await streams.finalize(stream)).toBe(3n);
      expect(fake.writes.faults.left).toBe(0);
    },
  );

  it('takes rows that it has at that place as taken', async () => {
    const ref = await newTable();
    const stream = await streams.create(ref.tableId);
    const request = { stream, offset: 0n, descriptor, rows: rowsOf(0, 9) };
    await streams.append(request);
    await streams.append(request);
    expect(await stored(ref)).toEqual(range(9));
  });

  it('may be of a table whose name is not of ASCII', async () => {
    const ref = await newTable([], 'größen in cm');
    const stream = await streams.create(ref.tableId);
    await streams.append({ stream, offset: 0n, descriptor, rows: rowsOf(0, 9) });
    expect(await streams.finalize(stream)).toBe(9n);
    await streams.append({ stream: ref.tableId, offset: null, descriptor, rows: rowsOf(9, 10) });
    expect(await stored(ref)).toEqual(range(10));
  });

  it('is corrupt when it ends before the place of the rows, or inside them', async () => {
    const ref = await newTable();
    const stream = await streams.create(ref.tableId);
    await streams.append({ stream, offset: 0n, descriptor, rows: rowsOf(0, 1) });
    const gap = streams.append({ stream, offset: 5n, descriptor, rows: rowsOf(5, 6) });
    await expect(gap).rejects.toMatchObject({ kind: 'sink-corrupt' });
    const overlap = streams.append({ stream, offset: 0n, descriptor, rows: rowsOf(0, 2) });
    await expect(overlap).rejects.toMatchObject({ kind: 'sink-corrupt' });
    expect(await stored(ref)).toEqual(range(1));
  });

  it('fences its writer once another owner finalized it, the append under way included', async () => {
    const ref = await newTable();
    const stream = await streams.create(ref.tableId);
    await streams.append({ stream, offset: 0n, descriptor, rows: rowsOf(0, 4) });
    const { promise, resolve } = Promise.withResolvers<void>();
    fake.writes.faults.add({ call: 'append', fault: { kind: 'hold', until: promise } });
    const late = failureOf(streams.append({ stream, offset: 4n, descriptor, rows: rowsOf(4, 8) }));
    await expect.poll(() => fake.writes.faults.left).toBe(0);
    const owner = open();
    expect(await owner.finalize(stream)).toBe(4n);
    expect(await owner.finalize(stream)).toBe(4n);
    resolve();
    expect(await late).toMatchObject({ kind: 'sink-fenced' });
    expect(await stored(ref)).toEqual(range(4));
    await owner.close();
  });

  it('takes a new column by a new connection, however late the service knows it', async () => {
    const ref = await newTable();
    const stream = await streams.create(ref.tableId);
    await streams.append({ stream, offset: 0n, descriptor, rows: [row({ n: 0 })] });
    fake.writes.streams.schemaLagRequests = 4;
    await streams.append({ stream: ref.tableId, offset: null, descriptor, rows: [] });
    const wide = [{ name: 'more', type: 'INT64' }];
    const { fields } = fake.store.table(ref);
    await fake.store.setFields(ref, [...fields, ...wide]);
    const rows = [row({ n: 1, more: 7 })];
    await streams.append({ stream, offset: 1n, descriptor: withColumn, rows });
    expect(await stored(ref, 'n, more')).toEqual([
      [0n, null],
      [1n, 7n],
    ]);
  });

  it('is refused with a hint when a column never comes', async () => {
    const ref = await newTable();
    const impatient = openWriteStreams(
      { ...place, endpoint: fake.apiEndpoint, storageEndpoint: fake.storageEndpoint },
      { ...limits, visibleWithinMs: 50 },
    );
    const stream = await impatient.create(ref.tableId);
    const rows = [row({ n: 1, more: 7 })];
    const failure = await failureOf(
      impatient.append({ stream, offset: 0n, descriptor: withColumn, rows }),
    );
    expect(failure).toMatchObject({ kind: 'sink-refused' });
    expect((failure as PipelineError).hint).toContain('after some minutes');
    await impatient.close();
  });
});

describe('a connection', () => {
  it('that the service closed while nothing was sent is made anew', async () => {
    const ref = await newTable();
    const stream = await streams.create(ref.tableId);
    for (const n of range(3)) {
      await streams.append({ stream, offset: BigInt(n), descriptor, rows: rowsOf(n, n + 1) });
      fake.writes.cut();
    }
    expect(await stored(ref)).toEqual(range(3));
  });

  it('carries more than one request may have, in as many as it takes', async () => {
    const ref = await newTable();
    const usual = openWriteStreams({
      ...place,
      endpoint: fake.apiEndpoint,
      storageEndpoint: fake.storageEndpoint,
    });
    const stream = await usual.create(ref.tableId);
    const rows = range(400).map((n) => row({ n, size: 'x'.repeat(100_000) }));
    // The first requests of 9 MB each pass; the fifth is the last.
    const lost = faults['the answer is lost']!;
    fake.writes.faults.add({ call: 'append', skip: 4, fault: lost });
    await usual.append({ stream, offset: 0n, descriptor, rows });
    expect(fake.writes.faults.left).toBe(0);
    expect(await stored(ref)).toEqual(range(400));
    await usual.close();
  });

  it('is not left open: a process that closed its streams ends by itself', async () => {
    const ref = await newTable();
    const options = {
      ...place,
      endpoint: fake.apiEndpoint,
      storageEndpoint: fake.storageEndpoint,
    };
    const program = `
      import { openWriteStreams } from './sinks/bigquery/write-streams.ts';
      const streams = openWriteStreams(${JSON.stringify(options)});
      const stream = await streams.create('${ref.tableId}');
      const row = Buffer.from([8, 5]);
      const descriptor = ${JSON.stringify(descriptor)};
      await streams.append({ stream, offset: 0n, descriptor, rows: [row] });
      await streams.append({ stream: '${ref.tableId}', offset: null, descriptor, rows: [row] });
      await streams.close();`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    const killer = setTimeout(() => child.kill('SIGKILL'), 60_000);
    const [code] = (await once(child, 'exit')) as [number | null];
    clearTimeout(killer);
    expect(code).toBe(0);
    expect(await stored(ref)).toEqual([5, 5]);
  });

  it('takes nothing after its streams were closed, the append under way included', async () => {
    const ref = await newTable();
    const stream = await streams.create(ref.tableId);
    const { promise, resolve } = Promise.withResolvers<void>();
    fake.writes.faults.add({ call: 'append', fault: { kind: 'hold', until: promise } });
    const request = { stream, offset: 0n, descriptor, rows: rowsOf(0, 1) };
    const late = failureOf(streams.append(request));
    await expect.poll(() => fake.writes.faults.left).toBe(0);
    await streams.close();
    expect(await late).toMatchObject({ kind: 'sink-failed' });
    resolve();
    await expect(streams.append(request)).rejects.toMatchObject({ kind: 'sink-failed' });
    await expect(streams.create(ref.tableId)).rejects.toMatchObject({ kind: 'sink-failed' });
  });
});

describe('a row that is refused', () => {
  it('is named by its place in the append, and never by its value', async () => {
    const ref = await newTable();
    await fake.store.setFields(ref, [
      ...fake.store.table(ref).fields,
      { name: 'more', type: 'DATE' },
    ]);
    const stream = await streams.create(ref.tableId);
    const dates: RowDescriptor = {
      name: 'Row',
      field: [...descriptor.field, { name: 'more', number: 3, label: 1, type: fieldTypes.int64 }],
    };
    const rows = range(12).map((n) =>
      row({ n, size: 'x'.repeat(8), more: n === 7 ? 9_999_999 : n }),
    );
    const failure = await failureOf(
      streams.append({ stream, offset: 0n, descriptor: dates, rows }),
    );
    expect(failure).toMatchObject({ kind: 'sink-refused' });
    expect(refusedRowOf(failure)).toBe(7);
    expect((failure as Error).message).toContain('row 7 of an append in test.lake, column more');
    expect((failure as Error).message).not.toContain('9999999');
    const { taken } = (failure as PipelineError).context as { taken: number };
    expect(await stored(ref)).toEqual(range(taken));
    // What follows without it is taken.
    const good = [...rows.slice(taken, 7), ...rows.slice(8)];
    await streams.append({ stream, offset: BigInt(taken), descriptor: dates, rows: good });
    expect(await stored(ref)).toEqual(range(12).filter((n) => n !== 7));
  });

  it('is refused here when no request can hold it', async () => {
    const ref = await newTable();
    const rows = [row({ n: 0 }), row({ n: 1, size: 'x'.repeat(200) })];
    const failure = await failureOf(
      streams.append({ stream: ref.tableId, offset: null, descriptor, rows }),
    );
    expect(refusedRowOf(failure)).toBe(1);
    expect(await stored(ref)).toEqual([]);
  });
});

describe('a default stream', () => {
  it('has every row at least once, whatever goes wrong', async () => {
    expect.hasAssertions();
    await fc.assert(
      fc.asyncProperty(strikes, async (struck) => {
        fake.writes.faults.clear();
        const ref = await newTable();
        for (const { name, skip } of struck) {
          fake.writes.faults.add({ call: 'append', skip, fault: faults[name]! });
        }
        const stream = streams.defaultStream(ref.tableId);
        await streams.append({ stream, offset: null, descriptor, rows: rowsOf(0, 20) });
        const rows = new Set(await stored(ref));
        expect([...rows].map(Number).toSorted((a, b) => a - b)).toEqual(range(20));
      }),
      { numRuns: 15 },
    );
  });

  it('holds the newest row of each key when an append of changes is repeated and disordered', async () => {
    const ref = await newTable(['n']);
    const changes = [
      row({ n: 1, size: 'old', change: ['UPSERT', '01/0A'] }),
      row({ n: 2, size: 'gone', change: ['UPSERT', '01/0B'] }),
      row({ n: 1, size: 'new', change: ['UPSERT', '01/0C'] }),
      row({ n: 2, change: ['DELETE', '01/0D'] }),
    ];
    fake.writes.faults.add({ call: 'append', fault: faults['the answer is lost']! });
    const stream = ref.tableId;
    await streams.append({ stream, offset: null, descriptor: keyed, rows: changes });
    await streams.append({ stream, offset: null, descriptor: keyed, rows: changes.toReversed() });
    expect(await stored(ref, 'n, "größe in cm"')).toEqual([[1n, 'new']]);
  });
});

describe('errors', () => {
  it('name what is not there', async () => {
    const failure = await failureOf(streams.create('missing'));
    expect(reasonOf(failure)).toBe('notFound');
    const ref = await newTable();
    const stream = await streams.create(ref.tableId);
    await fake.store.dropTable(ref);
    expect(reasonOf(await failureOf(streams.finalize(stream)))).toBe('notFound');
  });

  it.for([
    ['PERMISSION_DENIED', 'sink-denied'],
    ['UNAUTHENTICATED', 'sink-denied'],
    ['RESOURCE_EXHAUSTED', 'sink-failed'],
    ['UNAVAILABLE', 'sink-failed'],
    ['INVALID_ARGUMENT', 'sink-refused'],
  ] as const)('that stay: %s is %s', async ([code, kind]) => {
    const ref = await newTable();
    const fault = { kind: 'status', when: 'before', code: status[code] } as const;
    fake.writes.faults.add({ call: 'append', times: 100, fault });
    const append = streams.append({
      stream: ref.tableId,
      offset: null,
      descriptor,
      rows: rowsOf(0, 1),
    });
    await expect(append).rejects.toMatchObject({ kind });
    fake.writes.faults.clear();
    // Nothing of it stays behind.
    await streams.append({ stream: ref.tableId, offset: null, descriptor, rows: rowsOf(0, 1) });
    expect(await stored(ref)).toEqual([0]);
  });

  it('of an address where nobody listens say so', async () => {
    const lost = openWriteStreams(
      { ...place, endpoint: fake.apiEndpoint, storageEndpoint: '127.0.0.1:1' },
      { ...limits, attemptsMax: 2 },
    );
    expect(reasonOf(await failureOf(lost.create('t')))).toBe('unreachable');
    await lost.close();
  });

  it('of an endpoint without an address for rows, and of a missing key, come before anything is sent', async () => {
    const half = openWriteStreams({ ...place, endpoint: fake.apiEndpoint }, limits);
    await expect(half.create('t')).rejects.toMatchObject({ kind: 'config-invalid' });
    await half.close();
    const keyless = openWriteStreams({ ...place, credentialsFile: '/nowhere/key.json' }, limits);
    await expect(keyless.create('t')).rejects.toThrow('ENOENT');
    await keyless.close();
  });

  it('of an answer that does not come are found by the clock', async () => {
    const ref = await newTable();
    const hurried = openWriteStreams(
      { ...place, endpoint: fake.apiEndpoint, storageEndpoint: fake.storageEndpoint },
      { ...limits, ackTimeoutMs: 50 },
    );
    const stream = await hurried.create(ref.tableId);
    const { promise, resolve } = Promise.withResolvers<void>();
    fake.writes.faults.add({ call: 'append', fault: { kind: 'hold', until: promise } });
    await hurried.append({ stream, offset: 0n, descriptor, rows: rowsOf(0, 5) });
    resolve();
    expect(await hurried.finalize(stream)).toBe(5n);
    expect(await stored(ref)).toEqual(range(5));
    await hurried.close();
  });
});
