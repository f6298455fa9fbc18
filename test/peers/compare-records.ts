import type { LogRecord } from '../../log/log.ts';
import type { AvroSchema } from '../../schemas/type-mapping.ts';
import { oracleType } from '../support/avro-oracle.ts';

/** One side's record with the schemas that its ids stand for. */
export interface PeerRecord extends Pick<LogRecord, 'key' | 'value' | 'headers'> {
  readonly keySchema: string | null;
  readonly valueSchema: string | null;
}

/** Where two records are not the same. */
export interface Difference {
  /** `schema`, `records`, or a place in the envelope such as `after.price`. */
  readonly place: string;
  readonly ours: unknown;
  readonly theirs: unknown;
  /** Our and their schema of the field. */
  readonly ownField?: unknown;
  readonly field: unknown;
}

type Fields = Readonly<Record<string, unknown>>;
type Image = Readonly<Record<string, Fields>> | null;
interface Envelope {
  readonly before: Image;
  readonly after: Image;
  readonly source: Fields;
  readonly [field: string]: unknown;
}

const body = (bytes: Buffer): Buffer => bytes.subarray(5);

/**
 * How our record differs from theirs. None: key and value are the same byte for byte, and of the same
 * schemas, but for what must differ: the ids of two registries, the connector's version, and its clock.
 */
export function compareRecords(ours: PeerRecord, theirs: PeerRecord): readonly Difference[] {
  return [
    ...compareKeys(ours, theirs),
    ...compareHeaders(ours, theirs),
    ...compareValues(ours, theirs),
  ];
}

function compareKeys(ours: PeerRecord, theirs: PeerRecord): readonly Difference[] {
  const bytes = ({ key }: PeerRecord) => (key === null ? null : body(key).toString('hex'));
  const found = [
    { place: 'key', ours: bytes(ours), theirs: bytes(theirs), field: null },
    {
      place: 'key schema',
      ours: canonical(ours.keySchema),
      theirs: canonical(theirs.keySchema),
      field: null,
    },
  ];
  return found.filter((one) => one.ours !== one.theirs);
}

/** Ours are beside theirs; theirs about their own offsets are not ours. */
function compareHeaders(ours: PeerRecord, theirs: PeerRecord): readonly Difference[] {
  const text = ({ headers }: PeerRecord) =>
    JSON.stringify(
      headers
        .map(([name, value]) => [name, value.toString()])
        .filter(([name = '']) => /^__debezium\.(?!context\.)/.test(name)),
    );
  if (text(ours) === text(theirs)) return [];
  return [{ place: 'headers', ours: text(ours), theirs: text(theirs), field: null }];
}

function compareValues(ours: PeerRecord, theirs: PeerRecord): readonly Difference[] {
  if (ours.value === null || theirs.value === null) {
    if (ours.value === theirs.value) return [];
    return [{ place: 'tombstone', ours: ours.value, theirs: theirs.value, field: null }];
  }
  const [own, their] = [readValue(ours), readValue(theirs)];
  const isSameSchema = canonical(ours.valueSchema) === canonical(theirs.valueSchema);
  if (isSameSchema && encode(own) === encode(their)) return [];
  const differences = [
    ...compareSchemas(own.schema, their.schema),
    ...compareFields('source', {
      ours: own.envelope.source,
      theirs: their.envelope.source,
      schema: null,
    }),
    ...compareFields('', { ours: rest(own.envelope), theirs: rest(their.envelope), schema: null }),
    ...(['before', 'after'] as const).flatMap((image) =>
      compareFields(`${image}.`, {
        ours: rowOf(own.envelope[image]),
        theirs: rowOf(their.envelope[image]),
        schema: their.schema,
        ownSchema: own.schema,
      }),
    ),
  ];
  if (differences.length > 0) return differences;
  return [{ place: 'bytes', ours: encode(own), theirs: encode(their), field: null }];
}

interface ReadValue {
  readonly schema: AvroSchema;
  readonly envelope: Envelope;
}

const types = new Map<string, ReturnType<typeof oracleType>>();

function typeOf(text: string) {
  const known = types.get(text) ?? oracleType(JSON.parse(text) as AvroSchema);
  types.set(text, known);
  return known;
}

