import { afterAll, beforeAll, expect, it } from 'vitest';
import { openConfluentRegistry } from '../../log/confluent/confluent-registry.ts';
import type { RecordHeader } from '../../log/log.ts';
import { headerSeq } from '../../schemas/control.ts';
import { formatLsn } from '../../schemas/lsn.ts';
import type { TableVersion } from '../../schemas/table-schema.ts';
import { type History, runHistory } from '../conformance/sink-history.ts';
import {
  appendedPositions,
  lakeAndSource,
  type LogAndLake,
  openSharedLog,
  type SharedLog,
} from '../integration/run-sink-harness.ts';
import { FakeRegistry } from '../support/fake-registry.ts';

const config = {
  type: 'confluent',
  compatibility: 'keep',
  incompatible: 'evolve',
  tables: {},
  timeout: 1_000,
} as const;
const foreign = JSON.stringify({ type: 'record', name: 'Theirs', namespace: 'else', fields: [] });

let fake: FakeRegistry;
let shared: SharedLog;
let foreignId = 0;
beforeAll(async () => {
  fake = await FakeRegistry.start();
  fake.globalLevel = 'NONE';
  foreignId = fake.put('theirs', foreign);
  shared = await openSharedLog(
    await openConfluentRegistry({ config: { ...config, url: fake.url } }),
  );
});
afterAll(async () => {
  await shared[Symbol.asyncDispose]();
  await fake[Symbol.asyncDispose]();
});

/** Each insert a transaction of its own. */
const inserts = (count: number): History =>
  runHistory(
    Array.from({ length: count }, (_, index) => ({
      table: 'items',
      what: 'insert',
      pick: index,
      value: index,
      keepsToast: false,
      endsTransaction: index < count - 1,
    })),
  );

const cutOf = (history: History, index: number) => {
  const { cut, lsn } = history.cuts.at(index)!;
  return { cut, lsn: formatLsn(lsn) };
};

const framed = (id: number, body: Buffer = Buffer.alloc(0), magic = 0): Buffer => {
  const frame = Buffer.alloc(5);
  frame.writeUInt8(magic);
  frame.writeInt32BE(id, 1);
  return Buffer.concat([frame, body]);
};

interface BadRecord {
  readonly key?: Buffer | null;
  readonly value: Buffer | null;
  readonly hasPosition?: boolean;
  /** The last digit of its position: a delete's tombstone has 1. */
  readonly part?: number;
}

type MakeBad = (version: TableVersion, good: Buffer) => BadRecord;

/** Two good records with a bad one between them, which the sink is then given. */
async function setUp(makeBad: MakeBad) {
  const opened = await shared.fresh();
  const { changeLog } = opened;
  const history = inserts(2);
  const [before, after] = history.changes;
  await changeLog.write([before!]);
  const version = [...changeLog.versions.values()][0]!;
  const { records, partition } = await lastOf(opened);
  const good = records.at(-1)!;
  const bad = { key: good.key, hasPosition: true, ...makeBad(version, good.value!) };
  const seq = `${before!.seq.slice(0, -10)}0000FFFF/${bad.part ?? 0}`;
  const headers: RecordHeader[] = bad.hasPosition ? [[headerSeq, Buffer.from(seq)]] : [];
  const place = { topic: changeLog.topicOf('items'), partition };
  const { key, value } = bad;
  await changeLog.append([{ ...place, records: [{ key, value, headers, timestampMs: 1 }] }]);
  await changeLog.write([after!]);
  await changeLog.watermark(cutOf(history, -1));
  return { ...opened, history, place, offset: good.offset + 1, seq: bad.hasPosition ? seq : null };
}

/** The partition of `items` that holds something. */
async function lastOf({ changeLog }: LogAndLake) {
  const { log } = changeLog;
  const topic = changeLog.topicOf('items');
  const ranges = (await log.ranges([topic])).get(topic) ?? [];
  const partition = ranges.findIndex(({ end }) => end > 0);
  const records = await log.read({ topic, partition, offset: 0 }, { bytesMax: 1 << 20, waitMs: 0 });
  return { records, partition };
}

function expectTheRest({ lake }: LogAndLake, history: History): void {
  const state = lakeAndSource(lake, history, history.cuts.length - 1);
  expect(state.lake).toEqual(state.source);
  expect(appendedPositions(lake)).toEqual(history.changes.map(({ seq }) => seq));
}

