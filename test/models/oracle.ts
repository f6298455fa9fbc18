import type { MappedTable, Mapping } from '../../models/mapping.ts';
import type { PlainChange, Row } from './lake-history.ts';

/**
 * The same answers as the models, computed the slow and obvious way: for a moment, take the changes that
 * could be known by then, replay them, and count. It shares nothing with the SQL.
 */
export interface OracleInput {
  readonly mapping: Mapping;
  readonly changes: readonly PlainChange[];
}

export interface Known extends PlainChange {
  readonly key: string;
  /** The whole row, left-out columns and the columns of a key-only delete filled in. */
  readonly image: Row;
  readonly availableAt: number;
  readonly isAssumed: boolean;
}

const dayMs = 86_400_000;

/** Every change with its whole row and the time it could be known. */
export function fillImages({ mapping, changes }: OracleInput): readonly Known[] {
  const rows = new Map<string, Row>();
  const lastKnown = new Map<string, number>();
  const result: Known[] = [];
  const keyless = new KeylessRows();
  for (const change of changes) {
    const table = mapping.tables[`public.${change.table}`]!;
    const key = table.key.length === 0 ? keyless.keyOf(change) : keyOf(table, change);
    const place = `${change.table}/${key}`;
    // The delete half of a key change stands right before its insert half.
    const moved = change.seq.endsWith('/2') ? result.at(-1) : undefined;
    const before = moved?.image ?? rows.get(place);
    const image = { ...change.row };
    for (const column of change.unchanged) image[column] = before?.[column] ?? null;
    if (change.op === 'd')
      for (const [column, value] of Object.entries(before ?? {})) image[column] ??= value;
    const isAssumed = change.op === 'r' && !lastKnown.has(place);
    const at = isAssumed
      ? Math.min(initialAt(table, image), change.capturedAt.getTime())
      : (change.committedAt ?? change.capturedAt).getTime();
    const availableAt = Math.max(at, lastKnown.get(place) ?? -Infinity);
    lastKnown.set(place, availableAt);
    rows.set(place, image);
    result.push({ ...change, key, image, availableAt, isAssumed });
  }
  return result;
}

function keyOf(table: MappedTable, change: PlainChange): string {
  return change.op === 't' ? '' : table.key.map((column) => change.row[column]).join('|');
}

/** A row without a key is known by when it came; a delete takes the oldest of those that look like it. */
class KeylessRows {
  readonly #alive = new Map<string, string[]>();

  keyOf({ table, op, row, seq }: PlainChange): string {
    if (op === 't') return '';
    const look = `${table} ${JSON.stringify(Object.entries(row).toSorted(([a], [b]) => (a < b ? -1 : 1)))}`;
    const alive = this.#alive.get(look) ?? [];
    this.#alive.set(look, alive);
    if (op !== 'd') alive.push(seq);
    return op === 'd' ? (alive.shift() ?? seq) : seq;
  }
}

function initialAt(table: MappedTable, image: Row): number {
  const moment = table.kind === 'event' ? table.event!.at : table.createdAt;
  return moment === null ? 0 : momentOf(image[moment.column] ?? null, moment.as);
}

export function momentOf(text: string | null, as: string): number {
  if (text === null) return 0;
  if (as === 'epoch_seconds') return Number(text) * 1000;
  const micros = Number(/\.\d{3}(\d{3})/.exec(text)?.[1] ?? 0);
  return Date.parse(text.replace(' ', 'T').replace('+00', 'Z')) + micros / 1000;
}

export interface OracleEvent {
  readonly table: string;
  readonly key: string;
  readonly type: string | null;
  readonly dialect: string;
  readonly service: string;
  readonly action: string;
  readonly version: string | null;
  readonly state: string | null;
  readonly occurredAt: number;
  readonly firstAvailableAt: number;
  readonly isLate: boolean;
  readonly amount: number | null;
  readonly masters: Readonly<Record<string, string>>;
  /** How its subject was found. */
  readonly method: string | null;
  readonly image: Row;
  readonly isErased: boolean;
  readonly first: Known;
}

