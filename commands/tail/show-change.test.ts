import { expect, test } from 'vitest';
import { ExactText, type Change } from '../../schemas/change.ts';
import type { ColumnSchema, ReplicaIdentity, TableVersion } from '../../schemas/table-schema.ts';
import { renderChange, showChange } from './show-change.ts';

const column = (name: string, type: ColumnSchema['type']): ColumnSchema => ({
  name,
  type,
  pgType: type.kind,
  nullable: true,
});

function change(
  op: Change['op'],
  images: object,
  replicaIdentity: ReplicaIdentity = 'default',
): Change {
  const version: TableVersion = {
    topic: 'app.public.orders',
    valueSchemaId: 1,
    keySchemaId: 2,
    from: '0001/0000000000000000/00000000/0',
    table: {
      oid: 1,
      schema: 'public',
      name: 'orders',
      columns: [
        column('id', { kind: 'int4' }),
        column('total', { kind: 'numeric', precision: 10, scale: 2 }),
        column('ratio', { kind: 'float8' }),
        column('tags', { kind: 'array', element: { kind: 'text' } }),
        column('note', { kind: 'text' }),
      ],
      key: ['id'],
      replicaIdentity,
    },
  };
  const origin = {
    seq: '0001/00000000000000AA/00000001/0',
    lsn: 1n,
    xid: 1n,
    committedAtUs: 1_700_000_000_123_456n,
  };
  const place = { capturedAtUs: 0n, topic: version.topic, partition: 0, offset: 0, version };
  return { op, ...origin, ...place, ...images } as Change;
}

const show = (shown: Change, charactersMax = 60) => renderChange(showChange(shown), charactersMax);

test.each([
  [
    'an insert shows every column as PostgreSQL prints it',
    change('c', { after: [1, 150n, 0.1, ['a', null], 'two words'], before: null, unchanged: [] }),
    '2023-11-14T22:13:20.123Z insert id=1 total=1.50 ratio=0.1 tags="[\\"a\\",null]" note="two words"',
  ],
  [
    'a value beyond its type shows its exact text',
    change('c', {
      after: [1, new ExactText('NaN'), null, null, 'NULL'],
      before: null,
      unchanged: [],
    }),
    '2023-11-14T22:13:20.123Z insert id=1 total=NaN ratio=NULL tags=NULL note="NULL"',
  ],
  [
    'an update marks what was not sent instead of showing NULL',
    change('u', { after: [1, 100n, 1, null, null], before: null, unchanged: [4] }),
    '2023-11-14T22:13:20.123Z update id=1 total=1.00 ratio=1 tags=NULL note=(unchanged)',
  ],
  [
    'a key change shows the key it had',
    change('u', {
      after: [2, null, null, null, 'x'],
      before: [1, null, null, null, null],
      unchanged: [],
    }),
    '2023-11-14T22:13:20.123Z update id=2 total=NULL ratio=NULL tags=NULL note=x (was id=1)',
  ],
  [
    'a delete shows the key alone',
    change('d', { before: [1, null, null, null, null] }),
    '2023-11-14T22:13:20.123Z delete id=1',
  ],
  [
    'a delete of a table that sends whole rows shows the row',
    change('d', { before: [1, null, null, null, 'x'] }, 'full'),
    '2023-11-14T22:13:20.123Z delete id=1 total=NULL ratio=NULL tags=NULL note=x',
  ],
  ['a truncate shows nothing more', change('t', {}), '2023-11-14T22:13:20.123Z truncate'],
  [
    'a row that was read has a position, and no time',
    change('r', {
      committedAtUs: null,
      after: [1, null, null, null, 'x'],
      before: null,
      unchanged: [],
    }),
    '0001/00000000000000AA/00000001/0 read id=1 total=NULL ratio=NULL tags=NULL note=x',
  ],
])('%s', (_claim, given, line) => expect(show(given)).toBe(line));

test('a terminal is spared long values', () => {
  const long = change('c', {
    after: [1, null, null, null, 'x'.repeat(100)],
    before: null,
    unchanged: [],
  });
  expect(show(long, 5)).toContain('note=xxxxx…');
  expect(showChange(long).after?.['note']).toHaveLength(100);
});