it.each<[string, MakeBad, string | RegExp]>([
  [
    'JSON in place of a frame',
    () => ({ value: Buffer.from('{"id": 1}') }),
    '9 bytes have no Confluent frame',
  ],
  [
    'another magic byte',
    ({ valueSchemaId: id }, good) => ({ value: framed(id, good.subarray(5), 1) }),
    /bytes have no Confluent frame/,
  ],
  ['a frame cut short', () => ({ value: Buffer.alloc(4) }), '4 bytes have no Confluent frame'],
  ['no bytes', () => ({ value: Buffer.alloc(0) }), '0 bytes have no Confluent frame'],
  [
    'an id that the registry does not have',
    () => ({ value: framed(4711) }),
    'its schema id 4711 is not in the registry',
  ],
  ['a negative id', () => ({ value: framed(-2) }), 'its schema id -2 is not in the registry'],
  [
    'the schema of another program',
    () => ({ value: framed(foreignId) }),
    /its schema id \d+ is else.Theirs, which is not the table's/,
  ],
  ['a body cut short', (_version, good) => ({ value: good.subarray(0, -3) }), /./],
  [
    'bytes behind the body',
    (_version, good) => ({ value: Buffer.concat([good, Buffer.alloc(2)]) }),
    '2 bytes follow the Avro value',
  ],
  [
    'no key',
    (_version, good) => ({ value: good, key: null }),
    'it has no key, but its table has one',
  ],
  [
    'a key without a frame',
    (_version, good) => ({ value: good, key: Buffer.from('1') }),
    '1 bytes have no Confluent frame',
  ],
  [
    'a key of another schema',
    (_version, good) => ({ value: good, key: framed(4711) }),
    /its key has schema id 4711, not \d+/,
  ],
  [
    'no position',
    (_version, good) => ({ value: good, hasPosition: false }),
    'the record has no tributary.seq header',
  ],
  [
    'a tombstone without a position',
    () => ({ value: null, hasPosition: false }),
    'the record has no tributary.seq header',
  ],
])(
  '%s is a dead letter with its place and the reason; the rest goes on',
  async (_name, makeBad, reason) => {
    const scene = await setUp(makeBad);
    await scene.loadUpTo(cutOf(scene.history, -1).cut);
    expectTheRest(scene, scene.history);
    const { place, offset, seq } = scene;
    expect(scene.lake.content.deadLetters).toEqual([
      expect.objectContaining({ ...place, offset, seq, reason: expect.stringMatching(reason) }),
    ]);
  },
);

it('a tombstone that is of no delete changes nothing', async () => {
  const scene = await setUp(() => ({ value: null }));
  await scene.loadUpTo(cutOf(scene.history, -1).cut);
  expectTheRest(scene, scene.history);
  expect(scene.lake.content.deadLetters).toEqual([]);
});

it('a tombstone whose delete was compacted away takes the row away', async () => {
  const scene = await setUp(() => ({ value: null, part: 1 }));
  await scene.loadUpTo(cutOf(scene.history, -1).cut);
  const { lake, source } = lakeAndSource(scene.lake, scene.history, scene.history.cuts.length - 1);
  expect(source[0]).toHaveLength(2);
  expect(lake[0]).toHaveLength(1);
  expect(source[0]).toContain(lake[0]![0]);
  expect(scene.lake.content.deadLetters).toEqual([]);
});

it('an unknown id waits while the registry is away, and is a dead letter once that says so', async () => {
  const scene = await setUp(() => ({ value: framed(4712) }));
  await fake.down();
  const retried: string[] = [];
  const loading = scene.loadUpTo(cutOf(scene.history, -1).cut, {
    limits: { firstRetryMs: 10, longestRetryMs: 50 },
    observer: {
      onRetry: ({ kind }) => {
        retried.push(kind);
        if (retried.length === 3) void fake.up();
      },
    },
  });
  await loading;
  expect(new Set(retried)).toEqual(new Set(['registry-unreachable']));
  expectTheRest(scene, scene.history);
  expect(scene.lake.content.deadLetters).toMatchObject([
    { reason: 'its schema id 4712 is not in the registry' },
  ]);
});

it('a registry that lost the schema of a table, or has another one in its place, ends the sink', async () => {
  const scene = await setUp(() => ({ value: null }));
  const version = [...scene.changeLog.versions.values()][0]!;
  const anew = () => openConfluentRegistry({ config: { ...config, url: fake.url } });
  const { cut } = cutOf(scene.history, -1);
  const text = fake.texts.get(version.valueSchemaId)!;
  fake.texts.delete(version.valueSchemaId);
  await expect(scene.loadUpTo(cut, { registry: await anew() })).rejects.toMatchObject({
    kind: 'schema-unknown',
    message: expect.stringContaining(`schema ${version.valueSchemaId} is not in the registry`),
  });
  fake.texts.set(version.valueSchemaId, foreign);
  await expect(scene.loadUpTo(cut, { registry: await anew() })).rejects.toMatchObject({
    kind: 'schema-unknown',
    message: expect.stringMatching(/on the log, but else\.Theirs in the registry/),
  });
  expect(appendedPositions(scene.lake)).toEqual([]);
  fake.texts.set(version.valueSchemaId, text);
  await scene.loadUpTo(cut, { registry: await anew() });
  expectTheRest(scene, scene.history);
});
