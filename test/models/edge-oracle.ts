import type { MappedTable, Mapping } from '../../models/mapping.ts';
import { type Known, KnownWorld, type OracleEvent } from './oracle.ts';

const rowsOfTransactionMax = 100;

interface Turn {
  readonly change: Known;
  readonly isLast: boolean;
  readonly isFirst: boolean;
}

/** The lines that a lineage edge is compared by: type, ends, and whether it has ended. */
export function edgeLines(mapping: Mapping, filled: readonly Known[]): readonly string[] {
  const oracle = new EdgeOracle(mapping, filled);
  return [
    ...oracle.registers(),
    ...oracle.references(),
    ...oracle.played(),
    ...oracle.chains(),
    ...oracle.hashes(),
    ...oracle.sameTransaction(),
  ];
}

class EdgeOracle {
  readonly #mapping: Mapping;
  readonly #filled: readonly Known[];
  readonly #world: KnownWorld;
  readonly #events: readonly OracleEvent[];
  /** Position of the last truncate of each table. */
  readonly #truncated = new Map<string, string>();

  constructor(mapping: Mapping, filled: readonly Known[]) {
    this.#mapping = mapping;
    this.#filled = filled;
    this.#world = new KnownWorld(mapping, filled, Infinity);
    this.#events = this.#world.events({ erased: true });
    for (const { op, table, seq } of filled) if (op === 't') this.#truncated.set(table, seq);
  }

