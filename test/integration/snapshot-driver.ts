import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { vi } from 'vitest';
import { decodeMessage } from '../../capture/pgoutput/decode.ts';
import type { PgoutputMessage, TupleBytes } from '../../capture/pgoutput/message.ts';
import { columnText, TupleCursor } from '../../capture/pgoutput/tuple.ts';
import { createSnapshot, type SnapshotOptions } from '../../capture/snapshot/create-snapshot.ts';
import type { Snapshot, SnapshotState, StreamedChange } from '../../capture/snapshot/snapshot.ts';
import type { Lsn } from '../../schemas/lsn.ts';
import { tableName, type TableSchema } from '../../schemas/table-schema.ts';

/** One change or row of a chunk in the order of emission; texts by column name, undefined = not sent. */
export type Image = Readonly<Record<string, string | null | undefined>>;
export type Emitted = { readonly table: string } & (
  | { readonly op: 'truncate' }
  | { readonly op: 'read' | 'insert'; readonly after: Image }
  | { readonly op: 'update'; readonly before: Image | null; readonly after: Image }
  | { readonly op: 'delete'; readonly before: Image }
);

export interface DriverOptions extends Partial<SnapshotOptions> {
  readonly url: string;
  readonly publication: string;
  readonly slot: string;
}

const slotWait = { timeout: 30_000, interval: 20 } as const;
const textOptions =
  '-c datestyle=ISO -c timezone=UTC -c extra_float_digits=3 -c search_path=pg_catalog';

export async function connectTo(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url, options: textOptions });
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

/** The published table as the catalog has it now; null when it is gone or not published. */
export async function describeTable(
  client: pg.Client,
  publication: string,
  name: { readonly schema: string; readonly name: string },
): Promise<TableSchema | null> {
  const found = await client.query<{ oid: number; identity: string; attnames: string[] }>(
    // Before 15 a publication has no list of columns.
    `select c.oid::int4, c.relreplident as identity, array(
       select attname::text from pg_attribute where attrelid = c.oid and attnum > 0 and not attisdropped
         and coalesce(to_jsonb(p) -> 'attnames' ? attname::text, attgenerated = '')) as attnames
     from pg_publication_tables p
     join pg_namespace n on n.nspname = p.schemaname
     join pg_class c on c.relnamespace = n.oid and c.relname = p.tablename
     where p.pubname = $1 and p.schemaname = $2 and p.tablename = $3`,
    [publication, name.schema, name.name],
  );
  const table = found.rows[0];
  if (table === undefined) return null;
  const columns = await client.query<{ name: string; type: string }>(
    `select attname as name, format_type(atttypid, atttypmod) as type from pg_attribute
     where attrelid = $1 and attname = any($2) order by attnum`,
    [table.oid, table.attnames],
  );
  const key = await client.query<{ name: string }>(
    `select a.attname as name from pg_index i
     cross join unnest(i.indkey) with ordinality as k(attnum, at)
     join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
     where i.indrelid = $1 and i.indisprimary order by k.at`,
    [table.oid],
  );
  return {
    oid: table.oid,
    schema: name.schema,
    name: name.name,
    columns: columns.rows.map((column) => ({
      name: column.name,
      type: { kind: 'text' },
      pgType: column.type,
      nullable: true,
    })),
    key: key.rows.map((row) => row.name),
    replicaIdentity: table.identity === 'f' ? 'full' : 'default',
  };
}

/** All tables of a publication, by name. */
export async function publishedTables(
  client: pg.Client,
  publication: string,
): Promise<readonly TableSchema[]> {
  const names = await client.query<{ schema: string; name: string }>(
    `select schemaname as schema, tablename as name from pg_publication_tables where pubname = $1 order by 1, 2`,
    [publication],
  );
  const tables: TableSchema[] = [];
  for (const name of names.rows) {
    const table = await describeTable(client, publication, name);
    if (table !== null) tables.push(table);
  }
  return tables;
}

