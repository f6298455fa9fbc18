import { expect, test } from 'vitest';
import type { TableSchema } from '../../schemas/table-schema.ts';
import { columnText, encodeTuple } from '../pgoutput/tuple.ts';
import { ChangeSpool } from './change-spool.ts';
import type { StreamedChange } from './snapshot.ts';
import { parseTransactionSnapshot } from './transaction-visibility.ts';

const table: TableSchema = {
  oid: 1,
  schema: 'public',
  name: 'facts',
  columns: [{ name: 'body', type: { kind: 'text' }, pgType: 'text', nullable: true }],
  key: [],
  replicaIdentity: 'full',
};
const insert = (xid: number, text: string): StreamedChange & { readonly op: 'insert' } => ({
  op: 'insert',
  table,
  xid,
  after: encodeTuple([Buffer.from(text)]),
});

test('only what the snapshot does not see is kept, in order and in memory of its own', () => {
  const spool = new ChangeSpool(table, 10_000);
  const streamed = insert(12, 'kept');
  spool.add(insert(8, 'seen'));
  spool.add(streamed);
  spool.seal(parseTransactionSnapshot('10:13:12'));
  spool.add(insert(11, 'seen too'));
  spool.add(insert(14, 'later'));
  streamed.after.bytes.fill(0x3f, 7);
  const texts = spool.take().map((change) => {
    return change.op === 'insert' ? columnText(change.after, 0) : null;
  });
  expect(texts).toEqual(['kept', 'later']);
});

test('more than may be kept is a typed error, also when it would have been forgotten', () => {
  const spool = new ChangeSpool(table, 1_000);
  spool.add(insert(8, 'x'.repeat(500)));
  expect(spool.overflow).toBeNull();
  spool.add(insert(8, 'x'.repeat(500)));
  spool.seal(parseTransactionSnapshot('10:13:12'));
  expect(spool.overflow).toMatchObject({ kind: 'source-unfit' });
});
