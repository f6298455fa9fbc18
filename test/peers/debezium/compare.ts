import { isDeepStrictEqual } from 'node:util';
import type { Type } from 'avsc';
import { oracleType } from '../../support/avro-oracle.ts';
import type { PeerBytes, PeerRecord, PeerTopics } from './peer-run.ts';

/** Names of the differences that log/kafka/DEBEZIUM.md lists. */
export const listedDifferences = [
  'clock',
  'version',
  'context-headers',
  'own-headers',
  'snapshot',
  'message-topic',
  'message-count',
  'null-default',
  'before-default',
  'sequence',
  'calendar-gap',
] as const;

/** It hangs on when the server spoke, or on how many tables there are, whether these are seen. */
export const chanceDifferences: readonly Difference[] = ['sequence', 'calendar-gap'];

export type Difference = (typeof listedDifferences)[number];

export interface Comparison {
  /** Records compared, and how many of them were equal in every byte but clock and version. */
  readonly records: number;
  readonly identical: number;
  /** Listed differences that were seen. */
  readonly found: ReadonlySet<Difference>;
  /** Whatever else differs, each with its place. */
  readonly unlisted: readonly string[];
}

type Fields = Readonly<Record<string, unknown>>;
interface Envelope extends Fields {
  readonly before: Readonly<Record<string, Fields>> | null;
  readonly after: Readonly<Record<string, Fields>> | null;
  readonly source: Fields;
  readonly op: string;
}
interface AvroField {
  readonly name: string;
  readonly type: unknown;
  readonly default?: unknown;
}

/** Compares what both wrote, topic by topic, record by record. */
export function compareTopics(prefix: string, { ours, theirs }: PeerTopics): Comparison {
  const comparer = new Comparer();
  for (const [topic, records] of theirs) {
    if (topic === `${prefix}.message`) comparer.found.add('message-topic');
    else comparer.topic(topic, ours.get(topic) ?? [], records);
  }
  for (const topic of ours.keys()) {
    // A topic whose rows were all there before is ours alone: we read them.
    if (!theirs.has(topic)) comparer.topic(topic, ours.get(topic)!, []);
  }
  return comparer;
}

const types = new Map<string, Type>();

function decode({ schemaText, body }: PeerBytes): Fields {
  return typeOf(schemaText).fromBuffer(body) as Fields;
}

function typeOf(text: string): Type {
  const type = types.get(text) ?? oracleType(JSON.parse(text));
  types.set(text, type);
  return type;
}

class Comparer implements Comparison {
  records = 0;
  identical = 0;
  readonly found = new Set<Difference>();
  readonly unlisted: string[] = [];
  #place = '';

  topic(topic: string, ours: readonly PeerRecord[], theirs: readonly PeerRecord[]): void {
    const streamed = ours.filter((record) => !isRead(record));
    if (streamed.length < ours.length) this.found.add('snapshot');
    if (streamed.length !== theirs.length) {
      this.unlisted.push(`${topic}: ${streamed.length} records, ${theirs.length} of Debezium`);
    }
    for (const [index, record] of streamed.slice(0, theirs.length).entries()) {
      this.#place = `${topic} record ${index}`;
      this.#record(record, theirs[index]!);
    }
  }

