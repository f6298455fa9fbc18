import { once } from 'node:events';
import { BigQuery } from '@google-cloud/bigquery';
import { BigQueryWriteClient, type protos } from '@google-cloud/bigquery-storage';
import { credentials, status } from '@grpc/grpc-js';
import { PassThroughClient } from 'google-auth-library';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { fieldTag, fieldTypes, ProtoWriter } from '../../../../sinks/bigquery/proto-writer.ts';
import { storageCode } from '../../../../sinks/bigquery/storage-errors.ts';
import { FakeBigQuery } from '../fake-bigquery.ts';

type Request = protos.google.cloud.bigquery.storage.v1.IAppendRowsRequest;
type Answer = protos.google.cloud.bigquery.storage.v1.IAppendRowsResponse;

let fake: FakeBigQuery;
let client: BigQueryWriteClient;
let rest: BigQuery;
let table = '';
let tables = 0;
let now = Date.UTC(2026, 0, 1);

beforeAll(async () => {
  fake = await FakeBigQuery.start({ now: () => now });
  await fake.store.createDataset({ projectId: 'p', datasetId: 'd' });
  const [apiEndpoint, port] = fake.storageEndpoint.split(':');
  const authClient = new PassThroughClient();
  client = new BigQueryWriteClient({
    apiEndpoint,
    port: Number(port),
    sslCreds: credentials.createInsecure(),
    authClient,
  } as unknown as ConstructorParameters<typeof BigQueryWriteClient>[0]);
  rest = new BigQuery({ projectId: 'p', apiEndpoint: fake.apiEndpoint, authClient } as object);
});
afterAll(async () => {
  await client.close();
  await fake[Symbol.asyncDispose]();
});
beforeEach(async () => {
  tables += 1;
  table = `t${tables}`;
  await sql(`create table d.${table} (id INT64, day DATE, primary key (id) not enforced)`);
});

async function sql(query: string): Promise<readonly unknown[]> {
  const [job] = await rest.createQueryJob({ query });
  const [rows] = await job.getQueryResults();
  return rows as readonly unknown[];
}
const path = (): string => `projects/p/datasets/d/tables/${table}`;
const defaultStream = (): string => `${path()}/streams/_default`;

async function newStream(): Promise<string> {
  const [stream] = await client.createWriteStream({
    parent: path(),
    writeStream: { type: 'COMMITTED' },
  });
  return stream.name ?? '';
}

const plain = {
  name: 'Row',
  field: [
    { name: 'id', number: 1, label: 1, type: fieldTypes.int64 },
    { name: 'day', number: 2, label: 1, type: fieldTypes.int32 },
  ],
};
const keyed = {
  name: 'Row',
  field: [
    ...plain.field,
    { name: '_CHANGE_TYPE', number: 3, label: 1, type: fieldTypes.string },
    { name: '_CHANGE_SEQUENCE_NUMBER', number: 4, label: 1, type: fieldTypes.string },
  ],
};

const writer = new ProtoWriter();
function row(id: number, at?: number, change: readonly string[] = []): Uint8Array {
  writer.integer(fieldTag(1, 'int64'), id);
  if (at !== undefined) writer.integer(fieldTag(2, 'int32'), at);
  for (const [index, text] of change.entries()) writer.text(fieldTag(3 + index, 'string'), text);
  return writer.finish();
}

interface Sent {
  readonly stream?: string;
  readonly schema?: object;
  readonly offset?: number;
  readonly rows: readonly Uint8Array[];
}
const requestOf = ({ stream, schema, offset, rows }: Sent): Request => ({
  ...(stream === undefined ? {} : { writeStream: stream }),
  ...(offset === undefined ? {} : { offset: { value: offset } }),
  protoRows: {
    ...(schema === undefined ? {} : { writerSchema: { protoDescriptor: schema } }),
    rows: { serializedRows: [...rows] },
  },
});

/** The answers to requests that go over one connection. */
async function append(...sent: readonly Sent[]): Promise<readonly Answer[]> {
  const call = client.appendRows();
  const answers: Answer[] = [];
  call.on('data', (answer: Answer) => answers.push(answer));
  for (const one of sent) call.write(requestOf(one));
  call.end();
  await once(call, 'end');
  return answers;
}

/** An answer in short: its place, or codes of its refusal. */
const short = ({ appendResult, error }: Answer): unknown =>
  error === null || error === undefined
    ? Number(appendResult?.offset?.value ?? -1)
    : [status[error.code ?? 0], storageCode(error.details)];
