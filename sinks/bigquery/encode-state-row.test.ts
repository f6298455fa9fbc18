import protobuf from 'protobufjs';
import { expect, it } from 'vitest';
import { type Change, ExactText, type RowImage } from '../../schemas/change.ts';
import { formatPosition, positionZero } from '../../schemas/position.ts';
import type { VersionColumn, VersionLayout } from '../lake/layout.ts';
import { StateRowEncoder } from './encode-state-row.ts';
import { fieldTypes } from './proto-writer.ts';

const column = (name: string, lakeType: string, type: VersionColumn['type']): VersionColumn => {
  return { name, physical: name, type, lakeType, isKey: name === 'id' };
};
const columns = [column('id', 'INT64', { kind: 'int8' }), column('on', 'DATE', { kind: 'date' })];
const layout: VersionLayout = {
  names: { schema: 'lake', changes: 't__changes', state: 't__state', view: 't' },
  columns,
  later: [{ physical: 'added', type: 'INT64', missing: 'cast(7 as INT64)' }],
  version: {
    topic: 'shop.public.t',
    valueSchemaId: 7,
    keySchemaId: 8,
    from: positionZero,
    table: {
      oid: 1,
      schema: 'public',
      name: 't',
      columns: columns.map(({ name, type }) => ({ name, type, pgType: '', nullable: true })),
      key: ['id'],
      replicaIdentity: 'default',
    },
  },
};
const later = { columns: [column('added', 'INT64', { kind: 'int8' })], image: [7n] };

const change: Change = {
  op: 'd',
  seq: formatPosition({ generation: 1, commitLsn: 0x16_b3_74_d8_48n, ordinal: 42, part: 2 }),
  lsn: 1n,
  xid: null,
  committedAtUs: 1_700_000_000_000_001n,
  capturedAtUs: 1_700_000_000_000_002n,
  topic: 'shop.public.t',
  partition: 0,
  offset: 0,
  version: layout.version,
  before: [],
};

/** A row as the protobuf library reads it. */
function decoded(isDeleted: boolean, image: RowImage): Readonly<Record<string, unknown>> {
  const encoder = new StateRowEncoder(layout, later);
  const type = new protobuf.Type('Row');
  for (const { name, number, type: kind } of encoder.descriptor.field) {
    const proto = Object.entries(fieldTypes).find(([, one]) => one === kind)?.[0] ?? '';
    type.add(new protobuf.Field(name, number, proto));
  }
  new protobuf.Root().add(type);
  const [row = new Uint8Array()] = encoder.encode([{ change, isDeleted, image }]);
  return type.toObject(type.decode(row), { longs: String });
}

it('a row is an UPSERT at its position, whole: with exact texts, and constants of later columns', () => {
  expect(decoded(false, [5n, new ExactText('infinity')])).toEqual({
    _CHANGE_TYPE: 'UPSERT',
    _CHANGE_SEQUENCE_NUMBER: '0001/00000016B374D848/0000002A/2',
    _cdc_seq: '0001/00000016B374D848/0000002A/2',
    _cdc_deleted: false,
    _cdc_committed_at: '1700000000000001',
    _cdc_schema_id: '7',
    _cdc_exact: '{"on":"infinity"}',
    id: '5',
    added: '7',
  });
});

it('a row that is gone is a DELETE at its position with its key', () => {
  const row = decoded(true, [5n, null]);
  expect(row).toMatchObject({ _CHANGE_TYPE: 'DELETE', id: '5', _cdc_deleted: true });
  expect(row).not.toHaveProperty('added');
});

it('a position that is no sequence number is refused before it is sent', () => {
  const encoder = new StateRowEncoder(layout, later);
  const row = { change: { ...change, seq: '1/2/3/4/5' }, isDeleted: true, image: [5n] };
  expect(() => encoder.encode([row])).toThrow('change sequence number');
});
