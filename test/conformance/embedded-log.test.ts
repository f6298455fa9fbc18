import { copyFile, mkdtemp, open, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { isDeepStrictEqual } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openEmbeddedLog } from '../../log/embedded/embedded-log.ts';
import { openEmbeddedRegistry } from '../../log/embedded/embedded-registry.ts';
import type { Log, LogRecord, StoredRecord } from '../../log/log.ts';
import { PipelineError } from '../../runtime/errors.ts';
import { LogProcess } from '../support/log-process.ts';
import { runLogSuite } from './log-suite.ts';

const opener = new URL('../support/embedded-log-opener.ts', import.meta.url);
const topic = 'app.public.orders';
const mebibyte = 1024 * 1024;

runLogSuite({
  name: 'embedded',
  opener,
  create: async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tributary-log-'));
    return {
      place: join(folder, 'log.db'),
      remove: () => rm(folder, { recursive: true, force: true }),
    };
  },
});

let folder = '';
let path = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tributary-log-'));
  path = join(folder, 'log.db');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const record = (text: string, timestampMs = 1_700_000_000_000): LogRecord => ({
  key: Buffer.from(text),
  value: Buffer.from(text.repeat(20)),
  headers: [],
  timestampMs,
});

const createTopic = (log: Log, partitions = 1) =>
  log.createTopics([{ topic, partitions, compacted: false }]);

const appendTo = (log: Log, partition: number, ...records: LogRecord[]) =>
  log.append([{ topic, partition, records }]);

async function readAll(log: Log, partition = 0, from = 0): Promise<StoredRecord[]> {
  const records: StoredRecord[] = [];
  let offset = from;
  for (;;) {
    const read = await log.read({ topic, partition, offset }, { bytesMax: mebibyte, waitMs: 0 });
    if (read.length === 0) return records;
    records.push(...read);
    offset = (read.at(-1)?.offset ?? 0) + 1;
  }
}

/** A closed log of 2 partitions with 40 batches each. */
async function writeSample(): Promise<void> {
  const log = await openEmbeddedLog({ path });
  await createTopic(log, 2);
  for (let batch = 0; batch < 40; batch += 1) {
    const records = [0, 1, 2].map((index) => record(`needle ${batch}.${index} `));
    await log.append([0, 1].map((partition) => ({ topic, partition, records })));
  }
  await log.close();
}

async function flipByte(file: string, at: number): Promise<void> {
  const handle = await open(file, 'r+');
  const byte = Buffer.alloc(1);
  await handle.read(byte, 0, 1, at);
  await handle.write(Buffer.of((byte[0] ?? 0) ^ 0x10), 0, 1, at);
  await handle.close();
}

/** What a reader sees of both partitions, or the kind of error that it meets. */
async function contentOf(file: string): Promise<unknown> {
  let log: Log | undefined;
  try {
    log = await openEmbeddedLog({ path: file, readOnly: true });
    return [await readAll(log, 0), await readAll(log, 1)];
  } catch (error) {
    if (error instanceof PipelineError) return error.kind;
    throw error;
  } finally {
    await log?.close();
  }
}

describe('a damaged file', () => {
  it('is refused with topic, partition and offset when a batch has changed', async () => {
    await writeSample();
    await flipByte(path, (await readFile(path)).indexOf('needle 20.1 '));
    const log = await openEmbeddedLog({ path });
    const read = [readAll(log, 0, 60), readAll(log, 1, 60)];
    const failed = (await Promise.allSettled(read)).filter(({ status }) => status === 'rejected');
    expect(failed).toHaveLength(1);
    expect(failed[0]).toMatchObject({
      reason: {
        kind: 'log-corrupt',
        message: expect.stringMatching(/offset 60 of partition [01] of topic app\.public\.orders/),
      },
    });
    await log.close();
  });

  it('is refused, or reads as it was written, wherever a byte has changed', async () => {
    await writeSample();
    const pristine = await contentOf(path);
    const { size } = await stat(path);
    const damaged = join(folder, 'damaged.db');
    const silent: number[] = [];
    for (let step = 0; step < 120; step += 1) {
      const at = Math.floor(Math.random() * size);
      await copyFile(path, damaged);
      await flipByte(damaged, at);
      const content = await contentOf(damaged);
      if (content !== 'log-corrupt' && !isDeepStrictEqual(content, pristine)) silent.push(at);
    }
    expect(silent).toEqual([]);
  });

  it.each([0.1, 0.5, 0.95])('is refused when cut to %d of its length', async (share) => {
    await writeSample();
    await truncate(path, Math.floor((await stat(path)).size * share));
    expect(await contentOf(path)).toBe('log-corrupt');
  });

  it('is not written to when pages are missing', async () => {
    await writeSample();
    await truncate(path, Math.floor((await stat(path)).size / 2));
    await expect(openEmbeddedLog({ path })).rejects.toMatchObject({ kind: 'log-corrupt' });
  });

  it('holds a whole number of batches after its write-ahead file was torn', async () => {
    const log = await openEmbeddedLog({ path });
    await createTopic(log, 1);
    await using child = new LogProcess({ role: 'append', opener, place: path, topic });
    await child.printed(100);
    await child.kill();
    await log.close();
    const wal = `${path}-wal`;
    const { size } = await stat(wal).catch(() => ({ size: 0 }));
    if (size > 10_000) await truncate(wal, size - 5_000);
    const reopened = await openEmbeddedLog({ path });
    const records = await readAll(reopened);
    const places = records.map(({ headers }) => String(headers[0]?.[1]).split('/').map(Number));
    expect(records.map(({ value }) => Number.parseInt(String(value), 10))).toEqual([
      ...records.keys(),
    ]);
    expect(places.at(-1)?.[0]).toBe((places.at(-1)?.[1] ?? 0) - 1);
    await appendTo(reopened, 0, record('goes on'));
    await reopened.close();
  });

  it('is refused when it is something else, which stays as it is', async () => {
    await writeFile(path, 'plain text, certainly no database. '.repeat(100));
    await expect(openEmbeddedLog({ path })).rejects.toMatchObject({ kind: 'log-corrupt' });
    const foreign = join(folder, 'foreign.db');
    const database = new DatabaseSync(foreign);
    database.exec(/* sql */ `create table accounts (id integer)`);
    database.close();
    const before = await readFile(foreign);
    await expect(openEmbeddedLog({ path: foreign })).rejects.toThrow(/not a log of Tributary/);
    expect(await readFile(foreign)).toEqual(before);
  });
});

