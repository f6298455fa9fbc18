import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

import type { Type } from 'avsc';

import type { CaptureEvent, CaptureLimits, CaptureOptions } from '../../capture/options.ts';
import { runCapture } from '../../capture/run-capture.ts';
import { openEmbeddedLog } from '../../log/embedded/embedded-log.ts';
import { openEmbeddedRegistry } from '../../log/embedded/embedded-registry.ts';
import type { Log, StoredRecord } from '../../log/log.ts';
import { controlTopics, headerSeq, type Watermark } from '../../schemas/control.ts';
import type { SchemaRegistry } from '../../schemas/registry.ts';
import { parseLsn } from '../../schemas/lsn.ts';
import type { TestPostgres } from '../support/postgres.ts';
import { oracleType } from '../support/avro-oracle.ts';

export const prefix = 'app';

/** One change as a consumer of the log sees it. */
export interface SeenRecord {
  readonly seq: string;
  readonly partition: number;
  readonly offset: number;
  readonly op: string;
  readonly before: Record<string, unknown> | null;
  readonly after: Record<string, unknown> | null;
  readonly lsn: unknown;
  readonly origin: string | null;
  readonly headers: Readonly<Record<string, string>>;
}

/** A folder with a log, and captures that write to it. */
export interface CaptureBench extends AsyncDisposable {
  readonly dir: string;
  readonly log: Log;
  readonly registry: SchemaRegistry;
  readonly events: CaptureEvent[];
  readonly lines: string[];
  options(source: Partial<CaptureOptions['source']> & { url: string }): CaptureOptions;
  start(options: CaptureOptions): RunningCapture;
  /** Starts a capture and waits until every table is read and nothing is left of the snapshot. */
  startRead(options: CaptureOptions): Promise<RunningCapture>;
  /** Every record of a table's topic, decoded, in position order; tombstones have op "tombstone". */
  records(table: string): Promise<readonly SeenRecord[]>;
  watermarks(): Promise<readonly Watermark[]>;
  /** Waits until a published watermark covers everything written so far. */
  caughtUp(postgres: TestPostgres, capture: RunningCapture): Promise<void>;
}

export interface RunningCapture extends AsyncDisposable {
  /** Rejects with what ended it. */
  readonly ended: Promise<void>;
  stop(): Promise<void>;
}

/** Faster than the defaults, and no second try: a test wants to see the first error. */
const quick: Partial<CaptureLimits> = {
  idleIntervalMs: 100,
  statusIntervalMs: 50,
  slotWaitMs: 3000,
  tablesCheckMs: 200,
  giveUpAfterMs: 0,
};

