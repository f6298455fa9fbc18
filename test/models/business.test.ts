import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type BuildReport, buildModels, requireGood } from '../../models/build-models.ts';
import { duckdbLake } from '../../models/duckdb-lake.ts';
import { History, type Row, readLakeRows, writeLake } from './lake-history.ts';
import { uuid } from './random-history.ts';
import { sampleMapping, sampleTables } from './sample.ts';

const projectRoot = path.resolve(import.meta.dirname, '../..');
const at = (text: string) => new Date(`2026-03-${text}Z`);
const long = 'long text '.repeat(500);
const created = '2026-03-01 00:00:00+00';
const event = (n: number, row: Row): Row => ({
  id: uuid(n),
  occurred_at: '2026-03-05 10:00:00+00',
  event_type: 'a.b',
  ...row,
});

/** One of everything that the source pattern is known to do to its readers. */
function scriptedHistory(): History {
  const history = new History();
  const master = (n: number, type: string): Row => ({
    id: String(n),
    uuid: uuid(n),
    type,
    name: `name ${n}`,
    created_at: created,
  });
  history.snapshot(at('05T00:00:00'), [
    ['master', master(1, 'user')],
    ['master', master(2, 'content')],
    ['master', master(3, 'user')],
    ['master', master(4, 'campaign')],
    [
      'users',
      {
        id: uuid(101),
        master_id: '1',
        master_uuid: uuid(1),
        email: 'mail-1',
        password_hash: 'secret-1',
        created_at: created,
      },
    ],
    [
      'users',
      {
        id: uuid(103),
        master_id: '3',
        master_uuid: uuid(3),
        email: 'mail-3',
        password_hash: 'secret-3',
        created_at: created,
      },
    ],
    ['campaigns', { id: '7', master_id: '4', slug: 'spring' }],
    [
      'contents',
      {
        id: uuid(201),
        master_id: '2',
        author_id: uuid(101),
        title: 'first',
        body: long,
        tags: "['x', 'y']",
      },
    ],
    ['comments', { id: '1', content_id: uuid(201), body: 'nice' }],
  ]);
  history.commit(at('05T10:00:00'), (t) => {
    t.update(
      'contents',
      { id: uuid(201), master_id: '2', author_id: uuid(101), title: 'second', tags: "['x']" },
      ['body'],
    );
    t.insert(
      'events',
      event(1, {
        master_id: '2',
        master_uuid: uuid(2),
        user_id: uuid(101),
        campaign_id: '7',
        event_type: 'content:edit:v1:requested',
        metadata: '{"globalContext": {"correlationId": "c-1"}}',
      }),
    );
  });
  history.commit(at('05T11:00:00'), (t) => {
    t.insert(
      'events',
      event(2, {
        master_id: '2',
        campaign_id: '0',
        event_type: 'content.edit.completed',
        metadata: '{"global_context": {"correlation_id": "c-1"}}',
        occurred_at: '2026-03-05 10:59:59+00',
      }),
    );
    t.insert(
      'events',
      event(3, {
        master_id: '1',
        master_uuid: uuid(3),
        event_type: 'user_login',
        metadata: 'not json',
        entity_type: 'content',
        entity_id: uuid(201),
      }),
    );
    t.insert(
      'events',
      event(4, {
        master_id: '0',
        master_uuid: uuid(3),
        event_type: 'content:edit:v1:success',
        payload: '{"correlation_id": "c-1"}',
        occurred_at: '2026-03-05 10:59:30+00',
      }),
    );
    t.insert('events', event(5, { master_id: '999', user_id: 'nobody' }));
    t.insert('audits', {
      id: '1',
      master_id: '1',
      event_type: 'x',
      prev_hash: '',
      entry_hash: 'h1',
      occurred_at: '2026-03-05 10:00:00+00',
    });
    t.insert('audits', {
      id: '2',
      master_id: '1',
      event_type: 'x',
      prev_hash: 'h1',
      entry_hash: 'h2',
      occurred_at: '2026-03-05 10:00:01+00',
    });
    t.insert('job_runs', { id: '1', master_id: '1', status: 'failed', started_at: '1772700000' });
    t.insert('traces', {
      master_id: '1',
      action: 'seen',
      values: '[1.5]',
      timestamp: '2026-03-05 10:00:00+00',
    });
    t.insert('links', { code: 'abc', master_id: '1', referred_master_id: '3' });
  });
  // The key moves while the body stays out of the log; then a second move, then an edit of the title.
  const content = (n: number, title: string): Row => ({
    id: uuid(n),
    master_id: '2',
    author_id: uuid(101),
    title,
    tags: null,
  });
  history.commit(at('05T12:00:00'), (t) =>
    t.move('contents', { id: uuid(201) }, { row: content(202, 'second'), leftOut: ['body'] }),
  );
  history.commit(at('05T13:00:00'), (t) =>
    t.move('contents', { id: uuid(202) }, { row: content(203, 'second'), leftOut: ['body'] }),
  );
  history.commit(at('05T14:00:00'), (t) => {
    t.update('contents', content(203, 'third'), ['body']);
    t.insert('comments', { id: '2', content_id: uuid(203), body: 'still nice' });
  });
  history.commit(at('06T09:00:00'), (t) =>
    t.update('master', { ...master(1, 'user'), name: 'renamed' }),
  );
  // `on delete cascade`: every row with nothing but its key.
  history.commit(at('06T10:00:00'), (t) => {
    t.remove('master', { id: '2' });
    t.remove('events', { id: uuid(1) });
    t.remove('events', { id: uuid(2) });
    t.remove('contents', { id: uuid(203) });
    t.remove('comments', { id: '2' });
  });
  history.commit(at('06T11:00:00'), (t) => t.truncate('links'));
  return history;
}