describe('the queue to the disk', () => {
  it('lets appends wait when it is full, keeps their order, and is emptied by close', async () => {
    const log = await openEmbeddedLog({ path, queueBytesMax: 1 });
    await createTopic(log);
    const numbers = Array.from({ length: 60 }, (_, index) => String(index));
    const appends = numbers.map((number) => appendTo(log, 0, record(number)));
    await log.close();
    const ends = await Promise.all(appends);
    expect(ends.map(([end]) => end?.end)).toEqual(numbers.map((number) => Number(number) + 1));
    const again = await openEmbeddedLog({ path, readOnly: true });
    expect((await readAll(again)).map(({ key }) => String(key))).toEqual(numbers);
    await again.close();
  });
});

describe('several writers', () => {
  it('the one that comes second to a partition is refused, the first goes on', async () => {
    const first = await openEmbeddedLog({ path });
    await createTopic(first, 2);
    const second = await openEmbeddedLog({ path });
    await appendTo(first, 0, record('a'));
    await expect(appendTo(second, 0, record('b'))).rejects.toMatchObject({ kind: 'log-conflict' });
    await expect(appendTo(second, 1, record('b'))).rejects.toMatchObject({ kind: 'log-conflict' });
    await appendTo(first, 0, record('c'));
    expect((await readAll(first)).map(({ key }) => String(key))).toEqual(['a', 'c']);
    await first.close();
    await second.close();
  });

  it('another process that took the offsets is noticed', async () => {
    const log = await openEmbeddedLog({ path });
    await createTopic(log);
    await using child = new LogProcess({ role: 'append', opener, place: path, topic });
    await child.printed(3);
    await expect(appendTo(log, 0, record('late'))).rejects.toMatchObject({ kind: 'log-conflict' });
    const printed = child.lines.length;
    await child.printed(printed + 3);
    await child.kill();
    expect((await readAll(log)).map(({ key }) => String(key))).not.toContain('late');
    await log.close();
  });

  it('may write to different topics, and create one file at the same time', async () => {
    const logs = await Promise.all([0, 1, 2, 3].map(() => openEmbeddedLog({ path })));
    const topics = logs.map((_, index) => `topic ${index}`);
    await Promise.all(
      logs.map((log, index) =>
        log.createTopics([{ topic: topics[index] ?? '', partitions: 1, compacted: false }]),
      ),
    );
    for (let round = 0; round < 20; round += 1) {
      await Promise.all(
        logs.map((log, index) =>
          log.append([{ topic: topics[index] ?? '', partition: 0, records: [record('x')] }]),
        ),
      );
    }
    const ranges = await logs[0]?.ranges();
    expect(ranges && [...ranges.values()]).toEqual(topics.map(() => [{ start: 0, end: 20 }]));
    await Promise.all(logs.map((log) => log.close()));
  });
});

describe('a log opened for reading only', () => {
  it('reads, and refuses to write', async () => {
    await writeSample();
    const log = await openEmbeddedLog({ path, readOnly: true });
    expect(await readAll(log)).toHaveLength(120);
    await expect(appendTo(log, 0, record('a'))).rejects.toMatchObject({ kind: 'log-unwritable' });
    await expect(createTopic(log)).rejects.toMatchObject({ kind: 'log-unwritable' });
    await log.close();
  });

  it('takes a file that its writer has made and not filled yet for one that does not exist', async () => {
    const database = new DatabaseSync(path);
    database.exec('pragma journal_mode = wal');
    await expect(openEmbeddedLog({ path, readOnly: true })).rejects.toMatchObject({
      kind: 'log-unwritable',
    });
    database.close();
  });

  it('says that the file does not exist yet', async () => {
    await expect(openEmbeddedLog({ path, readOnly: true })).rejects.toThrow(/does not exist yet/);
  });
});