/** A capture without a log: streams one slot in this process and keeps what would be emitted. */
export class SnapshotDriver implements AsyncDisposable {
  readonly emitted: Emitted[] = [];
  readonly #options: DriverOptions;
  readonly #tables = new Map<number, TableSchema>();
  readonly #queue: PgoutputMessage[] = [];
  #catalog: pg.Client | null = null;
  #replication: pg.Client | null = null;
  #working: Promise<void> = Promise.resolve();
  #isWorking = false;
  #transaction: { readonly xid: number; readonly commitLsn: Lsn } | null = null;
  #ordinal = 0;
  #tail: readonly [Lsn, number] = [0n, 0];
  #stopped = false;
  snapshot: Snapshot | null = null;
  /** What would be durable now. */
  durable: { state: SnapshotState | null; lsn: Lsn } = { state: null, lsn: 0n };
  streamedLsn: Lsn = 0n;
  confirmedLsn: Lsn = 0n;
  failure: unknown = null;

  constructor(options: DriverOptions) {
    this.#options = options;
  }

  /** Begins, or begins again after `crash`, from the slot's own position and the durable state. */
  async start(): Promise<void> {
    const { url, publication } = this.#options;
    this.#stopped = false;
    this.#tables.clear();
    this.#catalog = await connectTo(url);
    const tables = this.#options.tables ?? (await publishedTables(this.#catalog, publication));
    this.snapshot = createSnapshot({
      connect: async () => await connectTo(url),
      publications: [publication],
      describe: async (name) => await describeTable(this.#client, publication, name),
      ...this.#options,
      tables,
      state: structuredClone(this.durable.state),
    });
    this.snapshot.failed.catch((error: unknown) => {
      this.failure ??= error;
    });
    await this.#stream();
    this.snapshot.start();
  }

  /** Waits until every table is complete, and the stream is at the end of the WAL. */
  async complete(timeoutMs = 60_000): Promise<void> {
    await this.until(() => !this.#snapshot.active, timeoutMs);
    const end = await this.#client.query<{ lsn: string }>(
      `select (pg_logical_emit_message(true, 'end', '') - '0/0')::text as lsn`,
    );
    await this.until(() => this.streamedLsn >= BigInt(end.rows[0]!.lsn), timeoutMs);
  }

  async until(condition: () => boolean, timeoutMs = 60_000): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    while (!condition()) {
      if (this.failure !== null) throw this.failure;
      if (performance.now() > deadline) throw new Error('the condition does not come true');
      await sleep(5);
    }
  }

  /** As after kill -9: nothing in memory is kept, the stored state may be older than what was emitted. */
  async crash(): Promise<void> {
    this.#stopped = true;
    this.#queue.length = 0;
    await this.#working;
    await this.snapshot?.stop();
    await this.#endClient(this.#replication);
    await this.#endClient(this.#catalog);
    this.#replication = this.#catalog = null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.crash();
    const client = await connectTo(this.#options.url);
    const drop = /* sql */ `
      select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = $1`;
    // The server may still be ending the session that had it.
    await vi.waitFor(() => client.query(drop, [this.#options.slot]), slotWait);
    await client.end();
  }

  get #client(): pg.Client {
    return this.#catalog!;
  }
  get #snapshot(): Snapshot {
    return this.snapshot!;
  }

  async #endClient(client: pg.Client | null): Promise<void> {
    if (client === null) return;
    const { connection } = client as pg.Client & { readonly connection: pg.Connection };
    const ended = once(client, 'end').catch(() => undefined);
    connection.stream.destroy();
    await ended;
  }

  async #stream(): Promise<void> {
    const { url, slot, publication } = this.#options;
    const config = { connectionString: url, options: textOptions, replication: 'database' };
    const client = new pg.Client(config as pg.ClientConfig);
    client.on('error', () => undefined);
    await client.connect();
    await this.#waitForFreeSlot();
    this.#replication = client;
    const command =
      `START_REPLICATION SLOT "${slot}" LOGICAL 0/0 ` +
      `(proto_version '1', publication_names '"${publication}"', messages 'true')`;
    const started = Promise.withResolvers<void>();
    client.query({
      submit: (connection: pg.Connection) => {
        connection.once('copyBothResponse' as never, () => started.resolve());
        connection.query(command);
      },
      handleCopyData: (frame: { readonly chunk: Buffer }) => this.#receive(frame.chunk),
      handleError: (error: Error) => started.reject(error),
      handleCommandComplete: () => undefined,
      handleReadyForQuery: () => undefined,
    } as unknown as pg.Submittable);
    await Promise.race([started.promise, sleep(2_000)]);
  }