  /** Master → row, for each time that the row was there and that master's. */
  registers(): readonly string[] {
    const lines: string[] = [];
    for (const changes of this.#histories(({ kind }) => kind === 'entity')) {
      const turns = turnsOf(changes, (change) => this.#world.ownerOf(change));
      for (const { change, isFirst, isLast } of turns) {
        const master = this.#world.ownerOf(change);
        if (master === null || (change.op === 'd' && !isFirst)) continue;
        const isEnded = !isLast || this.#isTruncated(change);
        lines.push(
          line('registers', [`master:${master}`, this.#node(change.table, change.key)], isEnded),
        );
      }
    }
    return lines;
  }

  /** Row or event → what its columns point to, for each time that they pointed there. */
  references(): readonly string[] {
    const lines: string[] = [];
    for (const changes of this.#histories(() => true)) {
      const { references, master, masked } = this.#tableOf(changes[0]!.table);
      for (const reference of references) {
        const { column } = reference;
        if ([master?.id, master?.uuid, ...masked].includes(column)) continue;
        for (const { change, isLast } of turnsOf(changes, ({ image }) => image[column] ?? null)) {
          if (change.op === 'd' || (change.image[column] ?? null) === null) continue;
          const isEnded = !isLast || this.#isTruncated(change);
          lines.push(...this.#pointing(change, reference, isEnded));
        }
      }
    }
    return lines;
  }

  #pointing(
    change: Known,
    reference: MappedTable['references'][number],
    isEnded: boolean,
  ): readonly string[] {
    const from = this.#node(change.table, change.key);
    if (reference.table === null) {
      const to = this.#softTarget(change, reference);
      return to === null ? [] : [line('soft_ref', [from, to], isEnded)];
    }
    const target = this.#world.target(reference, change.image);
    if (target === null) return [];
    const to = this.#node(target.table, target.key);
    const type = reference.declared ? 'references' : 'soft_ref';
    const owner = this.#world.ownerOf(change);
    const isReferral = reference.column.includes('refer') && target.table === 'master';
    const isOther = owner !== null && owner !== target.key;
    return [
      line(type, [from, to], isEnded),
      ...(isReferral && isOther ? [line('referred', [`master:${owner}`, to], isEnded)] : []),
    ];
  }

  #softTarget(
    change: Known,
    { column, typeColumn }: MappedTable['references'][number],
  ): string | null {
    const type = change.image[typeColumn ?? '']?.toLowerCase() ?? null;
    const key = change.image[column] ?? '';
    const candidates = Object.entries(this.#mapping.tables)
      .filter(([name, { entity, service }]) =>
        [entity, service, `${service}_${entity}`, name].includes(type ?? ' '),
      )
      .filter(([name]) => this.#world.hasRow(name.slice('public.'.length), key))
      .toSorted(
        ([a, one], [b, other]) =>
          Number(one.entity !== type) - Number(other.entity !== type) || (a < b ? -1 : 1),
      );
    const [name] = candidates[0] ?? [];
    return name === undefined ? null : this.#node(name.slice('public.'.length), key);
  }

  /** Event ↔ the masters in their roles. */
  played(): readonly string[] {
    return this.#events.flatMap((event) =>
      Object.entries(event.masters).map(([role, master]) => {
        const ends = [`master:${master}`, this.#node(event.table, event.key)] as const;
        if (role === 'subject' || role === 'parent')
          return line('subject_of', ends, event.isErased);
        return line(
          role === 'actor' ? 'acted_by' : 'scoped_to',
          [ends[1], ends[0]],
          event.isErased,
        );
      }),
    );
  }

  /** Neighbours in a correlation, and in one action of a correlation. */
  chains(): readonly string[] {
    return [
      ...this.#neighbours('correlates', (event) => correlationOf(event)),
      ...this.#neighbours('progresses', (event) => {
        const correlation = correlationOf(event);
        return correlation && `${correlation}|${event.service}:${event.action}`;
      }),
    ];
  }

  #neighbours(type: string, groupOf: (event: OracleEvent) => string | null): readonly string[] {
    const groups = Map.groupBy(this.#events, groupOf);
    return [...groups].flatMap(([group, events]) => {
      if (group === null) return [];
      const sorted = events.toSorted(
        (a, b) => a.occurredAt - b.occurredAt || (a.first.seq < b.first.seq ? -1 : 1),
      );
      return sorted.slice(1).map((event, index) => this.#between(type, sorted[index]!, event));
    });
  }

  /** An entry → the entry whose hash it names. */
  hashes(): readonly string[] {
    const entries = new Map<string, OracleEvent>();
    for (const event of this.#events) {
      const hash = event.image[this.#tableOf(event.table).event?.entryHash ?? ''] ?? '';
      if (hash !== '') entries.set(hash, event);
    }
    return this.#events.flatMap((event) => {
      const previous = event.image[this.#tableOf(event.table).event?.previousHash ?? ''] ?? '';
      const linked = entries.get(previous);
      return linked === undefined ? [] : [this.#between('hash_prev', event, linked)];
    });
  }

  /** A new event → the rows that its transaction changed. */
  sameTransaction(): readonly string[] {
    const events = Map.groupBy(this.#events, ({ first }) => (first.op === 'c' ? first.xid : null));
    const rows = new Map<number, Set<string>>();
    for (const change of this.#world.rowChanges()) {
      if (change.xid === null || this.#tableOf(change.table).kind !== 'entity') continue;
      const touched = rows.get(change.xid) ?? new Set();
      rows.set(change.xid, touched.add(this.#node(change.table, change.key)));
    }
    return [...rows].flatMap(([xid, touched]) => {
      if (touched.size > rowsOfTransactionMax) return [];
      return (events.get(xid) ?? []).flatMap((event) =>
        [...touched].map((row) =>
          line('same_tx', [this.#node(event.table, event.key), row], event.isErased),
        ),
      );
    });
  }

  #between(type: string, from: OracleEvent, to: OracleEvent): string {
    const ends = [this.#node(from.table, from.key), this.#node(to.table, to.key)] as const;
    return line(type, ends, from.isErased);
  }

  /** The changes of each row of tables of a kind. */
  #histories(wanted: (table: MappedTable) => boolean): readonly (readonly Known[])[] {
    const own = this.#filled.filter(({ op, table }) => op !== 't' && wanted(this.#tableOf(table)));
    return [...Map.groupBy(own, ({ table, key }) => `${table}/${key}`).values()];
  }

  #tableOf(name: string): MappedTable {
    return this.#mapping.tables[`public.${name}`]!;
  }

  #isTruncated({ table, seq }: Known): boolean {
    return (this.#truncated.get(table) ?? '') > seq;
  }

  #node(table: string, key: string): string {
    const { kind } = this.#tableOf(table);
    if (kind === 'master') return `master:${key}`;
    return kind === 'event'
      ? eventNode(`public.${table}`, this.#tableOf(table), key)
      : `row:public.${table}|${key}`;
  }
}

/** Events of a table without a key are known by their positions, which no record of the source has. */
export function eventNode(source: string, { key: columns }: MappedTable, key: string): string {
  return `event:${source}|${columns.length === 0 ? '' : key}`;
}

type Ends = readonly [from: string, to: string];

export const line = (type: string, [from, to]: Ends, isEnded: boolean): string =>
  `${type} ${from} → ${to}${isEnded ? ' (ended)' : ''}`;

/** Where a row appears, goes, comes back, or reads differently. */
function turnsOf(
  changes: readonly Known[],
  valueOf: (change: Known) => string | null,
): readonly Turn[] {
  const turns = changes.filter((change, index) => {
    const before = changes[index - 1];
    if (before === undefined || before.op === 'd' || change.op === 'd') return true;
    return valueOf(before) !== valueOf(change);
  });
  return turns.map((change, index) => ({
    change,
    isFirst: change === changes[0],
    isLast: index === turns.length - 1,
  }));
}

/** In either spelling, in the metadata, else in the payload. */
export function correlationOf({ image }: OracleEvent): string | null {
  for (const text of [image['metadata'], image['payload']]) {
    const json = parsed(text ?? '');
    const found =
      json?.globalContext?.correlationId ??
      json?.global_context?.correlation_id ??
      json?.correlationId ??
      json?.correlation_id;
    if (found !== undefined) return found;
  }
  return null;
}

interface Spelled {
  readonly correlationId?: string;
  readonly correlation_id?: string;
  readonly globalContext?: { readonly correlationId?: string };
  readonly global_context?: { readonly correlation_id?: string };
}

function parsed(text: string): Spelled | null {
  try {
    return JSON.parse(text) as Spelled;
  } catch {
    return null;
  }
}