/** The world as one could know it at a moment: its events with the masters in their roles. */
export class KnownWorld {
  readonly #mapping: Mapping;
  readonly #filled: readonly Known[];
  readonly #known: readonly Known[];
  readonly #rows = new Map<string, Known>();
  /** The last row that had a value in a column that others point to, by table, column and value. */
  readonly #lookups = new Map<string, Known>();
  readonly #uuidOwners = new Map<string, string>();
  readonly #masterIds = new Set<string>();
  readonly #earlier = new Map<number, KnownWorld>();

  constructor(mapping: Mapping, filled: readonly Known[], at: number) {
    this.#mapping = mapping;
    this.#filled = filled;
    this.#known = filled.filter((change) => change.availableAt <= at);
    const targets = lookupTargets(mapping);
    for (const change of this.#known) {
      this.#rows.set(`${change.table}/${change.key}`, change);
      for (const column of change.op === 'd' ? [] : (targets.get(change.table) ?? []))
        this.#lookups.set(lookupKey(change.table, column, change.image[column]), change);
      if (change.table !== 'master' || change.op === 'd') continue;
      this.#masterIds.add(change.key);
      const uuid = change.image['uuid'];
      if (uuid && !this.#uuidOwners.has(uuid)) this.#uuidOwners.set(uuid, change.key);
    }
  }

  /** Events not known to be deleted; with `erased`, those too, by their last image. */
  events({ erased = false } = {}): readonly OracleEvent[] {
    const firsts = new Map<string, Known>();
    const lasts = new Map<string, Known>();
    const truncated = new Set<string>();
    for (const change of this.#known) {
      const place = `${change.table}/${change.key}`;
      if (this.#mapping.tables[`public.${change.table}`]!.kind !== 'event') continue;
      if (change.op === 't') {
        for (const seen of lasts.keys())
          if (seen.startsWith(`${change.table}/`)) truncated.add(seen);
        continue;
      }
      if (!firsts.has(place)) firsts.set(place, change);
      truncated.delete(place);
      lasts.set(place, change);
    }
    return [...lasts]
      .filter(([place, last]) => erased || (last.op !== 'd' && !truncated.has(place)))
      .map(([place, last]) => this.#event(last, firsts.get(place)!));
  }

  #event(last: Known, first: Known): OracleEvent {
    const table = this.#mapping.tables[`public.${last.table}`]!;
    const event = table.event!;
    const type = event.type === null ? null : (last.image[event.type] ?? null);
    const occurredAt = momentOf(last.image[event.at.column] ?? null, event.at.as);
    const status = event.status === null ? null : (last.image[event.status] ?? null);
    const amount = table.amount === null ? null : (last.image[table.amount] ?? null);
    return {
      table: last.table,
      key: last.key,
      ...parseType(type, status, table),
      type,
      occurredAt,
      firstAvailableAt: first.availableAt,
      isLate: !last.isAssumed && last.availableAt - occurredAt > 3_600_000,
      amount: amount === null ? null : Number(amount),
      masters: this.#whenItEnded(last).mastersOf(table, last.image),
      method: this.#whenItEnded(last).#ownMethod(table, last.image),
      image: last.image,
      isErased: last.op === 'd',
      first,
    };
  }

  /** Whose an erased event was is what one knew when it was erased. */
  #whenItEnded(last: Known): KnownWorld {
    if (last.op !== 'd') return this;
    const at = last.availableAt;
    const world = this.#earlier.get(at) ?? new KnownWorld(this.#mapping, this.#filled, at);
    this.#earlier.set(at, world);
    return world;
  }

  mastersOf(table: MappedTable, image: Row): Readonly<Record<string, string>> {
    const found: Record<string, string> = {};
    const set = (role: string, master: string | null) => {
      if (master !== null) found[role] = master;
    };
    set('subject', this.#ownMaster(table, image));
    if (table.actor) set('actor', this.#lookUp(table.actor, image));
    if (table.parent) set('parent', this.#lookUp(table.parent, image));
    const tenant = table.tenant === null ? null : (image[table.tenant.column] ?? null);
    const target = table.references.find(({ column }) => column === table.tenant?.column);
    if (tenant !== null && target !== undefined && !table.tenant!.none.includes(tenant))
      set('tenant', this.#lookUp(target, image));
    return found;
  }

  #ownMethod(table: MappedTable, image: Row): string | null {
    const [id, uuid] = [
      image[table.master?.id ?? ''] ?? null,
      image[table.master?.uuid ?? ''] ?? null,
    ];
    const byId = id === '0' ? null : id;
    const owner = uuid === null ? null : (this.#uuidOwners.get(uuid) ?? null);
    if (byId === null) return owner === null ? null : 'uuid';
    if (!this.#masterIds.has(byId)) return null;
    if (uuid === null) return 'id';
    return owner === byId ? 'id_and_uuid' : owner === null ? 'id_uuid_unknown' : 'id_uuid_mismatch';
  }

  #ownMaster(table: MappedTable, image: Row): string | null {
    const id = image[table.master?.id ?? ''] ?? null;
    const uuid = image[table.master?.uuid ?? ''] ?? null;
    if (id !== null && id !== '0') return this.#masterIds.has(id) ? id : null;
    return uuid === null ? null : (this.#uuidOwners.get(uuid) ?? null);
  }

  /** The row that a reference points to, gone by now or not. */
  target(reference: Pointer, image: Row): Known | null {
    const value = image[reference.column] ?? null;
    if (value === null || reference.table === null || reference.targetColumn === null) return null;
    const name = reference.table.slice('public.'.length);
    return this.#lookups.get(lookupKey(name, reference.targetColumn, value)) ?? null;
  }

  #lookUp(reference: Pointer, image: Row): string | null {
    const row = this.target(reference, image);
    return row === null ? null : this.ownerOf(row);
  }

  ownerOf(change: Known): string | null {
    const table = this.#mapping.tables[`public.${change.table}`]!;
    if (table.kind === 'master') return change.key;
    const own = this.#ownMaster(table, change.image);
    return own ?? (table.parent === null ? null : this.#lookUp(table.parent, change.image));
  }

  hasRow(table: string, key: string): boolean {
    return this.#rows.has(`${table}/${key}`);
  }

  rowChanges(): readonly Known[] {
    const isRow = (change: Known) =>
      this.#mapping.tables[`public.${change.table}`]!.kind !== 'event';
    return this.#known.filter((change) => isRow(change) && ['c', 'u', 'd'].includes(change.op));
  }

  isDeleted(master: string): boolean {
    return this.#rows.get(`master/${master}`)?.op === 'd';
  }
}

interface Pointer {
  readonly column: string;
  readonly table: string | null;
  readonly targetColumn: string | null;
}

const lookupKey = (table: string, column: string, value: string | null | undefined) =>
  `${table}.${column}=${value ?? ''}`;

/** The columns of each table that a role or reference of any table points to. */
function lookupTargets({ tables }: Mapping): ReadonlyMap<string, ReadonlySet<string>> {
  const found = new Map<string, Set<string>>();
  for (const { actor, parent, references } of Object.values(tables)) {
    for (const { table, targetColumn } of [actor, parent, ...references].filter(
      (one) => one !== null,
    )) {
      if (table === null || targetColumn === null) continue;
      const name = table.slice('public.'.length);
      found.set(name, (found.get(name) ?? new Set()).add(targetColumn));
    }
  }
  return found;
}

/** A type of one of the three dialects, or of none, taken apart by hand. */
function parseType(type: string | null, status: string | null, table: MappedTable) {
  const colons = type?.split(':') ?? [];
  const dots = type?.split('.') ?? [];
  const snakes = type?.split('_') ?? [];
  const fromStatus = synonyms[status ?? ''] ?? null;
  if (colons.length === 4) {
    const [service, action, version, state] = colons as [string, string, string, string];
    const known = synonyms[state] ?? fromStatus;
    return { dialect: 'canonical', service, action, version, state: known };
  }
  for (const [dialect, words, joiner] of [
    ['dotted', dots, '.'],
    ['snake', snakes, '_'],
  ] as const) {
    if (words.length < 2) continue;
    const last = synonyms[words.at(-1)!];
    const action = words
      .slice(1, last !== undefined && words.length > 2 ? -1 : undefined)
      .join(joiner);
    return { dialect, service: words[0]!, action, version: null, state: last ?? fromStatus };
  }
  const { service, entity } = table;
  const dialect = type === null ? 'none' : 'other';
  return { dialect, service, action: type ?? entity, version: null, state: fromStatus };
}

const synonyms: Readonly<Record<string, string>> = {
  requested: 'requested',
  started: 'started',
  running: 'started',
  success: 'success',
  completed: 'success',
  done: 'success',
  ok: 'success',
  failed: 'failed',
  error: 'failed',
  timeout: 'timeout',
};

export type OracleFeatures = Readonly<Record<string, string | number | boolean | null>>;

/** Feature rows of one as-of time, by "master|role". */
export function featuresAsOf(
  input: OracleInput,
  filled: readonly Known[],
  asOf: number,
): Map<string, OracleFeatures> {
  const world = new KnownWorld(input.mapping, filled, asOf);
  const groups = new Map<string, OracleEvent[]>();
  for (const event of world.events()) {
    if (event.occurredAt >= asOf || event.occurredAt < asOf - 30 * dayMs) continue;
    for (const [role, master] of Object.entries(event.masters)) {
      const group = `${master}|${role}`;
      const events = groups.get(group);
      if (events === undefined) groups.set(group, [event]);
      else events.push(event);
    }
  }
  const edits = Map.groupBy(
    world.rowChanges().filter(({ availableAt: at }) => at < asOf && at >= asOf - 7 * dayMs),
    (change) => world.ownerOf(change),
  );
  return new Map(
    [...groups].map(([group, events]) => {
      const master = group.split('|')[0]!;
      return [
        group,
        {
          ...features(events, asOf),
          n_row_changes_7d: edits.get(master)?.length ?? 0,
          is_deleted_as_of: world.isDeleted(master),
        },
      ];
    }),
  );
}

function features(events: readonly OracleEvent[], asOf: number): OracleFeatures {
  const within = (ms: number) => events.filter((event) => event.occurredAt >= asOf - ms);
  const errors = (some: readonly OracleEvent[]) =>
    some.filter(({ state }) => state === 'failed' || state === 'timeout').length;
  const distinct = (values: readonly unknown[]) => new Set(values).size;
  const day = (event: OracleEvent) => Math.floor(event.occurredAt / dayMs);
  const week = within(7 * dayMs);
  const amounts = events.flatMap(({ amount }) => (amount === null ? [] : [amount]));
  const times = events.map(({ occurredAt }) => occurredAt);
  const round = (value: number) => Math.round(value * 1e4) / 1e4;
  return {
    n_events_1h: within(3_600_000).length,
    n_events_1d: within(dayMs).length,
    n_events_7d: week.length,
    n_events_30d: events.length,
    n_errors_1d: errors(within(dayMs)),
    n_errors_30d: errors(events),
    n_distinct_types_7d: distinct(week.map(({ type }) => type)),
    n_distinct_services_30d: distinct(events.map(({ service }) => service)),
    active_days_7d: distinct(week.map(day)),
    active_days_30d: distinct(events.map(day)),
    trend_7d: 2 * week.length - within(14 * dayMs).length,
    amount_sum_30d:
      amounts.length === 0 ? null : round(amounts.reduce((sum, amount) => sum + amount, 0)),
    error_rate_7d: week.length === 0 ? null : round(errors(week) / week.length),
    late_share_7d:
      week.length === 0 ? null : round(week.filter(({ isLate }) => isLate).length / week.length),
    mean_gap_seconds_30d:
      events.length < 2
        ? null
        : round((Math.max(...times) - Math.min(...times)) / 1000 / (events.length - 1)),
    hours_since_last_event: round((asOf - Math.max(...times)) / 3_600_000),
  };
}