  async #waitForFreeSlot(): Promise<void> {
    for (;;) {
      const slots = await this.#client.query(
        `select from pg_replication_slots where slot_name = $1 and not active`,
        [this.#options.slot],
      );
      if (slots.rowCount === 1) return;
      await sleep(10);
    }
  }

  #receive(frame: Buffer): void {
    if (this.#stopped) return;
    if (frame[0] === 0x6b) {
      if (frame[17] === 1) this.confirm(this.confirmedLsn);
      return;
    }
    this.#queue.push(decodeMessage(Buffer.from(frame.subarray(25)), false));
    if (!this.#isWorking) this.#working = this.#work();
  }

  async #work(): Promise<void> {
    this.#isWorking = true;
    try {
      for (
        let message = this.#queue.shift();
        message !== undefined;
        message = this.#queue.shift()
      ) {
        await this.#take(message);
      }
    } catch (error) {
      this.failure ??= error;
    } finally {
      this.#isWorking = false;
    }
  }

  async #take(message: PgoutputMessage): Promise<void> {
    switch (message.tag) {
      case 'begin':
        this.#transaction = message;
        this.#ordinal = 0;
        return;
      case 'relation': {
        const table = await describeTable(this.#client, this.#options.publication, message);
        if (table !== null) this.#tables.set(message.oid, { ...table, oid: message.oid });
        return;
      }
      case 'insert':
      case 'update':
      case 'delete': {
        const table = this.#tables.get(message.oid)!;
        const { xid } = this.#transaction!;
        const { tag, ...rest } = message;
        this.#change({ ...rest, op: tag, table, xid } as StreamedChange);
        return;
      }
      case 'truncate':
        for (const oid of message.oids) {
          const table = this.#tables.get(oid)!;
          this.#change({ op: 'truncate', table, xid: this.#transaction!.xid });
        }
        return;
      case 'commit':
        this.#snapshot.observeCommit(this.#transaction!);
        this.#transaction = null;
        this.#store(message.endLsn);
        return;
      case 'message':
        this.#fence(message);
        return;
      default:
        return;
    }
  }

  #fence(message: PgoutputMessage & { readonly tag: 'message' }): void {
    if (message.transactional) return;
    const emission = this.#snapshot.fence(message);
    if (emission !== null) {
      const table = tableName(emission.table);
      this.#ordinal = -1;
      const put = (emitted: Emitted) => this.#put(message.lsn - 1n, emitted);
      if (emission.truncateFirst) put({ table, op: 'truncate' });
      for (const row of emission.rows)
        put({ table, op: 'read', after: imageOf(emission.table, row) });
      for (const change of emission.again) put(emittedOf(change));
    }
    this.#store(message.lsn);
  }

  #change(change: StreamedChange): void {
    this.#snapshot.observe(change);
    this.#put(this.#transaction!.commitLsn, emittedOf(change));
  }

  /** What the log already holds is not emitted again. */
  #put(lsn: Lsn, emitted: Emitted): void {
    this.#ordinal += 1;
    const [tailLsn, tailOrdinal] = this.#tail;
    if (lsn < tailLsn || (lsn === tailLsn && this.#ordinal <= tailOrdinal)) return;
    this.#tail = [lsn, this.#ordinal];
    this.emitted.push(emitted);
  }

  #store(lsn: Lsn): void {
    this.streamedLsn = lsn;
    this.durable = { state: this.#snapshot.state(), lsn };
    const ceiling = this.#snapshot.confirmCeiling();
    const limit = ceiling === null || ceiling > lsn ? lsn : ceiling;
    if (limit > this.confirmedLsn) this.confirm(limit);
  }

  confirm(lsn: Lsn): void {
    this.confirmedLsn = lsn;
    const status = Buffer.alloc(34);
    status[0] = 0x72;
    for (const at of [1, 9, 17]) status.writeBigUInt64BE(lsn, at);
    const { connection } = this.#replication as unknown as {
      connection: { sendCopyFromChunk(bytes: Buffer): void };
    };
    connection.sendCopyFromChunk(status);
  }
}

