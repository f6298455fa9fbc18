import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { TableSchema } from '../../schemas/table-schema.ts';
import type { TupleBytes } from '../pgoutput/message.ts';
import { columnText, encodeTuple } from '../pgoutput/tuple.ts';
import type { ChunkPlan } from './chunk-plan.ts';
import { SnapshotCore } from './snapshot-core.ts';
import { allRules, type SnapshotRules } from './snapshot-rules.ts';
import type { SnapshotState, StreamedChange } from './snapshot.ts';
import type { TableProgress } from './table-progress.ts';
import type { TransactionSnapshot } from './transaction-visibility.ts';

/** Rules that the caller of the core keeps; switched off by the harness. */
interface HarnessRules {
  readonly durableRepair: boolean;
  readonly ceiling: boolean;
  readonly barrier: boolean;
  readonly again: boolean;
  readonly truncateFirst: boolean;
}
const allHarnessRules: HarnessRules = {
  durableRepair: true,
  ceiling: true,
  barrier: true,
  again: true,
  truncateFirst: true,
};
type Rules = SnapshotRules & HarnessRules;
const designed: Rules = { ...allRules, ...allHarnessRules };

interface Version {
  key: number;
  a: string;
  t: string;
  block: number;
  xmin: bigint;
  xmax: bigint | null;
}
type WalEntry =
  | { lsn: number; kind: 'tx'; xid: bigint; changes: StreamedChange[] }
  | { lsn: number; kind: 'fence'; id: string };
interface LogRecord {
  seq: readonly [lsn: number, ordinal: number];
  change: StreamedChange | { op: 'read'; row: TupleBytes };
}
interface Chunk {
  progress: TableProgress;
  plan: ChunkPlan;
  rows: TupleBytes[] | null;
  isFenced: boolean;
}

const text = { kind: 'text' } as const;
const columnOf = (name: string) => ({ name, type: text, pgType: 'text', nullable: true });
const tableOf = (isKeyed: boolean): TableSchema => ({
  oid: 1,
  schema: 'public',
  name: 't',
  columns: ['id', 'a', 't'].map(columnOf),
  key: isKeyed ? ['id'] : [],
  replicaIdentity: isKeyed ? 'default' : 'full',
});
const tuple = (...values: (string | null | undefined)[]): TupleBytes =>
  encodeTuple(
    values.map((value) =>
      value === undefined ? 'unchanged' : value === null ? null : Buffer.from(value),
    ),
  );

const keys = [0, 1, 2, 3, 4, 5, 6, 7];
const blocks = 12;
/** The histories cross the border of two epochs of 32-bit transaction ids. */
const firstXid = (3n << 32n) - 8n;

/** mulberry32: a small seeded generator, so that a failing seed is a failing history. */
function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** One database with one table, its stream, a capture that crashes, and the log it writes. */
class History {
  readonly #rules: Rules;
  readonly #random: () => number;
  readonly #table: TableSchema;
  /** Some captures crash more often than others. */
  readonly #crashesFrom: number;
  /** In a busy table nearly every row is touched again, which heals what went wrong. */
  readonly #changesTo: number;
  #versions: Version[] = [];
  #storage = 0;
  #lsn = 10;
  #wal: WalEntry[] = [];
  #nextXid = firstXid;
  #active = new Map<bigint, StreamedChange[]>();
  /** Written as committed, not yet visible; locks are still held. */
  #pending: bigint[] = [];
  #ended = new Set<bigint>([0n]);
  #rowLocks = new Map<number, bigint>();
  #tableLock: bigint | null = null;
  #value = 1000;
  /** Running when the slot was made: committed below it, so never streamed. */
  #beforeSlot: bigint | null = null;
  readonly log: LogRecord[] = [];
  #tail: readonly [number, number] = [-1, -1];
  #core: SnapshotCore;
  #chunk: Chunk | null = null;
  #fences = 0;
  #position = 0;
  #confirmed = 0;
  #durable: { state: SnapshotState | null; lsn: number } = { state: null, lsn: 0 };

