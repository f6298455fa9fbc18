import fc from 'fast-check';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { PipelineError } from '../../runtime/errors.ts';
import { decodeMessage } from './decode.ts';
import type { PgoutputMessage, TupleBytes } from './message.ts';
import { columnCount, columnText, encodeTuple } from './tuple.ts';

const golden = readFileSync(
  new URL('../../test/fixtures/pgoutput/golden-v1.jsonl', import.meta.url),
  'utf8',
)
  .trimEnd()
  .split('\n')
  .map((line) => {
    const { lsn, xid, dataHex } = JSON.parse(line) as Record<'lsn' | 'xid' | 'dataHex', string>;
    return { lsn, xid: Number(xid), bytes: Buffer.from(dataHex, 'hex') };
  });

const ascii = (text: string) => Buffer.from(text, 'latin1');
const cstring = (text: string) => Buffer.concat([Buffer.from(text), Buffer.of(0)]);
const u8 = (...values: number[]) => Buffer.from(values);
const u16 = (value: number) => u8(value >> 8, value & 0xff);
const u32 = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
};
const u64 = (value: bigint) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(BigInt.asIntN(64, value));
  return bytes;
};
const message = (type: string, ...parts: Buffer[]) => Buffer.concat([ascii(type), ...parts]);
const columns = [Buffer.from('7'), null, 'unchanged', Buffer.from('añ')] as const;
const tuple = encodeTuple(columns).bytes;
const columnBytes = (name: string, flags: number, modifier: number) =>
  Buffer.concat([u8(flags), cstring(name), u32(23), u32(modifier)]);

/** 2026-01-02T03:04:05.678901Z in both epochs. */
const timeUs = 1_767_323_045_678_901n;
const postgresTime = u64(timeUs - 946_684_800_000_000n);
const lsn = 0x16b374d8n;

/** Tuples as lists of texts, so that expectations can be read. */
function plain(decoded: PgoutputMessage): unknown {
  const list = (bytes: TupleBytes) =>
    Array.from({ length: columnCount(bytes) }, (_, index) => columnText(bytes, index));
  return JSON.parse(
    JSON.stringify(decoded, (_key, value: unknown) => {
      if (typeof value === 'bigint') return value.toString();
      if (value === null || typeof value !== 'object') return value;
      if ('bytes' in value && 'offset' in value) {
        return list(value as TupleBytes).map((text) => (text === undefined ? 'unchanged' : text));
      }
      return value;
    }),
  );
}

const row = ['7', null, 'unchanged', 'añ'];
type Case = [name: string, inStream: boolean, bytes: Buffer, expected: object];
const relationBody = Buffer.concat([
  u32(16_384),
  cstring('public'),
  cstring('service_event'),
  ascii('f'),
  u16(2),
  columnBytes('id', 1, -1),
  columnBytes('name', 0, 1234),
]);
const relation = {
  tag: 'relation',
  oid: 16_384,
  schema: 'public',
  name: 'service_event',
  replicaIdentity: 'f',
  columns: [
    { isKey: true, name: 'id', typeOid: 23, typeModifier: -1 },
    { isKey: false, name: 'name', typeOid: 23, typeModifier: 1234 },
  ],
};
const logicalBody = Buffer.concat([u64(lsn), cstring('tributary'), u32(3), ascii('abc')]);
const logical = {
  tag: 'message',
  lsn: String(lsn),
  prefix: 'tributary',
  content: { type: 'Buffer', data: [97, 98, 99] },
};
const committedAtUs = String(timeUs);
const cases: Case[] = [
  [
    'begin',
    false,
    message('B', u64(lsn), postgresTime, u32(4_000_000_000)),
    { tag: 'begin', commitLsn: String(lsn), committedAtUs, xid: 4_000_000_000 },
  ],
  [
    'commit',
    false,
    message('C', u8(0), u64(lsn), u64(0xffff_ffff_ffff_fffen), postgresTime),
    {
      tag: 'commit',
      commitLsn: String(lsn),
      endLsn: String(0xffff_ffff_ffff_fffen),
      committedAtUs,
    },
  ],
  [
    'origin',
    false,
    message('O', u64(lsn), cstring('other')),
    { tag: 'origin', commitLsn: String(lsn), name: 'other' },
  ],
  ['relation', false, message('R', relationBody), relation],
  ['relation in a stream', true, message('R', u32(9), relationBody), { ...relation, xid: 9 }],
  [
    'type',
    false,
    message('Y', u32(600), cstring(''), cstring('mood')),
    { tag: 'type', oid: 600, schema: 'pg_catalog', name: 'mood' },
  ],
  [
    'type in a stream',
    true,
    message('Y', u32(9), u32(600), cstring('app'), cstring('mood')),
    { tag: 'type', xid: 9, oid: 600, schema: 'app', name: 'mood' },
  ],
  ['insert', false, message('I', u32(5), ascii('N'), tuple), { tag: 'insert', oid: 5, after: row }],
  [
    'insert in a stream',
    true,
    message('I', u32(9), u32(5), ascii('N'), tuple),
    { tag: 'insert', xid: 9, oid: 5, after: row },
  ],
  [
    'update without an old row',
    false,
    message('U', u32(5), ascii('N'), tuple),
    { tag: 'update', oid: 5, before: null, after: row },
  ],
  [
    'update with an old key, in a stream',
    true,
    message('U', u32(9), u32(5), ascii('K'), tuple, ascii('N'), tuple),
    { tag: 'update', xid: 9, oid: 5, before: { kind: 'key', tuple: row }, after: row },
  ],
  [
    'update with a full old row',
    false,
    message('U', u32(5), ascii('O'), tuple, ascii('N'), tuple),
    { tag: 'update', oid: 5, before: { kind: 'full', tuple: row }, after: row },
  ],
  [
    'delete by key',
    false,
    message('D', u32(5), ascii('K'), tuple),
    { tag: 'delete', oid: 5, before: { kind: 'key', tuple: row } },
  ],
  [
    'delete of a full row, in a stream',
    true,
    message('D', u32(9), u32(5), ascii('O'), tuple),
    { tag: 'delete', xid: 9, oid: 5, before: { kind: 'full', tuple: row } },
  ],
  [
    'truncate',
    false,
    message('T', u32(2), u8(1), u32(5), u32(6)),
    { tag: 'truncate', oids: [5, 6], cascade: true, restartIdentity: false },
  ],
  [
    'truncate in a stream',
    true,
    message('T', u32(9), u32(1), u8(2), u32(5)),
    { tag: 'truncate', xid: 9, oids: [5], cascade: false, restartIdentity: true },
  ],
  ['message', false, message('M', u8(0), logicalBody), { ...logical, transactional: false }],
  [
    'message in a stream',
    true,
    message('M', u32(9), u8(1), logicalBody),
    { ...logical, xid: 9, transactional: true },
  ],
  [
    'stream start',
    false,
    message('S', u32(9), u8(1)),
    { tag: 'stream-start', xid: 9, isFirst: true },
  ],
  ['stream stop', true, message('E'), { tag: 'stream-stop' }],
  [
    'stream commit',
    false,
    message('c', u32(9), u8(0), u64(lsn), u64(lsn + 8n), postgresTime),
    {
      tag: 'stream-commit',
      xid: 9,
      commitLsn: String(lsn),
      endLsn: String(lsn + 8n),
      committedAtUs,
    },
  ],
  [
    'stream abort',
    false,
    message('A', u32(9), u32(11)),
    { tag: 'stream-abort', xid: 9, subXid: 11 },
  ],
];