const ids = async (): Promise<readonly unknown[]> =>
  (await sql(`select id from d.${table} order by id`)).map((one) => (one as { id: number }).id);

describe('a committed stream', () => {
  it('takes rows at its end, and says so of all other places', async () => {
    const stream = await newStream();
    const first = { stream, schema: plain, offset: 0, rows: [row(1), row(2)] };
    const answers = await append(
      first,
      { offset: 2, rows: [row(3)] },
      { offset: 0, rows: [row(4)] },
      { offset: 9, rows: [row(5)] },
      { rows: [row(6)] },
    );
    expect(answers.map(short)).toEqual([
      0,
      2,
      ['ALREADY_EXISTS', 'OFFSET_ALREADY_EXISTS'],
      ['OUT_OF_RANGE', 'OFFSET_OUT_OF_RANGE'],
      3,
    ]);
    expect(answers[2]?.error?.message).toContain('expected offset 3, received 0');
    expect(await ids()).toEqual([1, 2, 3, 6]);
  });

  it('takes nothing once it is finalized, which tells its rows each time', async () => {
    const stream = await newStream();
    await append({ stream, schema: plain, offset: 0, rows: [row(1)] });
    for (const _ of [1, 2]) {
      const [{ rowCount }] = await client.finalizeWriteStream({ name: stream });
      expect(Number(rowCount)).toBe(1);
    }
    const [answer] = await append({ stream, schema: plain, offset: 1, rows: [row(2)] });
    expect(short(answer!)).toEqual(['INVALID_ARGUMENT', 'STREAM_FINALIZED']);
    expect(await ids()).toEqual([1]);
  });

  it.for([
    ['finalized', ['INVALID_ARGUMENT', 'STREAM_FINALIZED']],
    ['forgotten', ['NOT_FOUND', undefined]],
  ] as const)('may be %s for being idle, unless it is new', async ([how, refusal]) => {
    const stream = await newStream();
    for (const _ of [1, 2])
      fake.writes.faults.add({ call: 'append', fault: { kind: 'expire', how } });
    const sent = { stream, schema: plain, rows: [row(1)] };
    const answers = await append({ ...sent, offset: 0 }, { ...sent, offset: 1 });
    expect(answers.map(short)).toEqual([0, refusal]);
    expect(await ids()).toEqual([1]);
  });

  it('goes with its table', async () => {
    const stream = await newStream();
    expect((await client.getWriteStream({ name: stream }))[0].name).toBe(stream);
    await sql(`drop table d.${table}`);
    now += 1;
    await sql(`create table d.${table} (id INT64)`);
    await expect(client.finalizeWriteStream({ name: stream })).rejects.toMatchObject({
      code: status.NOT_FOUND,
    });
  });
});

describe('an append', () => {
  it.for([
    ['without a schema', () => ({ stream: defaultStream(), rows: [row(1)] })],
    ['without a stream', () => ({ schema: plain, rows: [row(1)] })],
    [
      'with a place on the default stream',
      () => ({ stream: defaultStream(), schema: plain, offset: 0, rows: [row(1)] }),
    ],
    [
      'of more than 10 MB',
      () => ({
        stream: defaultStream(),
        schema: plain,
        rows: [new Uint8Array(10 * 1024 * 1024 + 1)],
      }),
    ],
    [
      'with a field of another type',
      () => ({
        stream: defaultStream(),
        schema: { field: [{ name: 'id', number: 1, label: 1, type: fieldTypes.string }] },
        rows: [row(1)],
      }),
    ],
  ] as const)('%s is refused', async ([, sent]) => {
    const [answer] = await append(sent());
    expect(short(answer!)).toEqual(['INVALID_ARGUMENT', undefined]);
    expect(await ids()).toEqual([]);
  });

  it('is refused whole when one row is bad, and names that row', async () => {
    const rows = [row(1), row(2, 9_999_999), row(3)];
    const [answer] = await append({ stream: defaultStream(), schema: plain, rows });
    expect(short(answer!)).toEqual(['INVALID_ARGUMENT', undefined]);
    expect(answer?.rowErrors?.map(({ index }) => Number(index))).toEqual([1]);
    expect(await ids()).toEqual([]);
  });

  it('with a new column is refused until the streams of the table know it, which an answer tells', async () => {
    fake.writes.streams.schemaLagRequests = 2;
    await append({ stream: defaultStream(), schema: plain, rows: [row(1)] });
    await sql(`alter table d.${table} add column more INT64`);
    const schema = {
      field: [plain.field[0], { name: 'more', number: 5, label: 1, type: fieldTypes.int64 }],
    };
    const sent = { stream: defaultStream(), schema, rows: [row(2)] };
    const answers = await append(sent, sent, sent, sent);
    fake.writes.streams.schemaLagRequests = 0;
    const missing = ['INVALID_ARGUMENT', 'SCHEMA_MISMATCH_EXTRA_FIELDS'];
    expect(answers.map(short)).toEqual([missing, missing, -1, -1]);
    expect(answers.map(({ updatedSchema }) => updatedSchema?.fields?.length)).toEqual([
      undefined,
      undefined,
      3,
      undefined,
    ]);
  });

  it('of another kind of stream, and of no table, has no stream', async () => {
    const pending = client.createWriteStream({ parent: path(), writeStream: { type: 'PENDING' } });
    await expect(pending).rejects.toMatchObject({ code: status.UNIMPLEMENTED });
    await expect(
      client.batchCommitWriteStreams({ parent: path(), writeStreams: [] }),
    ).rejects.toMatchObject({ code: status.UNIMPLEMENTED });
    const [answer] = await append({
      stream: 'projects/p/datasets/d/tables/none/streams/_default',
      schema: plain,
      rows: [row(1)],
    });
    expect(short(answer!)).toEqual(['NOT_FOUND', undefined]);
  });
});

