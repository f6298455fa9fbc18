import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Log, LogRecord, ReadLimits, StoredRecord, TopicPartition } from '../../log/log.ts';
import { LogProcess } from '../support/log-process.ts';

/** A log driver under test. */
export interface LogSuite {
  readonly name: string;
  /** Module that exports `openLog(place): Promise<Log>`; other processes load it too. */
  readonly opener: URL;
  /** Makes room for one empty log. */
  readonly create: () => Promise<LogPlace>;
  /** What the driver cannot do, with the reason. */
  readonly skip?: readonly { readonly reason: string; readonly tests: readonly string[] }[];
}

export interface LogPlace {
  /** What `openLog` is given. */
  readonly place: string;
  remove(): Promise<void>;
}

interface Claim {
  readonly title: string;
  readonly body: () => Promise<void>;
  /** Why the driver cannot keep it. */
  readonly reason: string | undefined;
}

const topic = 'app.public.orders';
const limits: ReadLimits = { bytesMax: 16 * 1024 * 1024, waitMs: 5_000 };
const atOnce: ReadLimits = { ...limits, waitMs: 0 };
const killRounds = 6;

/** What every log promises; see log/log.ts. */
export function runLogSuite(suite: LogSuite): void {
  const context = new LogContext(suite);
  addAppendingClaims(context);
  addReadingClaims(context);
  addWaitingClaims(context);
  addTopicClaims(context);
  addProcessClaims(context);

  describe(`${suite.name} log`, () => {
    beforeEach(() => context.begin());
    afterEach(() => context.end());

    const named = context.claims.map((claim) => [claim.title, claim] as const);
    it.for(named)('%s', async ([, { body, reason }], { skip }) => {
      skip(reason !== undefined, reason);
      expect.hasAssertions();
      await body();
    });
  });
}