describe('decodeMessage', () => {
  it.each(cases)('reads %s', (...[, inStream, bytes, expected]) => {
    expect(plain(decodeMessage(bytes, inStream))).toEqual(expected);
  });

  it.each(cases)('refuses %s cut short at any byte', (_name, inStream, bytes) => {
    for (let length = 0; length < bytes.length; length += 1) {
      expect(() => decodeMessage(bytes.subarray(0, length), inStream)).toThrow(PipelineError);
    }
  });

  it.each(cases)('refuses %s with a byte too many', (_name, inStream, bytes) => {
    const longer = Buffer.concat([bytes, u8(0)]);
    expect(() => decodeMessage(longer, inStream)).toThrow(/1 bytes are left over/);
  });

  it('keeps a tuple where it lies', () => {
    const bytes = message('I', u32(5), ascii('N'), tuple);
    const decoded = decodeMessage(bytes, false);
    expect(decoded).toMatchObject({ tag: 'insert', after: { bytes, offset: 6 } });
  });

  it.each([
    ['an unknown type', message('Z'), /message "Z" of 1 bytes: unknown type "Z"/],
    ['a two-phase message', message('b', u64(lsn)), /unknown type "b"/],
    ['no bytes', Buffer.alloc(0), /message empty of 0 bytes: type ends beyond/],
    ['a wrong tuple kind', message('I', u32(5), ascii('K'), tuple), /unexpected tuple kind "K"/],
    ['a delete with a new row', message('D', u32(5), ascii('N'), tuple), /tuple kind "N"/],
    ['a binary column', message('I', u32(5), ascii('N'), u16(1), ascii('b'), u32(0)), /binary/],
    ['an odd column', message('I', u32(5), ascii('N'), u16(1), u8(7)), /unknown kind 0x07/],
    [
      'a column of negative length',
      message('I', u32(5), ascii('N'), u16(1), ascii('t'), u32(-1)),
      /column 0 of new tuple has length -1 \(byte 13\)/,
    ],
    ['a message of negative length', message('M', u8(0), u64(0n), u8(0), u32(-5)), /length -5/],
    ['a truncate of 4 billion tables', message('T', u32(-1), u8(0), u32(1)), /ends beyond/],
    ['an endless string', message('O', u64(0n), ascii('abc')), /not ended by a zero byte/],
    [
      'an unknown replica identity',
      message('R', u32(1), cstring('a'), cstring('b'), ascii('x'), u16(0)),
      /unknown replica identity "x"/,
    ],
    ['a stop without a stream', message('E'), /no streamed block is open/],
  ])('names what is wrong with %s', (_name, bytes, reason) => {
    expect(() => decodeMessage(bytes, false)).toThrow(
      expect.objectContaining({
        kind: 'protocol-violation',
        message: expect.stringMatching(reason) as string,
      }),
    );
  });

  it('refuses transaction frames inside a streamed block', () => {
    for (const [name, inStream, bytes] of cases) {
      if (inStream || !/^(begin|commit|stream)/.test(name)) continue;
      expect(() => decodeMessage(bytes, true)).toThrow(/may not stand inside a streamed block/);
    }
  });
});

