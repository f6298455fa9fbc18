import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { buildModels, requireGood } from '../../models/build-models.ts';
import { duckdbLake } from '../../models/duckdb-lake.ts';
import type { MappedTable, Mapping } from '../../models/mapping.ts';
import { openLake } from '../../sinks/duckdb/client.ts';
import { History, type HistoryTable, readLakeRows, writeLake } from './lake-history.ts';
import { sampleMapping } from './sample.ts';

const projectRoot = path.resolve(import.meta.dirname, '../..');
const plain: MappedTable = {
  ...sampleMapping.tables['public.campaigns']!,
  master: null,
  references: [],
};
const at = (hour: number) => new Date(Date.UTC(2026, 2, 5, hour));
/** Alone on two cores; a shared machine takes its time. */
const secondsMax = 300;

describe('models of databases that no one here wrote', () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(path.join(os.tmpdir(), 'tributary-models-'));
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  const lakeFile = () => path.join(dir, 'lake.duckdb');
  const write = (tables: readonly HistoryTable[], { changes }: History) =>
    writeLake(lakeFile(), { tables, changes, watermarkAt: at(72) });
  const build = async (mapping: Mapping) => {
    const lakePath = lakeFile();
    const report = await buildModels({
      projectRoot,
      lake: duckdbLake(lakePath),
      mapping,
      workDir: path.join(dir, 'work'),
    });
    requireGood(report);
    return { report, rows: (sql: string) => readLakeRows(lakePath, sql) };
  };

  /** Rows in the largest row group of table `batches`, after the sink's process ran statements. */
  const largestRowGroup = async (sql: string) => {
    const lake = await openLake(lakeFile());
    await lake.run(sql);
    const [largest] = await lake.rows(
      /* sql */ `select max(count)::integer as rows from pragma_storage_info('batches')`,
    );
    await lake.close();
    return largest;
  };

  test('a database without masters and with a keyless history builds', async () => {
    const tables: readonly HistoryTable[] = [
      {
        name: 'pgbench_accounts',
        key: ['aid'],
        columns: { aid: 'integer', bid: 'integer', abalance: 'integer', filler: 'varchar' },
      },
      {
        name: 'pgbench_history',
        key: [],
        columns: { tid: 'integer', aid: 'integer', delta: 'integer', mtime: 'timestamp' },
      },
    ];
    const mapping: Mapping = {
      version: 1,
      master: null,
      tables: {
        'public.pgbench_accounts': {
          ...plain,
          service: 'pgbench',
          entity: 'account',
          key: ['aid'],
        },
        'public.pgbench_history': {
          ...plain,
          kind: 'event',
          service: 'pgbench',
          entity: 'history',
          key: [],
          amount: 'delta',
          event: {
            ...sampleMapping.tables['public.audits']!.event!,
            type: null,
            previousHash: null,
            entryHash: null,
            at: { column: 'mtime', as: 'timestamp' },
          },
          references: [
            {
              column: 'aid',
              table: 'public.pgbench_accounts',
              targetColumn: 'aid',
              typeColumn: null,
              declared: false,
            },
          ],
        },
        'public.pgbench_tellers': { ...plain, service: 'pgbench', entity: 'teller' },
      },
    };
    const history = new History();
    history.snapshot(at(1), [
      ['pgbench_accounts', { aid: '1', bid: '1', abalance: '0', filler: '' }],
    ]);
    for (const delta of ['5', '5']) {
      history.commit(at(2), (t) => {
        t.update('pgbench_accounts', { aid: '1', bid: '1', abalance: delta, filler: '' });
        t.insert('pgbench_history', { tid: '1', aid: '1', delta, mtime: '2026-03-05 02:00:00' });
      });
    }
    await write(tables, history);
    const { report, rows } = await build(mapping);
    expect(report.missingTables).toEqual(['public.pgbench_tellers']);
    expect(
      await rows(/* sql */ `select count(*) as n, sum(amount) as total from analytics.fct_events`),
    ).toMatchObject([{ n: '2' }]);
    const edges = await rows(
      /* sql */ `select edge_type, count(*) as n from analytics.fct_lineage_edges group by 1 order by 1`,
    );
    expect(edges).toEqual([
      { edge_type: 'same_tx', n: '2' },
      { edge_type: 'soft_ref', n: '2' },
    ]);
  });

  test('a table without a column, and one of whose columns none may be shown, build', async () => {
    const tables: readonly HistoryTable[] = [
      { name: 'nothing', key: [], columns: {} },
      { name: 'vault', key: [], columns: { secret: 'varchar' } },
    ];
    const mapped: MappedTable = { ...plain, key: [], tenant: null, createdAt: null, actor: null };
    const mapping: Mapping = {
      version: 1,
      master: null,
      tables: {
        'public.nothing': { ...mapped, service: 'app', entity: 'nothing', masked: [] },
        'public.vault': { ...mapped, service: 'app', entity: 'vault', denied: ['secret'] },
      },
    };
    const history = new History();
    history.snapshot(at(1), [
      ['nothing', {}],
      ['nothing', {}],
    ]);
    history.commit(at(2), (t) => {
      t.remove('nothing', {});
      t.insert('vault', { secret: 'x' });
    });
    await write(tables, history);
    const { rows } = await build(mapping);
    expect(
      await rows(/* sql */ `select source_table, op, count(*) as n from analytics.fct_entity_changes
        group by all order by all`),
    ).toEqual([
      { source_table: 'public.nothing', op: 'd', n: '1' },
      { source_table: 'public.nothing', op: 'r', n: '2' },
      { source_table: 'public.vault', op: 'c', n: '1' },
    ]);
  });

  test('an empty mapping builds empty models, and row groups of the sink stay as small as they are', async () => {
    await write([], new History());
    const insertSql = 'insert into batches select i from range(70_000) r(i)';
    const before = await largestRowGroup(
      `create table batches (n bigint); ${insertSql}; ${insertSql}`,
    );
    const { rows } = await build({ version: 1, master: null, tables: {} });
    expect(await largestRowGroup('select 1')).toEqual(before);
    expect(await rows(/* sql */ `select count(*) as n from analytics.fct_events`)).toEqual([
      { n: '0' },
    ]);
  });

  test('seventy-six tables with ids of mixed types build in bounded time', async () => {
    const idTypes = ['bigint', 'uuid', 'varchar', 'integer'];
    const ids = ['7', '00000000-0000-4000-8000-000000000007', 'seven', '7'];
    const names = Array.from({ length: 75 }, (_, n) => `service_part${n % 9}_thing${n}`);
    const tables: readonly HistoryTable[] = [
      {
        name: 'master',
        key: ['id'],
        columns: {
          id: 'bigint',
          uuid: 'uuid',
          type: 'varchar',
          name: 'varchar',
          created_at: 'timestamptz',
        },
      },
      ...names.map((name, n) => ({
        name,
        key: ['Id'],
        columns: {
          Id: idTypes[n % 4]!,
          master_id: n % 5 === 0 ? 'varchar' : 'bigint',
          order: 'varchar',
          deleted_at: 'timestamptz',
          occurred_at: n % 3 === 0 ? 'bigint' : 'timestamptz',
          data: 'json',
        },
      })),
    ];
    const entries = names.map((name, n): [string, MappedTable] => {
      const isEvent = n % 4 === 0;
      const moment = {
        column: 'occurred_at',
        as: n % 3 === 0 ? ('epoch_millis' as const) : ('timestamptz' as const),
      };
      const event = {
        ...sampleMapping.tables['public.traces']!.event!,
        type: 'order',
        at: moment,
        payload: 'data',
      };
      return [
        `public.${name}`,
        {
          ...plain,
          kind: isEvent ? 'event' : 'entity',
          service: `part${n % 9}`,
          entity: `thing${n % 20}`,
          key: ['Id'],
          master: { id: 'master_id', uuid: 'not_there' },
          event: isEvent ? event : null,
        },
      ];
    });
    const mapping: Mapping = {
      version: 1,
      master: sampleMapping.master,
      tables: {
        'public.master': sampleMapping.tables['public.master']!,
        ...Object.fromEntries(entries),
      },
    };
    const history = new History();
    history.snapshot(at(0), [
      [
        'master',
        { id: '1', uuid: ids[1]!, type: 'user', name: 'n', created_at: '2026-03-01 00:00:00+00' },
      ],
    ]);
    history.commit(at(1), (t) => {
      for (const [n, name] of names.entries()) {
        const occurred = n % 3 === 0 ? '1772700000000' : '2026-03-05 01:00:00+00';
        t.insert(name, {
          Id: ids[n % 4]!,
          master_id: '1',
          order: 'a:b:v1:success',
          deleted_at: null,
          occurred_at: occurred,
          data: '{}',
        });
      }
    });
    await write(tables, history);
    const { report, rows } = await build(mapping);
    expect(report.seconds).toBeLessThan(secondsMax);
    expect(await rows(/* sql */ `select n_rows, n_events from analytics.dim_masters`)).toEqual([
      { n_rows: '56', n_events: '19' },
    ]);
  });
});