describe('streamed rows', () => {
  it('can be read and inserted beside, but not mutated in a transaction for half an hour', async () => {
    await append({ stream: defaultStream(), schema: plain, rows: [row(1)] });
    const begin = `begin transaction; insert into d.${table} (id) select id + 1 from d.${table};`;
    await sql(`${begin} commit transaction`);
    for (const change of [
      `update d.${table} set id = 9 where true`,
      `delete from d.${table} where true`,
      `merge d.${table} t using (select 1 as id) s on t.id = s.id when matched then delete`,
    ]) {
      await expect(sql(`begin transaction; ${change}; commit transaction`)).rejects.toThrow(
        'streaming buffer',
      );
    }
    await sql(`update d.${table} set id = 3 where id = 2`);
    expect(await ids()).toEqual([1, 3]);
    now += 31 * 60 * 1000;
    await sql(`begin transaction; delete from d.${table} where id = 1; commit transaction`);
    expect(await ids()).toEqual([3]);
  });
});

describe('changes by key', () => {
  const change = (...rows: readonly Uint8Array[]) =>
    append({ stream: defaultStream(), schema: keyed, rows });

  it('are applied by their sequence numbers, and deleted keys are remembered', async () => {
    await change(row(1, 10, ['UPSERT', '0A']), row(1, 20, ['UPSERT', '9']));
    await change(row(2, 1, ['UPSERT', '1/2']), row(2, undefined, ['DELETE', '1/10']));
    await change(row(2, 2, ['UPSERT', '1/3']));
    expect(await sql(`select id, cast(day as string) as day from d.${table}`)).toEqual([
      { id: 1, day: '1970-01-11' },
    ]);
  });

  it.for([
    ['without a sequence number once there was one', ['UPSERT']],
    ['of another kind', ['INSERT', '0C']],
    ['with a sequence number of another form', ['UPSERT', '0G']],
  ] as const)('%s are refused', async ([, said]) => {
    await change(row(1, 10, ['UPSERT', '0A']));
    const [answer] = await change(row(1, 30, [...said]));
    expect(short(answer!)).toEqual(['INVALID_ARGUMENT', undefined]);
  });

  it('need a key, a default stream and a connection of their own', async () => {
    const refused = ['INVALID_ARGUMENT', undefined];
    const sent = { schema: keyed, rows: [row(1, 1, ['UPSERT', '0A'])] };
    const stream = await newStream();
    expect((await append({ ...sent, stream })).map(short)).toEqual([refused]);
    const mixed = [
      { stream: defaultStream(), schema: plain, rows: [row(1)] },
      { ...sent, stream: defaultStream() },
    ];
    expect((await append(...mixed)).map(short)).toEqual([-1, refused]);
    await sql(`create table d.keyless${table} (id INT64, day DATE)`);
    const keyless = `projects/p/datasets/d/tables/keyless${table}/streams/_default`;
    expect((await append({ ...sent, stream: keyless })).map(short)).toEqual([refused]);
  });

  it('bar statements that mutate their table', async () => {
    await change(row(1, 10, ['UPSERT', '0A']));
    await expect(sql(`update d.${table} set id = 2 where true`)).rejects.toThrow('changes by key');
    await expect(sql(`delete from d.${table} where true`)).rejects.toThrow('changes by key');
    expect(await ids()).toEqual([1]);
  });
});