function addAppendingClaims(context: LogContext): void {
  context.claim('numbers the records of a partition from 0, in the order of appends', async () => {
    const log = await context.openWith(2);
    const first = await log.append([
      { topic, partition: 1, records: texts('a', 'b') },
      { topic, partition: 0, records: texts('c') },
    ]);
    const second = await log.append([{ topic, partition: 1, records: texts('d') }]);
    expect(sorted(first)).toEqual([
      { topic, partition: 0, end: 1 },
      { topic, partition: 1, end: 2 },
    ]);
    expect(second).toEqual([{ topic, partition: 1, end: 3 }]);
    const read = await readAll(log, { topic, partition: 1 });
    expect(read.map(({ offset, value }) => [offset, String(value)])).toEqual([
      [0, 'a'],
      [1, 'b'],
      [2, 'd'],
    ]);
  });

  context.claim('gives back nulls, empty bytes, headers and 10 MB as they were', async () => {
    const log = await context.openWith(1);
    const large = Buffer.alloc(10_000_000, 'tributary ');
    const records: LogRecord[] = [
      { key: null, value: null, headers: [], timestampMs: 0 },
      { key: Buffer.alloc(0), value: Buffer.alloc(0), headers: [], timestampMs: 1 },
      { key: Buffer.from('k'), value: large, headers: [], timestampMs: 1_700_000_000_123 },
      {
        key: Buffer.from([0, 255, 128]),
        value: Buffer.from('ü'),
        headers: [
          ['one', Buffer.from('1')],
          ['one', Buffer.alloc(0)],
          ['größe', Buffer.from([0])],
        ],
        timestampMs: 1_700_000_000_000,
      },
    ];
    await log.append([{ topic, partition: 0, records }]);
    const read = await readAll(log, { topic, partition: 0 });
    expect(read).toHaveLength(records.length);
    expect(read[2]?.value?.equals(large)).toBe(true);
    const small = (list: readonly LogRecord[]) => list.filter(({ value }) => value !== large);
    const expected = records.map((record, offset) => ({ ...record, offset }));
    expect(small(read.toSpliced(2, 1))).toEqual(small(expected.toSpliced(2, 1)));
  });

  context.claim('takes overlapping appends in the order of the calls', async () => {
    const log = await context.openWith(1);
    const numbers = Array.from({ length: 200 }, (_, index) => String(index));
    const appends = numbers.map((number) =>
      log.append([{ topic, partition: 0, records: texts(number) }]),
    );
    const ends = await Promise.all(appends);
    expect(ends.map(([end]) => end?.end)).toEqual(numbers.map((number) => Number(number) + 1));
    const read = await readAll(log, { topic, partition: 0 });
    expect(read.map(({ value }) => String(value))).toEqual(numbers);
  });

  context.claim('accepts nothing after a failed append', async () => {
    const log = await context.openWith(1);
    const settled = await Promise.allSettled([
      log.append([{ topic, partition: 0, records: texts('before') }]),
      log.append([{ topic, partition: 7, records: texts('nowhere') }]),
      log.append([{ topic, partition: 0, records: texts('after') }]),
    ]);
    expect(settled.slice(1).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    await expect(
      log.append([{ topic, partition: 0, records: texts('later') }]),
    ).rejects.toHaveProperty('name', 'PipelineError');
    const again = await context.open();
    await again.append([{ topic, partition: 0, records: texts('resumed') }]);
    const values = (await readAll(again, { topic, partition: 0 })).map(({ value }) =>
      String(value),
    );
    // The first append may or may not have been written; nothing that came after the failure was.
    const accepted = settled[0]?.status === 'fulfilled' ? ['before', 'resumed'] : ['resumed'];
    expect(values).toEqual(accepted);
  });
}

function addReadingClaims(context: LogContext): void {
  context.claim('reads on from any offset', async () => {
    const log = await context.openWith(1);
    await log.append([{ topic, partition: 0, records: texts('a', 'b', 'c') }]);
    await log.append([{ topic, partition: 0, records: texts('d', 'e') }]);
    for (const offset of [0, 1, 2, 3, 4]) {
      const read = await readAll(log, { topic, partition: 0 }, offset);
      expect(read.map(({ value }) => String(value))).toEqual('abcde'.slice(offset).split(''));
    }
  });

  context.claim('stops near its limit of bytes, and gives at least one record', async () => {
    const log = await context.openWith(1);
    for (let round = 0; round < 8; round += 1) {
      const records = [{ ...texts('x')[0]!, value: Buffer.alloc(100_000, round) }];
      await log.append([{ topic, partition: 0, records }]);
    }
    const from = { topic, partition: 0, offset: 0 };
    const few = await log.read(from, { ...limits, bytesMax: 250_000 });
    expect(few.length).toBeGreaterThanOrEqual(1);
    expect(few.length).toBeLessThan(8);
    expect((await log.read(from, { ...limits, bytesMax: 1 })).length).toBeGreaterThanOrEqual(1);
  });

  context.claim('gives the last record of a partition, and none of an empty one', async () => {
    const log = await context.openWith(2);
    expect(await log.lastRecord({ topic, partition: 0 })).toBeUndefined();
    expect(await log.lastRecord({ topic: 'unknown', partition: 0 })).toBeUndefined();
    await log.append([{ topic, partition: 0, records: texts('a', 'b') }]);
    await log.append([{ topic, partition: 0, records: texts('c', 'd', 'e') }]);
    const last = await log.lastRecord({ topic, partition: 0 });
    expect([last?.offset, String(last?.value)]).toEqual([4, 'e']);
    expect(await log.lastRecord({ topic, partition: 1 })).toBeUndefined();
  });

  context.claim('lists the range of every partition, of all topics or the named ones', async () => {
    const log = await context.openWith(2);
    await log.createTopics([{ topic: 'second', partitions: 1, compacted: false }]);
    await log.append([{ topic, partition: 1, records: texts('a', 'b') }]);
    const empty = { start: 0, end: 0 };
    const ranges = await log.ranges();
    expect(ranges.get(topic)).toEqual([empty, { start: 0, end: 2 }]);
    expect(ranges.get('second')).toEqual([empty]);
    const named = await log.ranges(['second', 'unknown']);
    expect([...named]).toEqual([['second', [empty]]]);
  });

  context.claim(
    'refuses an offset above the end: the log is not the one that was read',
    async () => {
      const log = await context.openWith(1);
      await log.append([{ topic, partition: 0, records: texts('a') }]);
      await expect(log.read({ topic, partition: 0, offset: 2 }, limits)).rejects.toMatchObject({
        kind: 'log-corrupt',
      });
    },
  );
}

function addWaitingClaims(context: LogContext): void {
  const from = { topic, partition: 0, offset: 0 };

  context.claim('wakes a waiting reader when records come', async () => {
    const log = await context.openWith(1);
    const other = await context.open();
    const waiting = [log.read(from, limits), other.read(from, limits)];
    await log.append([{ topic, partition: 0, records: texts('news') }]);
    const read = await Promise.all(waiting);
    expect(read.map(([record]) => String(record?.value))).toEqual(['news', 'news']);
  });

  context.claim('wakes a reader that waits for a topic that another process creates', async () => {
    const log = await context.open();
    const waiting = log.read(from, limits);
    const other = await context.openWith(1);
    await other.append([{ topic, partition: 0, records: texts('first') }]);
    expect((await waiting).map(({ value }) => String(value))).toEqual(['first']);
  });

  context.claim('ends a waiting read empty when its time is over', async () => {
    const log = await context.openWith(1);
    const started = performance.now();
    expect(await log.read(from, { ...limits, waitMs: 80 })).toEqual([]);
    expect(performance.now() - started).toBeGreaterThanOrEqual(75);
  });

  context.claim('ends a waiting read empty when its signal aborts', async () => {
    const log = await context.openWith(1);
    const abort = new AbortController();
    const waiting = log.read(from, { ...limits, waitMs: 60_000, signal: abort.signal });
    abort.abort();
    expect(await waiting).toEqual([]);
    expect(await log.read(from, { ...limits, signal: abort.signal })).toEqual([]);
  });

  context.claim('ends a waiting read when the log is closed', async () => {
    const log = await context.openWith(1);
    const waiting = log.read(from, { ...limits, waitMs: 60_000 });
    await log.close();
    expect(await waiting).toEqual([]);
    await expect(log.append([])).rejects.toHaveProperty('name', 'PipelineError');
  });
}

function addTopicClaims(context: LogContext): void {
  context.claim('creates a topic once, however often it is asked for', async () => {
    const log = await context.openWith(2);
    await log.append([{ topic, partition: 1, records: texts('a') }]);
    await log.createTopics([{ topic, partitions: 2, compacted: false }]);
    expect((await log.ranges([topic])).get(topic)).toEqual([
      { start: 0, end: 0 },
      { start: 0, end: 1 },
    ]);
  });

  context.claim('refuses another number of partitions, and goes on', async () => {
    const log = await context.openWith(2);
    await expect(
      log.createTopics([{ topic, partitions: 3, compacted: false }]),
    ).rejects.toMatchObject({ kind: 'log-conflict' });
    await log.append([{ topic, partition: 1, records: texts('a') }]);
    expect((await log.ranges([topic])).get(topic)).toHaveLength(2);
  });

  context.claim('keeps the newest record of each key of a compacted topic', async () => {
    const log = await context.open();
    await log.createTopics([{ topic, partitions: 1, compacted: true }]);
    const record = (key: string, value: string): LogRecord => ({
      ...texts(value)[0]!,
      key: Buffer.from(key),
    });
    await log.append([{ topic, partition: 0, records: [record('rare', '0')] }]);
    for (let round = 0; round < 700; round += 1) {
      const records = [record('capture', String(round)), record(`k${round % 3}`, String(round))];
      await log.append([{ topic, partition: 0, records }]);
    }
    const newest = new Map<string, string>();
    for (const { key, value } of await readAll(log, { topic, partition: 0 })) {
      newest.set(String(key), String(value));
    }
    expect(Object.fromEntries(newest)).toEqual({
      rare: '0',
      capture: '699',
      k0: '699',
      k1: '697',
      k2: '698',
    });
    expect((await log.lastRecord({ topic, partition: 0 }))?.offset).toBe(1400);
    expect((await log.ranges([topic])).get(topic)?.[0]?.end).toBe(1401);
  });
}

function addProcessClaims(context: LogContext): void {
  context.claim('keeps every acknowledged record, whole and in order, across kill -9', async () => {
    const log = await context.openWith(2);
    await log.close();
    let acknowledged: readonly number[] = [0, 0];
    for (let round = 0; round < killRounds; round += 1) {
      await using child = context.process('append');
      await child.printed(2 + Math.floor(Math.random() * 60));
      await child.kill();
      acknowledged = lastEnds(child.lines, acknowledged);
      const reopened = await context.open();
      for (const partition of [0, 1]) {
        const records = await readAll(reopened, { topic, partition });
        expect(records.length).toBeGreaterThanOrEqual(acknowledged[partition]!);
        expect(records.map(ownOffset)).toEqual(records.map(({ offset }) => offset));
        expect(tornBatches(records)).toEqual([]);
      }
      await reopened.close();
    }
    expect(Math.min(...acknowledged)).toBeGreaterThan(0);
  });

  context.claim('shows readers in other processes whole batches, and every one', async () => {
    const batchRecords = 50;
    const appends = 150;
    const until = batchRecords * appends;
    const log = await context.openWith(1);
    await using left = context.process('read', until);
    await using right = context.process('read', until);
    await Promise.all([left.printed(1), right.printed(1)]);
    for (let number = 0; number < appends; number += 1) {
      const records = texts(...Array.from({ length: batchRecords }, (_, index) => String(index)));
      await log.append([{ topic, partition: 0, records }]);
    }
    await Promise.all([left.ended(), right.ended()]);
    for (const { lines } of [left, right]) {
      const seen = lines.slice(1).map(Number);
      expect(seen.at(-1)).toBe(until);
      expect(seen.length).toBeGreaterThan(1);
      expect(seen.filter((end) => end % batchRecords !== 0)).toEqual([]);
    }
  });
}

/** One empty log a test; closes what the test opened and removes it. */
class LogContext {
  readonly claims: Claim[] = [];
  readonly #suite: LogSuite;
  #place: LogPlace | undefined;
  #logs: Log[] = [];

  constructor(suite: LogSuite) {
    this.#suite = suite;
  }

  async begin(): Promise<void> {
    this.#place = await this.#suite.create();
    this.#logs = [];
  }

  async end(): Promise<void> {
    for (const log of this.#logs) await log.close();
    await this.#place?.remove();
  }

  claim(title: string, body: () => Promise<void>): void {
    const gap = this.#suite.skip?.find(({ tests }) => tests.includes(title));
    this.claims.push({ title, body, reason: gap?.reason });
  }

  async open(): Promise<Log> {
    const { openLog } = (await import(this.#suite.opener.href)) as {
      openLog: (place: string) => Promise<Log>;
    };
    const log = await openLog(this.#place?.place ?? '');
    this.#logs.push(log);
    return log;
  }

  /** A log with the topic of the tests. */
  async openWith(partitions: number): Promise<Log> {
    const log = await this.open();
    await log.createTopics([{ topic, partitions, compacted: false }]);
    return log;
  }

  process(role: 'append' | 'read', until = 0): LogProcess {
    const place = this.#place?.place ?? '';
    return new LogProcess({ role, opener: this.#suite.opener, place, topic, until });
  }
}

function texts(...values: string[]): LogRecord[] {
  return values.map((value) => ({
    key: Buffer.from(`key of ${value}`),
    value: Buffer.from(value),
    headers: [['note', Buffer.from(value)]],
    timestampMs: 1_700_000_000_000,
  }));
}

/** Everything from an offset to the end, in as many reads as it takes. */
async function readAll(log: Log, place: TopicPartition, from = 0): Promise<StoredRecord[]> {
  const records: StoredRecord[] = [];
  let offset = from;
  for (;;) {
    const read = await log.read({ ...place, offset }, atOnce);
    if (read.length === 0) return records;
    records.push(...read);
    offset = read.at(-1)!.offset + 1;
  }
}

const sorted = <T extends TopicPartition>(ends: readonly T[]): T[] =>
  ends.toSorted((left, right) => left.partition - right.partition);

/** The newest "partition end" lines that a process printed. */
function lastEnds(lines: readonly string[], before: readonly number[]): number[] {
  const ends = [...before];
  for (const line of lines) {
    const [partition = -1, end = -1] = line.split(' ').map(Number);
    ends[partition] = Math.max(ends[partition] ?? 0, end);
  }
  return ends;
}

const ownOffset = ({ value }: StoredRecord): number => Number.parseInt(String(value), 10);

/** Places "index/count" that do not follow one another as whole batches do. */
function tornBatches(records: readonly StoredRecord[]): string[] {
  const places = records.map(({ headers }) => String(headers[0]?.[1]));
  return places.filter((place, at) => {
    const [index = -1, count = -1] = place.split('/').map(Number);
    const isLast = index === count - 1;
    const follows = isLast ? '0/' : `${index + 1}/${count}`;
    const next = places[at + 1];
    return next === undefined ? !isLast : !next.startsWith(follows);
  });
}