  constructor(seed: number, rules: Rules) {
    this.#rules = rules;
    this.#random = randomOf(seed);
    this.#table = tableOf(this.#random() < 0.8);
    this.#crashesFrom = this.#random() < 0.5 ? 0.97 : 0.9;
    this.#changesTo = this.#random() < 0.6 ? 0.46 : 0.16;
    for (const key of keys.slice(0, 5))
      this.#insertVersion(0n, key, { a: `a${key}`, t: `t${key}` });
    if (this.#random() < 0.3) this.#commitBeforeSlot();
    this.#core = this.#newCore();
  }

  run(): void {
    for (let step = 0; step < 180; step += 1) this.#step();
    for (const xid of this.#active.keys()) this.#commit(xid);
    while (this.#pending.length > 0) this.#show(0);
    for (let step = 0; step < 600; step += 1) {
      if (!this.#stream()) this.#read();
      if (!this.#core.active && this.#position >= this.#wal.length) return;
    }
    throw new Error('the snapshot does not end');
  }

  source(): string[] {
    const seen = this.#versions.filter((version) => this.#sees(version, this.#ended));
    return seen.map((version) => `${version.key}|${version.a}|${version.t}`).toSorted();
  }

  #step(): void {
    const r = this.#random();
    if (r < 0.1 && this.#active.size < 3) this.#active.set(this.#nextXid++, []);
    else if (r < this.#changesTo && this.#active.size > 0) {
      this.#change(this.#pick([...this.#active.keys()]));
    } else if (r < this.#changesTo + 0.1 && this.#active.size > 0)
      this.#end(this.#pick([...this.#active.keys()]));
    else if (r < 0.64 && this.#pending.length > 0) this.#show(this.#below(this.#pending.length));
    else if (r < 0.81) this.#stream();
    else if (r < 0.82) this.#rewrite();
    else if (r < this.#crashesFrom) this.#read();
    else if (this.#random() < 0.6) this.#confirm();
    else this.#crash();
  }

  #below(limit: number): number {
    return Math.floor(this.#random() * limit);
  }
  #pick<T>(items: readonly T[]): T {
    return items[this.#below(items.length)]!;
  }
  #fresh(): string {
    this.#value += 1;
    return `v${this.#value}`;
  }

  // The database.

  #sees(version: Version, ended: ReadonlySet<bigint>): boolean {
    if (!ended.has(version.xmin)) return false;
    return version.xmax === null || !ended.has(version.xmax);
  }
  #insertVersion(xid: bigint, key: number, values: { a: string; t: string }): void {
    this.#versions.push({ key, ...values, block: this.#below(blocks), xmin: xid, xmax: null });
  }
  #current(key: number, xid: bigint): Version | undefined {
    const ended = new Set([...this.#ended, xid]);
    return this.#versions.find((version) => version.key === key && this.#sees(version, ended));
  }
  #isLocked(key: number, xid: bigint): boolean {
    if (this.#tableLock !== null && this.#tableLock !== xid) return true;
    return (this.#rowLocks.get(key) ?? xid) !== xid;
  }
  #commitBeforeSlot(): void {
    const xid = this.#nextXid++;
    this.#active.set(xid, []);
    for (let count = 0; count < 3; count += 1) this.#change(xid);
    this.#active.delete(xid);
    this.#pending.push(xid);
    this.#beforeSlot = xid;
  }
  #change(xid: bigint): void {
    const changes = this.#active.get(xid)!;
    const table = this.#table;
    const what = this.#random();
    if (what < 0.03) {
      this.#truncate(xid, changes);
      return;
    }
    const key = this.#pick(keys);
    if (this.#isLocked(key, xid)) return;
    const version = this.#current(key, xid);
    const base = { table, xid: Number(xid & 0xffff_ffffn) };
    this.#rowLocks.set(key, xid);
    const id = String(key);
    if (version === undefined) {
      const [a, t] = [this.#fresh(), this.#fresh()];
      this.#insertVersion(xid, key, { a, t });
      changes.push({ ...base, op: 'insert', after: tuple(id, a, t) });
      return;
    }
    const full = { kind: 'full', tuple: tuple(id, version.a, version.t) } as const;
    const before = table.key.length === 0 ? full : null;
    if (what < 0.7) {
      version.xmax = xid;
      const keepsText = what < 0.45;
      const a = what < 0.55 ? this.#fresh() : version.a;
      const t = keepsText ? version.t : this.#fresh();
      this.#insertVersion(xid, key, { a, t });
      const after = tuple(id, a, keepsText ? undefined : t);
      changes.push({ ...base, op: 'update', before, after });
    } else if (what < 0.85) {
      version.xmax = xid;
      const old = before ?? { kind: 'key', tuple: tuple(id, null, null) };
      changes.push({ ...base, op: 'delete', before: old });
    } else {
      const target = this.#pick(keys);
      if (target === key || this.#isLocked(target, xid)) return;
      this.#rowLocks.set(target, xid);
      const former = this.#current(target, xid);
      if (former !== undefined) {
        former.xmax = xid;
        const row = tuple(String(target), former.a, former.t);
        changes.push({ ...base, op: 'delete', before: { kind: 'full', tuple: row } });
      }
      version.xmax = xid;
      this.#insertVersion(xid, target, { a: version.a, t: version.t });
      const old = before ?? { kind: 'key', tuple: tuple(id, null, null) };
      const after = tuple(String(target), version.a, undefined);
      changes.push({ ...base, op: 'update', before: old, after });
    }
  }
  #truncate(xid: bigint, changes: StreamedChange[]): void {
    const others = [
      ...this.#rowLocks.values(),
      ...(this.#tableLock === null ? [] : [this.#tableLock]),
    ];
    if (others.some((owner) => owner !== xid)) return;
    this.#tableLock = xid;
    for (const version of this.#versions) {
      if (this.#sees(version, new Set([...this.#ended, xid]))) version.xmax = xid;
    }
    this.#storage += 1;
    changes.push({ op: 'truncate', table: this.#table, xid: Number(xid & 0xffff_ffffn) });
  }
  /** VACUUM FULL: rows move, nothing is streamed. */
  #rewrite(): void {
    if (this.#rowLocks.size > 0 || this.#tableLock !== null) return;
    for (const version of this.#versions) version.block = this.#below(blocks);
    this.#storage += 1;
  }
  #end(xid: bigint): void {
    if (this.#random() >= 0.15) {
      this.#commit(xid);
      return;
    }
    this.#active.delete(xid);
    this.#versions = this.#versions.filter((version) => version.xmin !== xid);
    for (const version of this.#versions) if (version.xmax === xid) version.xmax = null;
    this.#unlock(xid);
  }
  #commit(xid: bigint): void {
    const changes = this.#active.get(xid)!;
    this.#active.delete(xid);
    this.#lsn += 2;
    this.#wal.push({ lsn: this.#lsn, kind: 'tx', xid, changes });
    this.#pending.push(xid);
  }
  #show(at: number): void {
    // Waiting for a standby, a commit can stay invisible for long.
    if (this.#pending[at] === this.#beforeSlot && this.#active.size > 0 && this.#random() < 0.8)
      return;
    const [xid] = this.#pending.splice(at, 1);
    this.#ended.add(xid!);
    this.#unlock(xid!);
  }
  #unlock(xid: bigint): void {
    for (const [key, owner] of this.#rowLocks) if (owner === xid) this.#rowLocks.delete(key);
    if (this.#tableLock === xid) this.#tableLock = null;
  }
  #snapshot(): TransactionSnapshot {
    const running = [...this.#active.keys(), ...this.#pending];
    const lowest = (xids: readonly bigint[], start: bigint) =>
      xids.reduce((low, xid) => (xid < low ? xid : low), start);
    // As PostgreSQL has it: what began after the last one that ended is not listed.
    const xmax = [...this.#ended].reduce((high, xid) => (xid >= high ? xid + 1n : high), firstXid);
    const inProgress = new Set(running.filter((xid) => xid < xmax));
    return { xmin: lowest([...inProgress], xmax), xmax, inProgress };
  }

  // Capture.

  #newCore(): SnapshotCore {
    return new SnapshotCore({
      tables: [this.#table],
      state: this.#durable.state,
      repairKeysMax: 2,
      spoolBytesMax: 1 << 20,
      hasRecords: () => this.#rules.truncateFirst && this.log.length > 0,
      rules: this.#rules,
    });
  }
  #append(lsn: number, ordinal: number, change: LogRecord['change']): void {
    const [tailLsn, tailOrdinal] = this.#tail;
    if (lsn < tailLsn || (lsn === tailLsn && ordinal <= tailOrdinal)) return;
    this.#tail = [lsn, ordinal];
    this.log.push({ seq: [lsn, ordinal], change });
  }
  #stream(): boolean {
    const entry = this.#wal[this.#position];
    if (entry === undefined) return false;
    this.#position += 1;
    if (entry.kind === 'tx') this.#streamTransaction(entry);
    else this.#streamFence(entry);
    if (this.#random() < 0.7) this.#store(entry.lsn + 1);
    return true;
  }
  #streamTransaction(entry: WalEntry & { kind: 'tx' }): void {
    for (const [at, change] of entry.changes.entries()) {
      this.#append(entry.lsn, at, change);
      if (this.#core.active) this.#core.observe(change);
      // The reader runs beside the stream: it may take a step in the middle of a transaction.
      if (this.#random() < 0.1) this.#read();
    }
    const xid = Number(entry.xid & 0xffff_ffffn);
    if (this.#core.active) this.#core.observeCommit({ xid, commitLsn: BigInt(entry.lsn) });
  }
  #streamFence(entry: WalEntry & { kind: 'fence' }): void {
    const emission = this.#core.fence(entry.id);
    if (!this.#core.isBusy) this.#chunk = null;
    if (emission === null) return;
    let ordinal = 0;
    const put = (change: LogRecord['change']) => this.#append(entry.lsn, ordinal++, change);
    if (emission.truncateFirst) put({ op: 'truncate', table: emission.table, xid: 0 });
    for (const row of emission.rows) put({ op: 'read', row });
    if (this.#rules.again) for (const change of emission.again) put(change);
  }
  #store(lsn: number): void {
    this.#durable = { state: structuredClone(this.#core.state()), lsn };
  }
  #confirm(): void {
    // A transaction of the watcher's own, that ends at once.
    if (!this.#core.hasBegun) {
      this.#core.began(this.#nextXid);
      this.#ended.add(this.#nextXid++);
    }
    this.#core.seen(this.#snapshot());
    const ceiling = this.#rules.ceiling ? this.#core.ceiling() : null;
    const limit = Math.min(this.#durable.lsn, ceiling === null ? Infinity : Number(ceiling));
    if (limit > this.#confirmed) this.#confirmed = limit;
  }
  #read(): void {
    if (this.#beforeSlot !== null && this.#rules.barrier && !this.#ended.has(this.#beforeSlot))
      return;
    const chunk = this.#chunk;
    if (chunk === null || !this.#core.isBusy) this.#beginChunk();
    else if (chunk.rows === null) this.#readChunk(chunk);
    else if (!chunk.isFenced) this.#fenceChunk(chunk, chunk.rows);
  }
  #beginChunk(): void {
    this.#chunk = null;
    const progress = this.#core.next();
    if (progress === null) return;
    if (progress.storage === null) {
      this.#core.measured(progress, { storage: String(this.#storage), blocks });
    }
    const plan = this.#core.plan(progress, 4);
    this.#core.begin(progress, plan);
    this.#chunk = { progress, plan, rows: null, isFenced: false };
  }
  #readChunk(chunk: Chunk): void {
    if (this.#tableLock !== null) return;
    if (!this.#core.seal(this.#snapshot(), String(this.#storage))) {
      this.#chunk = null;
      return;
    }
    const { plan } = chunk;
    const wanted = this.#versions.filter((version) => {
      if (!this.#sees(version, this.#ended)) return false;
      if (plan.kind === 'whole') return true;
      if (plan.kind === 'keys') return plan.keys.includes(JSON.stringify([String(version.key)]));
      return version.block >= plan.from && version.block < plan.to;
    });
    chunk.rows = wanted.map((version) => tuple(String(version.key), version.a, version.t));
  }
  #fenceChunk(chunk: Chunk, rows: TupleBytes[]): void {
    this.#fences += 1;
    const id = `fence ${this.#fences}`;
    chunk.isFenced = true;
    if (!this.#core.hold(rows, id)) return;
    this.#lsn += 2;
    this.#wal.push({ lsn: this.#lsn, kind: 'fence', id });
  }
  #crash(): void {
    const { state } = this.#durable;
    if (state !== null && !this.#rules.durableRepair) {
      const tables = Object.entries(state.tables).map(([name, table]) => [
        name,
        { ...table, repair: [] },
      ]);
      this.#durable.state = { tables: Object.fromEntries(tables) as SnapshotState['tables'] };
    }
    this.#core = this.#newCore();
    this.#chunk = null;
    this.#position = this.#wal.findIndex((entry) => entry.lsn >= this.#confirmed);
    if (this.#position < 0) this.#position = this.#wal.length;
  }
}

/** What a sink makes of the log of a table with a key. */
function foldKeyed(log: readonly LogRecord[]): string[] {
  const rows = new Map<string, (string | null | undefined)[]>();
  const texts = (row: TupleBytes) => [0, 1, 2].map((at) => columnText(row, at));
  const put = (row: TupleBytes, base: readonly (string | null | undefined)[] | undefined) => {
    const set = texts(row).map((value, at) => (value === undefined ? base?.[at] : value));
    rows.set(String(set[0]), set);
  };
  for (const { change } of log) {
    if (change.op === 'truncate') rows.clear();
    else if (change.op === 'read') put(change.row, undefined);
    else if (change.op === 'delete') rows.delete(String(columnText(change.before.tuple, 0)));
    else if (change.op === 'insert') put(change.after, undefined);
    else {
      const key = String(columnText(change.before?.tuple ?? change.after, 0));
      const base = rows.get(key);
      rows.delete(key);
      put(change.after, base);
    }
  }
  return [...rows.values()]
    .map((row) => row.map((value) => value ?? 'MISSING').join('|'))
    .toSorted();
}

/** What a sink makes of the log of a table without one: a multiset under REPLICA IDENTITY FULL. */
function foldKeyless(log: readonly LogRecord[]): string[] {
  const rows: string[] = [];
  const line = (row: TupleBytes, old?: TupleBytes) =>
    [0, 1, 2]
      .map((at) => columnText(row, at) ?? (old === undefined ? 'MISSING' : columnText(old, at)))
      .join('|');
  const remove = (row: TupleBytes) => {
    const at = rows.indexOf(line(row));
    if (at >= 0) rows.splice(at, 1);
  };
  for (const { change } of log) {
    if (change.op === 'truncate') rows.length = 0;
    else if (change.op === 'read') rows.push(line(change.row));
    else if (change.op === 'insert') rows.push(line(change.after));
    else if (change.op === 'delete') remove(change.before.tuple);
    else {
      remove(change.before!.tuple);
      rows.push(line(change.after, change.before!.tuple));
    }
  }
  return rows.toSorted();
}

function runHistory(seed: number, rules: Rules = designed): { source: string[]; lake: string[] } {
  const history = new History(seed, rules);
  history.run();
  const isKeyed = randomOf(seed)() < 0.8;
  return {
    source: history.source(),
    lake: isKeyed ? foldKeyed(history.log) : foldKeyless(history.log),
  };
}

/** The first seed below the limit whose history ends wrong; null when none does. */
function firstWrong(rules: Rules, limit: number): number | null {
  for (let seed = 0; seed < limit; seed += 1) {
    try {
      const { source, lake } = runHistory(seed, rules);
      if (source.join() !== lake.join()) return seed;
    } catch {
      return seed;
    }
  }
  return null;
}

const histories = Number(process.env['TRIBUTARY_TEST_HISTORIES'] ?? 3_000);

describe('the fenced-chunk snapshot', () => {
  test('what the log says equals the source after any history', { timeout: 3_600_000 }, () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 32 - 1 }), (seed) => {
        const { source, lake } = runHistory(seed);
        expect(lake).toEqual(source);
      }),
      { numRuns: histories },
    );
  });

  const switches = Object.keys(designed) as (keyof Rules)[];
  test.each(switches)(
    'a history shows that the rule "%s" is needed',
    { timeout: 120_000 },
    (rule) => {
      expect(firstWrong({ ...designed, [rule]: false }, 5_000)).not.toBeNull();
    },
  );
});