describe('the recorded stream of a PostgreSQL 18', () => {
  const decoded = golden.map(({ bytes }) => decodeMessage(bytes, false));

  it('decodes whole, every kind as often as it was sent', () => {
    const counts = Map.groupBy(decoded, ({ tag }) => tag);
    expect(Object.fromEntries([...counts].map(([tag, list]) => [tag, list.length]))).toEqual({
      begin: 41,
      commit: 41,
      delete: 8,
      insert: 19,
      message: 3,
      relation: 18,
      truncate: 2,
      type: 7,
      update: 19,
    });
  });

  it('frames every transaction with one commit LSN and time, and the xid of its slot row', () => {
    const begins = decoded.flatMap((item, index) =>
      item.tag === 'begin' ? [{ ...item, slotXid: golden[index]?.xid }] : [],
    );
    const commits = decoded.filter((item) => item.tag === 'commit');
    expect(begins.map(({ xid }) => xid)).toEqual(begins.map(({ slotXid }) => slotXid));
    expect(begins.map(({ commitLsn, committedAtUs }) => [commitLsn, committedAtUs])).toEqual(
      commits.map(({ commitLsn, committedAtUs }) => [commitLsn, committedAtUs]),
    );
    expect(commits.every(({ endLsn, commitLsn }) => endLsn > commitLsn)).toBe(true);
    const years = begins.map((item) =>
      new Date(Number(item.committedAtUs / 1000n)).getUTCFullYear(),
    );
    expect(new Set(years)).toEqual(new Set([2026]));
  });

  it('gives every row as many columns as its relation', () => {
    const widths = new Map<number, number>();
    const pairs: [number, number | undefined][] = [];
    for (const item of decoded) {
      if (item.tag === 'relation') widths.set(item.oid, item.columns.length);
      if (item.tag === 'insert' || item.tag === 'update') {
        pairs.push([columnCount(item.after), widths.get(item.oid)]);
      }
    }
    expect(pairs.map(([width]) => width)).toEqual(pairs.map(([, width]) => width));
    expect(widths.size).toBeGreaterThan(5);
  });
});

describe('bytes that no PostgreSQL sent', () => {
  const valid = [
    ...cases.map(([, inStream, bytes]) => ({ inStream, bytes })),
    ...golden
      .filter(({ bytes }) => bytes.length < 2000)
      .map(({ bytes }) => ({ inStream: false, bytes })),
  ];
  const seed = fc.constantFrom(...valid);

  /** True for a message (which can be walked to its end) or a protocol-violation. */
  function decodesOrRefuses(bytes: Buffer, inStream: boolean): boolean {
    try {
      return plain(decodeMessage(bytes, inStream)) !== undefined;
    } catch (error) {
      if (error instanceof PipelineError) return error.kind === 'protocol-violation';
      throw error;
    }
  }

  /** Runs the property over many inputs; gives how it failed, if it did. */
  const failureOf = <T>(input: fc.Arbitrary<T>, holds: (value: T) => boolean) =>
    fc.check(fc.property(input, holds), { numRuns: 3000 });

  it('changed bytes decode or are refused by name', () => {
    const edits = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 6 });
    const result = failureOf(fc.tuple(seed, edits, fc.boolean()), ([start, changes, flip]) => {
      const bytes = Buffer.from(start.bytes);
      for (const [at, value] of changes) bytes[at % bytes.length] = value;
      return decodesOrRefuses(bytes, start.inStream !== flip);
    });
    expect(result).toHaveProperty('failed', false);
  });

  it('cut, doubled and spliced messages decode or are refused by name', () => {
    const pieces = fc.tuple(seed, seed, fc.nat(), fc.nat());
    const result = failureOf(pieces, ([left, right, cut, from]) => {
      const head = left.bytes.subarray(0, cut % (left.bytes.length + 1));
      const tail = right.bytes.subarray(from % (right.bytes.length + 1));
      return decodesOrRefuses(Buffer.concat([head, tail]), left.inStream);
    });
    expect(result).toHaveProperty('failed', false);
  });

  it('random bytes decode or are refused by name', () => {
    const input = fc.tuple(fc.uint8Array({ maxLength: 200 }), fc.boolean());
    const result = failureOf(input, ([bytes, inStream]) =>
      decodesOrRefuses(Buffer.from(bytes), inStream),
    );
    expect(result).toHaveProperty('failed', false);
  });
});