  #record(ours: PeerRecord, theirs: PeerRecord): void {
    this.records += 1;
    this.#headers(ours.headers, theirs.headers);
    const before = this.unlisted.length;
    this.#part('key', ours.key, theirs.key);
    if (ours.value === null || theirs.value === null) {
      if (ours.value !== theirs.value) this.#fail('one of them is a tombstone');
      else if (before === this.unlisted.length) this.identical += 1;
      return;
    }
    const value = decode(ours.value);
    const isEnvelope = 'source' in value;
    const same = isEnvelope
      ? this.#envelope(ours.value, theirs.value)
      : this.#edge(ours.value, theirs.value);
    if (same && before === this.unlisted.length) this.identical += 1;
  }

  #headers(ours: PeerRecord['headers'], theirs: PeerRecord['headers']): void {
    const plain = (headers: PeerRecord['headers']) =>
      [...headers].filter(([name]) => !/^__debezium\.context\.|^tributary\./.test(name));
    if (!isDeepStrictEqual(plain(ours), plain(theirs))) {
      this.#fail(`headers ${JSON.stringify([plain(ours), plain(theirs)])}`);
    }
    if ([...ours.keys()].some((name) => name.startsWith('tributary.'))) {
      this.found.add('own-headers');
    }
    if (plain(theirs).length < theirs.size) this.found.add('context-headers');
  }

  /** Schema JSON for JSON, and every byte. */
  #part(what: string, ours: PeerBytes | null, theirs: PeerBytes | null): boolean {
    if (ours === null || theirs === null) {
      if (ours !== theirs) this.#fail(`${what}: one of them is null`);
      return true;
    }
    const isSameSchema = sameSchema(ours, theirs);
    if (!isSameSchema) this.#fail(`${what} schema ${ours.schemaText} | ${theirs.schemaText}`);
    else if (!ours.body.equals(theirs.body)) {
      this.#fail(`${what} ${ours.body.toString('hex')} | ${theirs.body.toString('hex')}`);
    }
    return true;
  }

  /** A record of the transaction topic. A message counts for an event only there. */
  #edge(ours: PeerBytes, theirs: PeerBytes): boolean {
    const { data_collections: collections } = decode(theirs);
    if (!canonical(collections).includes('LogicalDecodingMessageId')) {
      return this.#part('value', ours, theirs);
    }
    this.found.add('message-count');
    return false;
  }

  #envelope(ours: PeerBytes, theirs: PeerBytes): boolean {
    const isSameSchema = sameSchema(ours, theirs);
    const columns = this.#columns(ours, theirs);
    const own = decode(ours) as Envelope;
    const other = this.#withOurSequence(own, decode(theirs) as Envelope);
    if (canonical(own['ts_ns']) !== canonical(other['ts_ns'])) this.found.add('clock');
    if (own.source['version'] !== other.source['version']) this.found.add('version');
    const bytes = (part: PeerBytes, envelope: Envelope) =>
      typeOf(part.schemaText).toBuffer(masked(envelope));
    if (isSameSchema && bytes(ours, own).equals(bytes(theirs, other))) return true;
    const seen = this.found.size + this.unlisted.length;
    let differing = isSameSchema ? 0 : 1;
    for (const image of ['before', 'after'] as const) {
      differing += this.#image(`${own.op} ${image}`, {
        own: rowOf(own[image]),
        other: rowOf(other[image]),
        columns,
      });
    }
    const rest = (envelope: Envelope) => canonical({ ...masked(envelope), before: 0, after: 0 });
    if (rest(own) !== rest(other)) this.#fail(`envelope ${rest(own)} | ${rest(other)}`);
    else if (differing === 0 && seen === this.found.size + this.unlisted.length) {
      this.#fail('bytes that decode to the same');
    }
    return false;
  }

  /** Debezium's last commit may be a place behind it, of which a keepalive told. */
  #withOurSequence(own: Envelope, other: Envelope): Envelope {
    const lsnsOf = ({ source }: Envelope) => {
      const { string } = source['sequence'] as { readonly string: string };
      return (JSON.parse(string) as readonly (string | null)[]).map((lsn) => BigInt(lsn ?? 0));
    };
    const [ours, theirs] = [lsnsOf(own), lsnsOf(other)];
    const isLater = theirs[0]! > ours[0]! && theirs[0]! <= theirs[1]!;
    if (!isLater || ours[1] !== theirs[1]) return other;
    this.found.add('sequence');
    return { ...other, source: { ...other.source, sequence: own.source['sequence'] } };
  }

  /** Columns whose schema is the same, by name; the others are listed or fail. */
  #columns(ours: PeerBytes, theirs: PeerBytes): ReadonlyMap<string, AvroField> {
    const [own, other] = [columnsOf(ours), columnsOf(theirs)];
    const same = new Map<string, AvroField>();
    for (const [index, field] of own.fields.entries()) {
      const peer = other.fields[index];
      if (isDeepStrictEqual(field, peer)) same.set(field.name, field);
      else {
        this.#fail(`column schema ${JSON.stringify(field)} | ${JSON.stringify(peer)}`);
      }
    }
    if (own.fields.length !== other.fields.length || !isDeepStrictEqual(own.rest, other.rest)) {
      this.#fail(`value schema ${ours.schemaText} | ${theirs.schemaText}`);
    }
    return same;
  }

  #image(
    what: string,
    {
      own,
      other,
      columns,
    }: { own: Fields | null; other: Fields | null; columns: ReadonlyMap<string, AvroField> },
  ): number {
    if (own === null || other === null) {
      if (own !== other) this.#fail(`${what}: one of them is null`);
      return 0;
    }
    let differing = 0;
    for (const [name, field] of columns) {
      if (canonical(own[name]) === canonical(other[name])) continue;
      differing += 1;
      if (acrossGap(canonical(own[name])) === canonical(other[name])) {
        this.found.add('calendar-gap');
        continue;
      }
      const hasDefault = field.default !== undefined && field.default !== null;
      if (own[name] === null && hasDefault) {
        this.found.add(what.endsWith('before') ? 'before-default' : 'null-default');
      } else {
        this.#fail(`${what} ${name} ${canonical(own[name])} | ${canonical(other[name])}`);
      }
    }
    return differing;
  }

  #fail(what: string): void {
    this.unlisted.push(`${this.#place}: ${what}`);
  }
}

const isRead = ({ value }: PeerRecord): boolean => value !== null && decode(value)['op'] === 'r';

const sameSchema = (ours: PeerBytes, theirs: PeerBytes): boolean =>
  isDeepStrictEqual(JSON.parse(ours.schemaText), JSON.parse(theirs.schemaText));

const masked = (envelope: Envelope): Fields => ({
  ...envelope,
  source: { ...envelope.source, version: '' },
  ts_ms: null,
  ts_us: null,
  ts_ns: null,
});

const rowOf = (image: Envelope['before']): Fields | null =>
  image === null ? null : (Object.values(image)[0] ?? null);

function canonical(value: unknown): string {
  return JSON.stringify(value, (_, item: unknown) =>
    typeof item === 'bigint'
      ? `${item}n`
      : Object.is(item, -0)
        ? '-0'
        : typeof item === 'number' && !Number.isFinite(item)
          ? String(item)
          : item,
  );
}

/** Java's calendar has no days from 5 to 14 October 1582 and takes them for those ten days later. */
function acrossGap(value: string): string {
  return value.replaceAll(
    /1582-10-(0[5-9]|1[0-4])T/g,
    (_, day: string) => `1582-10-${Number(day) + 10}T`,
  );
}

/** The columns of a value's schema, and the schema without them. */
function columnsOf({ schemaText }: PeerBytes): { fields: readonly AvroField[]; rest: unknown } {
  const schema = JSON.parse(schemaText) as {
    readonly fields: readonly { readonly type: readonly [string, { fields: AvroField[] }] }[];
  };
  const row = schema.fields[0]!.type[1];
  const { fields } = row;
  row.fields = [];
  return { fields, rest: schema };
}