/** A record's value, decoded by its schema. */
export function envelopeOf({ value, valueSchema }: PeerRecord): Envelope {
  const bytes = body(value ?? Buffer.alloc(0));
  return typeOf(valueSchema ?? '').fromBuffer(bytes) as Envelope;
}

/** Without what must differ. */
function readValue(record: PeerRecord): ReadValue {
  const text = record.valueSchema ?? '';
  const envelope = envelopeOf(record);
  const masked = { ts_ms: null, ts_us: null, ts_ns: null };
  const source = { ...envelope.source, version: '', sequence: null };
  return { schema: JSON.parse(text) as AvroSchema, envelope: { ...envelope, ...masked, source } };
}

const encode = ({ schema, envelope }: ReadValue): string =>
  typeOf(JSON.stringify(schema)).toBuffer(envelope).toString('hex');

const rest = ({ before: _before, after: _after, source: _source, ...others }: Envelope): Fields =>
  others;
const rowOf = (image: Image): Fields => Object.values(image ?? {})[0] ?? {};

interface FieldPair {
  readonly ours: Fields;
  readonly theirs: Fields;
  readonly schema: AvroSchema | null;
  readonly ownSchema?: AvroSchema;
}

function compareFields(
  path: string,
  { ours, theirs, schema, ownSchema }: FieldPair,
): readonly Difference[] {
  const names = new Set([...Object.keys(ours), ...Object.keys(theirs)]);
  return [...names].flatMap((name) => {
    const [own, their] = [ours[name], theirs[name]];
    if (show(own) === show(their)) return [];
    const field = schema === null ? null : columnSchema(schema, name);
    const ownField = ownSchema === undefined ? null : columnSchema(ownSchema, name);
    return [{ place: `${path}${name}`, ours: show(own), theirs: show(their), ownField, field }];
  });
}

const show = (value: unknown): string =>
  JSON.stringify(value, (_key, one: unknown) => (typeof one === 'bigint' ? `${one}n` : one)) ?? '';

/** Fields of the row record that are not declared alike, and anything else in the schema. */
function compareSchemas(ours: AvroSchema, theirs: AvroSchema): readonly Difference[] {
  if (canonical(JSON.stringify(ours)) === canonical(JSON.stringify(theirs))) return [];
  const [own, their] = [columnsOf(ours), columnsOf(theirs)];
  const names = new Set([...own.keys(), ...their.keys()]);
  const found = [...names].flatMap((name): Difference[] => {
    const [left, right] = [own.get(name) ?? null, their.get(name) ?? null];
    if (left === right) return [];
    const [ownField, field] = [parse(left), parse(right)];
    return [{ place: `schema.${name}`, ours: left, theirs: right, ownField, field }];
  });
  if (found.length > 0) return found;
  return [
    { place: 'schema', ours: JSON.stringify(ours), theirs: JSON.stringify(theirs), field: null },
  ];
}

interface RecordField {
  readonly name: string;
  readonly type: unknown;
}

/** The columns of the row record inside an envelope's schema. */
function rowFields(schema: AvroSchema): readonly RecordField[] {
  const { fields = [] } = schema as { readonly fields?: readonly RecordField[] };
  const before = fields.find(({ name }) => name === 'before')?.type;
  const row = Array.isArray(before)
    ? (before.find((one) => typeof one === 'object' && one !== null) as unknown)
    : null;
  return (row as { readonly fields?: readonly RecordField[] } | null)?.fields ?? [];
}

const columnsOf = (schema: AvroSchema): ReadonlyMap<string, string> =>
  new Map(rowFields(schema).map((field) => [field.name, canonical(JSON.stringify(field)) ?? '']));

const columnSchema = (schema: AvroSchema, name: string): unknown =>
  rowFields(schema).find((field) => field.name === name) ?? null;

const parse = (text: string | null): unknown =>
  text === null ? null : (JSON.parse(text) as unknown);

/** JSON with the keys of its objects in order: their order says nothing, that of lists does. */
function canonical(text: string | null): string | null {
  if (text === null) return null;
  return JSON.stringify(JSON.parse(text), (_key, value: unknown) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
    const entries = Object.entries(value).toSorted(([left], [right]) => (left < right ? -1 : 1));
    return Object.fromEntries(entries);
  });
}