function imageOf(table: TableSchema, tuple: TupleBytes): Image {
  const cursor = new TupleCursor().reset(tuple);
  if (cursor.count !== table.columns.length) throw new Error('another number of columns');
  return Object.fromEntries(
    table.columns.map((column, at) => [column.name, columnText(tuple, at)] as const),
  );
}

function emittedOf(change: StreamedChange): Emitted {
  const table = tableName(change.table);
  const image = (tuple: TupleBytes) => imageOf(change.table, tuple);
  switch (change.op) {
    case 'truncate':
      return { table, op: 'truncate' };
    case 'insert':
      return { table, op: 'insert', after: image(change.after) };
    case 'delete':
      return { table, op: 'delete', before: image(change.before.tuple) };
    case 'update': {
      const before = change.before === null ? null : image(change.before.tuple);
      return { table, op: 'update', before, after: image(change.after) };
    }
  }
}

/** What a sink makes of the emissions of one table: sorted JSON rows. */
export function fold(emitted: readonly Emitted[], table: TableSchema): string[] {
  return table.key.length > 0 ? foldKeyed(emitted, table) : foldKeyless(emitted, table);
}

const fill = (image: Image, base: Image | null | undefined): Image =>
  Object.fromEntries(
    Object.entries(image).map(([name, value]) => [
      name,
      value === undefined ? (base?.[name] ?? 'MISSING') : value,
    ]),
  );

function foldKeyed(emitted: readonly Emitted[], table: TableSchema): string[] {
  const rows = new Map<string, Image>();
  const keyOf = (image: Image) => JSON.stringify(table.key.map((name) => image[name]));
  for (const change of emitted) {
    if (change.table !== tableName(table)) continue;
    if (change.op === 'truncate') rows.clear();
    else if (change.op === 'delete') rows.delete(keyOf(change.before));
    else if (change.op === 'update') {
      const key = keyOf(change.before ?? change.after);
      const row = fill(change.after, rows.get(key) ?? change.before);
      rows.delete(key);
      rows.set(keyOf(row), row);
    } else rows.set(keyOf(change.after), fill(change.after, null));
  }
  return [...rows.values()].map((row) => JSON.stringify(row)).toSorted();
}

function foldKeyless(emitted: readonly Emitted[], table: TableSchema): string[] {
  const rows = new Map<string, number>();
  const add = (image: Image, count: number) => {
    const line = JSON.stringify(image);
    const left = (rows.get(line) ?? 0) + count;
    if (left > 0) rows.set(line, left);
    else rows.delete(line);
  };
  for (const change of emitted) {
    if (change.table !== tableName(table)) continue;
    if (change.op === 'truncate') rows.clear();
    else if (change.op === 'delete') add(change.before, -1);
    else if (change.op === 'update') {
      add(change.before!, -1);
      add(fill(change.after, change.before), 1);
    } else add(change.after, 1);
  }
  return [...rows].flatMap(([line, count]) => Array<string>(count).fill(line)).toSorted();
}

/** The source's rows in the same form. */
export async function sourceRows(client: pg.Client, table: TableSchema): Promise<string[]> {
  const quote = (name: string) => `"${name.replaceAll('"', '""')}"`;
  const columns = table.columns.map((column) => `t.${quote(column.name)}::text`).join(', ');
  const from = `${quote(table.schema)}.${quote(table.name)}`;
  const result = await client.query<(string | null)[]>({
    text: `select ${columns} from ${from} as t`,
    rowMode: 'array',
  });
  return result.rows
    .map((row) =>
      JSON.stringify(Object.fromEntries(table.columns.map((column, at) => [column.name, row[at]]))),
    )
    .toSorted();
}
