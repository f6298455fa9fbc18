import { rm } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildModels, requireGood } from '../../models/build-models.ts';
import { duckdbLake } from '../../models/duckdb-lake.ts';
import type { Mapping, MappedTable } from '../../models/mapping.ts';
import { ExactText, type RowImage } from '../../schemas/change.ts';
import type { LogicalType, TableVersion } from '../../schemas/table-schema.ts';
import { createDuckdbSink } from '../../sinks/duckdb/duckdb-sink.ts';
import { BatchMaker, type TableSpec, versionOf } from '../support/batch-maker.ts';
import { lakeFolder } from '../support/duckdb-process.ts';
import { readLakeRows } from './lake-history.ts';
import { sampleMapping } from './sample.ts';

const projectRoot = path.resolve(import.meta.dirname, '../..');
const int8: LogicalType = { kind: 'int8' };
const text: LogicalType = { kind: 'text' };
const uuid: LogicalType = { kind: 'uuid' };
const moment: LogicalType = { kind: 'timestamptz', precision: 6 };
const money: LogicalType = { kind: 'numeric', precision: 20, scale: 8 };
const long = 'a long text '.repeat(300);
const at = 1_700_000_000_000_000n;
const person = (n: number) => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`;

const entity = (given: Partial<MappedTable>): MappedTable => ({
  ...sampleMapping.tables['public.campaigns']!,
  master: null,
  ...given,
});
const mapping: Mapping = {
  version: 1,
  master: sampleMapping.master,
  tables: {
    'public.master': sampleMapping.tables['public.master']!,
    'public.people': entity({
      service: 'user',
      entity: 'person',
      master: { id: 'master_id', uuid: null },
    }),
    'public.orders': entity({
      service: 'commerce',
      entity: 'order',
      master: { id: 'master_id', uuid: null },
      amount: 'total',
      denied: ['secret'],
      references: [
        {
          column: 'buyer',
          table: 'public.people',
          targetColumn: 'id',
          typeColumn: null,
          declared: true,
        },
      ],
    }),
    'public.events': {
      ...sampleMapping.tables['public.audits']!,
      service: 'nexus',
      entity: 'event',
      actor: { column: 'user_id', table: 'public.people', targetColumn: 'id' },
      amount: 'amount',
      event: {
        ...sampleMapping.tables['public.audits']!.event!,
        at: { column: 'occurred_at', as: 'epoch_seconds' },
        entityId: 'thing',
        previousHash: null,
        entryHash: null,
      },
    },
  },
};

/** What the sink itself makes of tables that change their shape, with few rows read again. */
async function writeLake(file: string): Promise<void> {
  const sink = createDuckdbSink({ path: file });
  try {
    const maker = new BatchMaker();
    let checkpoint = await sink.open();
    const begin = async (spec: TableSpec) => {
      const version = versionOf(spec, maker.next);
      await sink.evolve(version);
      return version;
    };
    const commit = async () => {
      checkpoint = await maker.apply(sink, checkpoint);
    };
    const add = (version: TableVersion, op: 'c' | 'r' | 'u', ...rows: readonly RowImage[]) => {
      for (const after of rows) maker.add(version, { op, after });
    };
    const [oid, key] = [{ master: 1, people: 2, orders: 3, events: 4 }, ['id']];
    const columns = { id: int8, uuid, type: text, name: text, created_at: moment };
    const masters = await begin({ name: 'master', oid: oid.master, key, columns });
    const people = { name: 'people', oid: oid.people, key };
    const byUuid = await begin({ ...people, id: 10, columns: { id: uuid, master_id: text } });
    const orders = { name: 'orders', oid: oid.orders, key };
    const order = { id: int8, master_id: text, buyer: uuid, total: money, secret: text };
    const early = await begin({ ...orders, id: 20, columns: { ...order, body: text } });
    const events = { name: 'events', oid: oid.events, key };
    const event = { id: int8, master_id: text, user_id: uuid, event_type: text };
    const logged = await begin({
      ...events,
      id: 30,
      columns: { ...event, amount: money, thing: int8, occurred_at: moment },
    });
    add(
      masters,
      'c',
      [1n, person(1), 'user', 'one', at],
      [2n, person(2), 'user', 'two', at],
      [3n, person(3), 'user', 'three', at],
    );
    add(byUuid, 'c', [person(101), '1'], [person(102), '2']);
    add(
      early,
      'c',
      [1n, '1', person(101), 150_000_000n, 's', long],
      [2n, '2', person(102), new ExactText('NaN'), 's', long],
      [3n, '3', person(102), 1n, 's', long],
    );
    add(
      logged,
      'c',
      [1n, '1', person(102), 'a.b', 250_000_000n, 5n, at],
      [2n, '2', person(101), 'a.b', new ExactText('NaN'), 6n, at + 1_000_000n],
      [3n, '3', null, 'a.b', null, 7n, new ExactText('infinity')],
    );
    await commit();
    const byNumber = await begin({ ...people, id: 11, columns: { id: int8, master_id: text } });
    const later = await begin({
      ...orders,
      id: 21,
      columns: {
        ...order,
        master_id: int8,
        buyer: int8,
        secret: int8,
        body: text,
        channel: { type: text, pgType: 'text', nullable: true, missingValue: 'web' },
      },
    });
    const numbered = await begin({
      ...events,
      id: 31,
      columns: {
        ...event,
        master_id: int8,
        user_id: int8,
        amount: money,
        thing: text,
        occurred_at: int8,
      },
    });
    add(byNumber, 'r', [11n, '1'], [12n, '2']);
    add(later, 'u', [1n, 1n, 11n, 250_000_000n, 7n, null, 'web']);
    await commit();
    maker.add(later, {
      op: 'u',
      after: [2n, 2n, 12n, new ExactText('NaN'), 7n, null, 'web'],
      unchanged: [5],
    });
    add(numbered, 'c', [4n, 2n, 11n, 'a.b', null, 'x', 1_700_000_002n]);
    maker.add(numbered, { op: 'd', before: [2n, null, null, null, null, null, null] });
    maker.add(later, { op: 'd', before: [3n, null, null, null, null, null, null] });
    await commit();
  } finally {
    await sink.close();
  }
}

describe('models of tables that changed their shape', () => {
  let folder: string;
  let file: string;
  const rows = (sql: string) => readLakeRows(file, sql);

  beforeAll(async () => {
    const lake = await lakeFolder();
    [folder, file] = [path.dirname(lake.path), lake.path];
    await writeLake(file);
    const workDir = path.join(folder, 'work');
    requireGood(await buildModels({ projectRoot, lake: duckdbLake(file), mapping, workDir }));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  test('a retyped column keeps the values of both its types', async () => {
    const events = await rows(/* sql */ `
      select event_id, subject_master_key as subject, actor_master_key as actor, entity_id,
        strftime(occurred_at, '%H:%M:%S') as occurred_at, is_deleted_at_source as gone
      from analytics.fct_events order by event_id`);
    const of = (values: readonly (string | null)[]) => {
      const [event_id, subject, actor, entity_id, occurred_at, gone] = values;
      return { event_id, subject, actor, entity_id, occurred_at, gone };
    };
    expect(events).toEqual(
      [
        ['1', '1', '2', '5', '22:13:20', 'false'],
        ['2', '2', '1', '6', '22:13:21', 'true'],
        ['3', '3', null, '7', null, 'false'],
        ['4', '2', '1', 'x', '22:13:22', 'false'],
      ].map(of),
    );
  });

  test('what no number holds is null as an amount and stands in the image of the row', async () => {
    const amounts = await rows('select event_id, amount from analytics.fct_events order by 1');
    expect(amounts.map(({ amount }) => amount)).toEqual(['2.500000000', null, null, null]);
    const totals = await rows(/* sql */ `
      select row_key, op, json_extract_string(coalesce(after_image, before_image), '$.total') as total
      from analytics.fct_entity_changes where source_table = 'public.orders' order by change_id`);
    expect(totals.map(({ row_key: key, op, total }) => [key, op, total])).toEqual([
      ['1', 'c', '1.50000000'],
      ['2', 'c', 'NaN'],
      ['3', 'c', '0.00000001'],
      ['1', 'u', '2.50000000'],
      ['2', 'u', 'NaN'],
      ['3', 'd', '0.00000001'],
    ]);
  });

  test('an update changed what the source changed: neither a constant that came with a column nor a body left out', async () => {
    const updates = await rows(/* sql */ `
      select row_key, changed_columns from analytics.fct_entity_changes
      where source_table = 'public.orders' and op = 'u' order by change_id`);
    expect(updates).toEqual([
      { row_key: '1', changed_columns: 'buyer,total,body' },
      { row_key: '2', changed_columns: 'buyer' },
    ]);
    const current = await rows(/* sql */ `
      select id, buyer, channel, body = '${long}' as is_whole, _is_deleted as gone
      from analytics_staging.stg_commerce__order order by id`);
    expect(current).toEqual([
      { id: '1', buyer: '11', channel: 'web', is_whole: null, gone: 'false' },
      { id: '2', buyer: '12', channel: 'web', is_whole: 'true', gone: 'false' },
      { id: '3', buyer: person(102), channel: 'web', is_whole: 'true', gone: 'true' },
    ]);
  });

  test('rows under an earlier key ended when the key changed', async () => {
    const people = await rows(/* sql */ `
      select _row_key as id, master_id, _is_deleted as gone from analytics_staging.stg_user__person order by id`);
    expect(people).toEqual([
      { id: person(101), master_id: '1', gone: 'true' },
      { id: person(102), master_id: '2', gone: 'true' },
      { id: '11', master_id: '1', gone: 'false' },
      { id: '12', master_id: '2', gone: 'false' },
    ]);
    const edges = await rows(/* sql */ `
      select to_node_id, valid_to is not null as is_ended from analytics.fct_lineage_edges
      where edge_type = 'references' order by first_change_id`);
    expect(edges).toEqual([
      { to_node_id: `row:public.people|${person(101)}`, is_ended: 'true' },
      { to_node_id: `row:public.people|${person(102)}`, is_ended: 'true' },
      { to_node_id: `row:public.people|${person(102)}`, is_ended: 'true' },
      { to_node_id: 'row:public.people|11', is_ended: 'false' },
      { to_node_id: 'row:public.people|12', is_ended: 'false' },
    ]);
  });

  test('a denied column is nowhere, whatever type it has by now', async () => {
    const denied = await rows(/* sql */ `select column_name from information_schema.columns
      where column_name like '%secret%' and table_schema like 'analytics%'`);
    expect(denied).toEqual([]);
    const images = await rows(/* sql */ `select 1 from analytics.fct_entity_changes
      where after_image like '%secret%' or before_image like '%secret%'`);
    expect(images).toEqual([]);
  });
});