describe('models of a scripted history', () => {
  let dir: string;
  let report: BuildReport;
  const rows = (sql: string) => readLakeRows(path.join(dir, 'lake.duckdb'), sql);

  beforeAll(async () => {
    dir = await mkdtemp(path.join(os.tmpdir(), 'tributary-models-'));
    const lakePath = path.join(dir, 'lake.duckdb');
    const { changes } = scriptedHistory();
    await writeLake(lakePath, { tables: sampleTables, changes, watermarkAt: at('08T10:00:00') });
    report = await buildModels({
      projectRoot,
      lake: duckdbLake(lakePath),
      mapping: sampleMapping,
      workDir: path.join(dir, 'work'),
    });
    requireGood(report);
  });
  afterAll(() => rm(dir, { recursive: true, force: true }));

  test('every model and test is good, and tables tell their rows', () => {
    expect(report.isGood).toBe(true);
    expect(report.models.find((model) => model.name === 'dim_masters')?.rows).toBe(4);
    expect(report.tests.length).toBeGreaterThan(40);
  });

  test('a cascading delete resolves every descendant to the deleted master', async () => {
    const deleted =
      await rows(/* sql */ `select source_table, row_key, master_key from analytics.fct_entity_changes
      where op = 'd' and committed_at >= timestamp '2026-03-06 10:00:00' order by 1`);
    expect(deleted).toEqual([
      { source_table: 'public.comments', row_key: '2', master_key: '2' },
      { source_table: 'public.contents', row_key: uuid(203), master_key: '2' },
      { source_table: 'public.master', row_key: '2', master_key: '2' },
    ]);
    const erased =
      await rows(/* sql */ `select event_id, subject_master_key, event_type is not null as has_type
      from analytics.fct_events where is_deleted_at_source order by event_id`);
    expect(erased).toEqual(
      [1, 2].map((n) => ({ event_id: uuid(n), subject_master_key: '2', has_type: 'true' })),
    );
    const kinds =
      await rows(/* sql */ `select kind, count(*) as n from analytics.fct_master_timeline
      where master_key = '2' and role in ('subject', 'owner') group by kind order by kind`);
    expect(kinds).toEqual([
      { kind: 'event', n: '2' },
      { kind: 'event_erased', n: '2' },
      { kind: 'row_change', n: '13' },
    ]);
  });

  test('a large value that was not sent is carried forward, also across key changes', async () => {
    const bodies = await rows(/* sql */ `select id, _cdc_op, title, body = '${long}' as has_body
      from analytics_staging.base_cdc__contents order by _cdc_seq`);
    expect(bodies.map((row) => row['has_body'])).toEqual(
      Array.from({ length: bodies.length }, () => 'true'),
    );
    expect(bodies).toHaveLength(8);
    expect(bodies.at(-1)).toMatchObject({ _cdc_op: 'd', title: 'third' });
  });

  test('ids that disagree are told, and the id is believed; an id of 0 is none', async () => {
    const bridge = await rows(/* sql */ `select e.event_id, b.master_key, b.method
      from analytics.bridge_event_masters as b inner join analytics.fct_events as e using (event_key)
      where b.role = 'subject' and e.source_table = 'public.events' order by 1`);
    expect(bridge).toEqual([
      { event_id: uuid(1), master_key: '2', method: 'id_and_uuid' },
      { event_id: uuid(2), master_key: '2', method: 'id' },
      { event_id: uuid(3), master_key: '1', method: 'id_uuid_mismatch' },
      { event_id: uuid(4), master_key: '3', method: 'uuid' },
    ]);
  });

  test('actors and tenants are found through their tables, and a tenant of 0 is none', async () => {
    const roles = await rows(/* sql */ `select event_id, actor_master_key, tenant_master_key
      from analytics.fct_events where event_id in ('${uuid(1)}', '${uuid(2)}') order by 1`);
    expect(roles).toEqual([
      { event_id: uuid(1), actor_master_key: '1', tenant_master_key: '4' },
      { event_id: uuid(2), actor_master_key: null, tenant_master_key: null },
    ]);
  });

  test('three dialects and both spellings of the correlation id are read', async () => {
    const parsed =
      await rows(/* sql */ `select event_dialect as d, event_service as s, event_action as a,
        event_version as v, event_state as state, correlation_id as c
      from analytics.fct_events where source_table = 'public.events' and subject_master_key is not null order by event_id`);
    expect(parsed).toEqual([
      { d: 'canonical', s: 'content', a: 'edit', v: 'v1', state: 'requested', c: 'c-1' },
      { d: 'dotted', s: 'content', a: 'edit', v: null, state: 'success', c: 'c-1' },
      { d: 'snake', s: 'user', a: 'login', v: null, state: null, c: null },
      { d: 'canonical', s: 'content', a: 'edit', v: 'v1', state: 'success', c: 'c-1' },
    ]);
  });

  test('epochs, columns called timestamp and tables without a key are events like all others', async () => {
    const found = await rows(/* sql */ `select source_table, event_type, event_state, occurred_at
      from analytics.fct_events where source_table in ('public.job_runs', 'public.traces') order by 1`);
    expect(found).toMatchObject([
      { source_table: 'public.job_runs', event_type: null, event_state: 'failed' },
      { source_table: 'public.traces', event_type: 'seen' },
    ]);
    expect(found[0]?.['occurred_at']).toContain('2026-03-05 08:40:00');
  });

  test('lineage has an edge of every kind that the source tells', async () => {
    const edges = await rows(
      /* sql */ `select edge_type, count(*) as n from analytics.fct_lineage_edges group by 1 order by 1`,
    );
    expect(edges.map((edge) => edge['edge_type'])).toEqual([
      'acted_by',
      'correlates',
      'hash_prev',
      'progresses',
      'references',
      'referred',
      'registers',
      'same_tx',
      'scoped_to',
      'soft_ref',
      'subject_of',
    ]);
    const correlated = edges.find((edge) => edge['edge_type'] === 'correlates');
    expect(correlated?.['n']).toBe('2');
  });

  test('a reference ends when its row moves, and a truncate ends all', async () => {
    const ended =
      await rows(/* sql */ `select edge_type, valid_to is not null as is_ended from analytics.fct_lineage_edges
      where source_table = 'public.links' order by 1`);
    expect(ended.length).toBeGreaterThan(1);
    expect(ended.every((edge) => edge['is_ended'] === 'true')).toBe(true);
  });

  test('a change is explained by the event of its transaction', async () => {
    const explained = await rows(/* sql */ `select e.event_id, c.changed_columns
      from analytics.fct_entity_changes as c inner join analytics.fct_events as e on c.explained_by_event_key = e.event_key
      where c.source_table = 'public.contents'`);
    expect(explained).toEqual([{ event_id: uuid(1), changed_columns: 'title,tags' }]);
  });

  test('the history of a master has every version, and deletes end it', async () => {
    const versions =
      await rows(/* sql */ `select master_key, version_number as v, master_name as name, is_current, is_ended_by_delete as gone
      from analytics.dim_masters_history where master_key in ('1', '2') order by 1, 2`);
    expect(versions).toEqual([
      { master_key: '1', v: '1', name: 'name 1', is_current: 'false', gone: 'false' },
      { master_key: '1', v: '2', name: 'renamed', is_current: 'true', gone: 'false' },
      { master_key: '2', v: '1', name: 'name 2', is_current: 'false', gone: 'true' },
    ]);
  });

  test('masked values are hashed, denied ones are nowhere in what is built', async () => {
    const images = await rows(
      /* sql */ `select after_image from analytics.fct_entity_changes where source_table = 'public.users'`,
    );
    for (const { after_image: image } of images) {
      expect(image).not.toMatch(/mail-|secret-|password_hash/);
      expect(image).toMatch(/"email":"[0-9a-f]{64}"/);
    }
    const denied = await rows(/* sql */ `select table_schema from information_schema.columns
      where column_name = 'password_hash' and table_schema like 'analytics%'`);
    expect(denied).toEqual([]);
  });

  test('only closed days have feature rows', async () => {
    const days = await rows(
      /* sql */ `select max(as_of) as last_as_of from analytics.feat_master_activity_daily`,
    );
    expect(days[0]?.['last_as_of']).toContain('2026-03-08 00:00:00');
  });
});