export async function openBench(): Promise<CaptureBench> {
  const dir = await mkdtemp(path.join(os.tmpdir(), 'tributary-capture-'));
  const file = path.join(dir, 'log.db');
  await (await openEmbeddedLog({ path: file })).close();
  const log = await openEmbeddedLog({ path: file, readOnly: true });
  const registry = await openEmbeddedRegistry({ path: file });
  const events: CaptureEvent[] = [];
  const lines: string[] = [];
  const keep = (line: string): void => void lines.push(line);
  return {
    dir,
    log,
    registry,
    events,
    lines,
    options: (source) => ({
      source: { slot: 'tributary', publication: 'tributary', tables: ['*.*'], ...source },
      prefix,
      openLog: () => openEmbeddedLog({ path: file }),
      registry,
      spoolPath: path.join(dir, 'spool'),
      limits: quick,
      logger: { info: keep, warn: keep, error: keep },
      observe: (event) => void events.push(event),
    }),
    start: startCapture,
    startRead: async (options) => {
      const from = events.length;
      const running = startCapture(options);
      const isRead = () => events.slice(from).some((event) => event.type === 'snapshot-finished');
      await Promise.race([running.ended, eventually('the snapshot', isRead)]);
      return running;
    },
    records: (table) => readRecords(log, registry, `${prefix}.${table}`),
    watermarks: async () =>
      (await readAll(log, controlTopics(prefix).watermarks)).map(
        ({ record }) => JSON.parse(String(record.value)) as Watermark,
      ),
    caughtUp: async (postgres, capture) => {
      const { rows } = await postgres.run('postgres', 'select pg_current_wal_lsn()::text as lsn');
      const target = parseLsn(rows[0].lsn);
      const isCovered = async () => {
        const newest = (await readTail(log)).findLast((watermark) => watermark.publish);
        return newest !== undefined && parseLsn(newest.lsn) >= target;
      };
      const covered = eventually(`a watermark at ${rows[0].lsn}`, isCovered);
      await Promise.race([covered, capture.ended.then(() => covered)]);
    },
    [Symbol.asyncDispose]: async () => {
      await registry.close();
      await log.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

function startCapture(options: CaptureOptions): RunningCapture {
  const controller = new AbortController();
  const ended = runCapture(options, { signal: controller.signal });
  ended.catch(() => undefined);
  const stop = async (): Promise<void> => {
    controller.abort();
    await ended;
  };
  return {
    ended,
    stop,
    [Symbol.asyncDispose]: async () => {
      controller.abort();
      await ended.catch(() => undefined);
    },
  };
}

/** Waits until `check` gives something else than undefined or false; fails after `timeoutMs`. */
export async function eventually<T>(
  what: string,
  check: () => Promise<T | undefined | false> | T | undefined | false,
  timeoutMs = 60_000,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const found = await check();
    if (found !== undefined && found !== false) return found;
    if (performance.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await pause(25);
  }
}

/** The watermarks, newest last, without reading all of them. */
async function readTail(log: Log): Promise<readonly Watermark[]> {
  const topic = controlTopics(prefix).watermarks;
  const [range] = (await log.ranges([topic])).get(topic) ?? [];
  if (range === undefined || range.end === 0) return [];
  const offset = Math.max(range.start, range.end - 20);
  const records = await log.read({ topic, partition: 0, offset }, { bytesMax: 1 << 24, waitMs: 0 });
  return records.map((record) => JSON.parse(String(record.value)) as Watermark);
}

async function readAll(
  log: Log,
  topic: string,
): Promise<readonly { record: StoredRecord; partition: number }[]> {
  const ranges = (await log.ranges([topic])).get(topic) ?? [];
  const all: { record: StoredRecord; partition: number }[] = [];
  for (const [partition, range] of ranges.entries()) {
    for (let offset = range.start; offset < range.end;) {
      const records = await log.read(
        { topic, partition, offset },
        { bytesMax: 1 << 24, waitMs: 0, allowTruncated: true },
      );
      const last = records.at(-1);
      if (last === undefined) break;
      all.push(...records.map((record) => ({ record, partition })));
      offset = last.offset + 1;
    }
  }
  return all;
}

const types = new Map<string, Type>();

async function readRecords(
  log: Log,
  registry: SchemaRegistry,
  topic: string,
): Promise<readonly SeenRecord[]> {
  const seen: SeenRecord[] = [];
  for (const { record, partition } of await readAll(log, topic)) {
    const headers = Object.fromEntries(
      record.headers.map(([name, value]) => [name, value.toString()]),
    );
    const base = { seq: headers[headerSeq] ?? '', partition, offset: record.offset, headers };
    if (record.value === null) {
      seen.push({ ...base, op: 'tombstone', before: null, after: null, lsn: null, origin: null });
      continue;
    }
    const text = await registry.schemaText(record.value.readInt32BE(1));
    const type = types.get(text) ?? oracleType(JSON.parse(text));
    types.set(text, type);
    const value: Envelope = type.fromBuffer(record.value.subarray(5));
    const { op, before, after, source } = value;
    seen.push({
      ...base,
      op,
      before: plain(before),
      after: plain(after),
      lsn: source.lsn?.long,
      origin: source.origin?.string ?? null,
    });
  }
  return seen.toSorted((a, b) => (a.seq < b.seq ? -1 : a.seq > b.seq ? 1 : 0));
}

interface Envelope {
  readonly op: string;
  readonly before: { readonly [type: string]: object } | null;
  readonly after: { readonly [type: string]: object } | null;
  readonly source: {
    readonly lsn: { readonly long: bigint } | null;
    readonly origin: { readonly string: string } | null;
  };
}

/** `{"ns.Value": {id: 1n, note: {string: "x"}}}` → `{id: 1, note: "x"}` */
function plain(row: Envelope['before']): Record<string, unknown> | null {
  if (row === null) return null;
  const fields = Object.entries(Object.values(row)[0] ?? {});
  return Object.fromEntries(fields.map(([name, value]) => [name, plainValue(value)]));
}

function plainValue(value: unknown): unknown {
  if (typeof value === 'bigint') return Number(value);
  if (value === null || typeof value !== 'object' || value instanceof Uint8Array) return value;
  return plainValue(Object.values(value)[0]);
}