describe('what is kept', () => {
  const batchOf = (round: number, timestampMs?: number) =>
    Array.from({ length: 10 }, (_, index) => ({
      ...record(`${round}.${index}`, timestampMs),
      value: Buffer.alloc(10_000, round),
    }));

  async function startOf(log: Log, partition = 0): Promise<number> {
    return (await log.ranges([topic])).get(topic)?.[partition]?.start ?? 0;
  }

  it('stays near the limit of bytes, and loses only from the start', async () => {
    const log = await openEmbeddedLog({ path, retention: { bytes: 2 * mebibyte } });
    await createTopic(log, 2);
    for (let round = 0; round < 100; round += 1) await appendTo(log, round % 2, ...batchOf(round));
    await expect.poll(() => startOf(log)).toBeGreaterThan(350);
    const start = await startOf(log);
    await expect(readAll(log)).rejects.toMatchObject({ kind: 'log-corrupt' });
    const from = { topic, partition: 0, offset: 0 };
    const [oldest] = await log.read(from, { bytesMax: 1, waitMs: 0, allowTruncated: true });
    expect(oldest?.offset).toBe(start);
    const kept = await readAll(log, 0, start);
    expect(kept.map(({ offset }) => offset)).toEqual(
      Array.from({ length: 500 - start }, (_, index) => start + index),
    );
    expect(kept.length).toBeLessThan(150);
    await log.close();
  });

  it('drops what is older than the limit of age, but never the last batch', async () => {
    const old = Date.now() - 10_000_000;
    const log = await openEmbeddedLog({ path });
    await createTopic(log, 2);
    for (const partition of [0, 1]) {
      await appendTo(log, partition, ...batchOf(1, old));
      await appendTo(log, partition, ...batchOf(2, old));
    }
    await log.close();
    const reopened = await openEmbeddedLog({ path, retention: { ageMs: 3_600_000 } });
    await appendTo(reopened, 0, record('fresh', Date.now()));
    await expect.poll(() => startOf(reopened, 0)).toBe(20);
    expect(await startOf(reopened, 1)).toBe(10);
    expect((await reopened.lastRecord({ topic, partition: 1 }))?.offset).toBe(19);
    await reopened.close();
  });

  it('of a compacted topic is little, and retention does not touch it', async () => {
    const log = await openEmbeddedLog({ path, retention: { bytes: 1, ageMs: 1 } });
    await log.createTopics([{ topic, partitions: 1, compacted: true }]);
    for (let round = 0; round < 600; round += 1) await appendTo(log, 0, record('capture'));
    await appendTo(log, 0, record('other'));
    expect((await readAll(log)).length).toBeLessThan(300);
    expect((await readAll(log)).map(({ key }) => String(key)).slice(-2)).toEqual([
      'capture',
      'other',
    ]);
    expect(await startOf(log)).toBe(0);
    await log.close();
  });

  it('leaves the write-ahead file small, while others read', async () => {
    const log = await openEmbeddedLog({ path });
    await createTopic(log);
    const abort = new AbortController();
    const reading = readEndlessly(abort.signal);
    for (let round = 0; round < 100; round += 1) {
      await appendTo(log, 0, { ...record('a'), value: Buffer.alloc(mebibyte, round) });
    }
    expect((await stat(`${path}-wal`)).size).toBeLessThan(64 * mebibyte);
    abort.abort();
    expect(await reading).toBeGreaterThan(0);
    await log.close();
  });

  async function readEndlessly(signal: AbortSignal): Promise<number> {
    const log = await openEmbeddedLog({ path, readOnly: true });
    let offset = 0;
    while (!signal.aborted) {
      const limits = { bytesMax: mebibyte, waitMs: 1_000, signal };
      offset += (await log.read({ topic, partition: 0, offset }, limits)).length;
    }
    await log.close();
    return offset;
  }
});

describe('the embedded registry', () => {
  it('gives the same text the same id, under every subject and in every process', async () => {
    const left = await openEmbeddedRegistry({ path });
    const right = await openEmbeddedRegistry({ path });
    const id = await left.register('a-value', '{"type":"string"}');
    expect(await right.register('b-value', '{"type":"string"}')).toBe(id);
    const other = await right.register('a-value', '{"type":"long"}');
    expect(other).not.toBe(id);
    expect(await left.schemaText(other)).toBe('{"type":"long"}');
    await left.close();
    await right.close();
    const again = await openEmbeddedRegistry({ path });
    expect(await again.register('c-value', '{"type":"long"}')).toBe(other);
    await again.close();
  });

  it('refuses text that is no schema, and ids that it never gave', async () => {
    const registry = await openEmbeddedRegistry({ path });
    await expect(registry.register('a-value', '{')).rejects.toMatchObject({
      kind: 'schema-rejected',
    });
    await expect(registry.schemaText(99)).rejects.toMatchObject({
      kind: 'schema-unknown',
    });
    await registry.close();
  });
});
