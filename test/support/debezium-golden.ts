import { readFileSync } from 'node:fs';
import { decodeMessage } from '../../capture/pgoutput/decode.ts';
import type { PgoutputMessage, RelationMessage } from '../../capture/pgoutput/message.ts';
import type { CatalogType } from '../../schemas/catalog.ts';
import { parseLsn, type Lsn } from '../../schemas/lsn.ts';
import { resolveType } from '../../schemas/resolve-type.ts';
import type { AvroSchema } from '../../schemas/type-mapping.ts';
import type { ReplicaIdentity, TableSchema } from '../../schemas/table-schema.ts';

// One run of Debezium 3.6.3 on PostgreSQL 18.4: what it read and what it wrote, byte for byte. See
// test/fixtures/debezium-3.6.3 (its SQL and configuration lie beside the records).

const folder = new URL('../fixtures/debezium-3.6.3/', import.meta.url);
const input = new URL('../fixtures/pgoutput/golden-v1.jsonl', import.meta.url);

export interface GoldenMessage {
  readonly lsn: Lsn;
  readonly xid: number;
  readonly message: PgoutputMessage;
}

export interface GoldenRecord {
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: ReadonlyMap<string, string>;
}

export interface GoldenSchema {
  readonly subject: string;
  readonly version: number;
  readonly id: number;
  readonly schemaText: string;
  readonly schema: AvroSchema;
}

const lines = (url: URL): readonly string[] => readFileSync(url, 'utf8').trim().split('\n');

/** The raw pgoutput messages of the run, in order. */
export function goldenMessages(): readonly GoldenMessage[] {
  return lines(input).map((line) => {
    const { lsn, xid, dataHex } = JSON.parse(line) as Record<'lsn' | 'xid' | 'dataHex', string>;
    const message = decodeMessage(Buffer.from(dataHex, 'hex'), false);
    return { lsn: parseLsn(lsn), xid: Number(xid), message };
  });
}

interface RecordLine {
  readonly keyHex: string | null;
  readonly valueHex: string | null;
  readonly headers: readonly (readonly [string, string])[];
}

/** What Debezium wrote for a table, in order. `table` as in its topic, e.g. "Odd-N_me_1". */
export const goldenRecords = (table: string): readonly GoldenRecord[] =>
  goldenTopic(`golden.public.${table}`);

/** The begins and ends of transactions that Debezium wrote, in order. */
export const goldenTransactions = (): readonly GoldenRecord[] => goldenTopic('golden.transaction');

/** The schemas of those, as they were registered. */
export const goldenTransactionSchemas = (): Record<'key' | 'value', GoldenSchema> => ({
  key: schemaFile('golden.transaction-key.v1'),
  value: schemaFile('golden.transaction-value.v1'),
});

export const goldenTransactionIds = () => {
  const { key, value } = goldenTransactionSchemas();
  return { keySchemaId: key.id, valueSchemaId: value.id };
};

function goldenTopic(topic: string): readonly GoldenRecord[] {
  const bytes = (hex: string | null): Buffer | null =>
    hex === null ? null : Buffer.from(hex, 'hex');
  return lines(new URL(`records/${topic}.jsonl`, folder)).map((line) => {
    const { keyHex, valueHex, headers } = JSON.parse(line) as RecordLine;
    const text = headers.map(([name, hex]) => [name, Buffer.from(hex, 'hex').toString()] as const);
    return { key: bytes(keyHex), value: bytes(valueHex), headers: new Map(text) };
  });
}

/** A schema that Debezium registered, e.g. of "masters", "value", 2. */
export function goldenSchema(table: string, part: 'key' | 'value', version = 1): GoldenSchema {
  return schemaFile(`golden.public.${table}-${part}.v${version}`);
}

const schemaFile = (name: string): GoldenSchema =>
  JSON.parse(readFileSync(new URL(`schemas/${name}.avsc.json`, folder), 'utf8')) as GoldenSchema;

const catalogType = (
  type: Pick<CatalogType, 'oid' | 'name'> & Partial<CatalogType>,
): CatalogType => ({
  schema: 'public',
  kind: 'b',
  category: 'U',
  elementOid: 0,
  baseOid: 0,
  baseTypeModifier: -1,
  enumLabels: [],
  ...type,
});

const arrayType = (oid: number, name: string, elementOid: number): CatalogType =>
  catalogType({ oid, name, category: 'A', elementOid });

/** What the catalog of the run's database said about the types that are not built in, and about arrays. */
export const goldenTypes: ReadonlyMap<number, CatalogType> = new Map(
  [
    arrayType(1000, '_bool', 16),
    arrayType(1007, '_int4', 23),
    arrayType(1009, '_text', 25),
    arrayType(1185, '_timestamptz', 1184),
    arrayType(1231, '_numeric', 1700),
    arrayType(2951, '_uuid', 2950),
    arrayType(3807, '_jsonb', 3802),
    arrayType(19714, '_mood', 19715),
    catalogType({
      oid: 19715,
      name: 'mood',
      kind: 'e',
      category: 'E',
      enumLabels: ['sad', 'ok', 'happy'],
    }),
    catalogType({ oid: 19722, name: 'short_text', kind: 'd', category: 'S', baseOid: 25 }),
    catalogType({ oid: 19610, name: 'citext', category: 'S' }),
    catalogType({ oid: 19290, name: 'hstore' }),
    catalogType({ oid: 19418, name: 'ltree' }),
  ].map((type) => [type.oid, type]),
);

interface GoldenTable {
  readonly key: readonly string[];
  readonly notNull: readonly string[];
  readonly replicaIdentity: ReplicaIdentity;
  /** Column → type as `format_type` prints it, and default as `pg_get_expr` does. */
  readonly defaults: Readonly<Record<string, readonly [pgType: string, expression: string]>>;
}

const plain: GoldenTable = {
  key: ['id'],
  notNull: ['id'],
  replicaIdentity: 'default',
  defaults: {},
};
const timestamptz = 'timestamp with time zone';

const catalog: Readonly<Record<string, GoldenTable>> = {
  masters: { ...plain, defaults: { created_at: [timestamptz, 'now()'] } },
  service_event: plain,
  types_zoo: plain,
  defaults_zoo: {
    ...plain,
    notNull: ['id', 'd_int_nn', 'd_text_nn', 'd_big'],
    defaults: {
      d_int: ['integer', '7'],
      d_int_nn: ['integer', '8'],
      d_text: ['text', "'x''y'::text"],
      d_text_nn: ['text', "''::text"],
      d_bool: ['boolean', 'true'],
      d_num: ['numeric(6,2)', '1.50'],
      d_ts: [
        'timestamp without time zone',
        "'2020-01-02 03:04:05.678901'::timestamp without time zone",
      ],
      d_tstz: [timestamptz, "'2020-01-02 03:04:05+00'::timestamp with time zone"],
      d_now: [timestamptz, 'now()'],
      d_uuid: ['uuid', 'gen_random_uuid()'],
      d_enum: ['mood', "'ok'::mood"],
      d_arr: ['text[]', "'{a,b}'::text[]"],
      d_json: ['jsonb', `'{"k": 1}'::jsonb`],
      d_date: ['date', "'2020-01-02'::date"],
      d_big: ['bigint', "nextval('defaults_zoo_d_big_seq'::regclass)"],
    },
  },
  toast_zoo: { ...plain, notNull: ['id', 'big_nn'], defaults: { big_nn: ['text', "''::text"] } },
  full_zoo: { ...plain, replicaIdentity: 'full' },
  nopk: { key: [], notNull: [], replicaIdentity: 'full', defaults: {} },
  uniq_idx: { key: ['w', 'u'], notNull: ['u', 'w'], replicaIdentity: 'index', defaults: {} },
  comp_pk: { key: ['a', 'b'], notNull: ['a', 'b'], replicaIdentity: 'default', defaults: {} },
  'Odd-Näme 1': { ...plain, key: ['id-1'], notNull: ['id-1'] },
};

/** The table version that a Relation message of the run stands for. */
export function goldenTable(relation: RelationMessage): TableSchema {
  const { oid, schema, name } = relation;
  const known = catalog[name] ?? plain;
  const columns = relation.columns.map((column) => {
    const [pgType, defaultExpression] = known.defaults[column.name] ?? [''];
    return {
      name: column.name,
      type: resolveType(column.typeOid, column.typeModifier, goldenTypes),
      pgType,
      nullable: !known.notNull.includes(column.name),
      ...(defaultExpression === undefined ? {} : { defaultExpression }),
    };
  });
  return { oid, schema, name, columns, key: known.key, replicaIdentity: known.replicaIdentity };
}

/** Every table version of the run, in order: the nth entry of a table is its nth Relation message. */
export function goldenTables(): readonly TableSchema[] {
  return goldenMessages().flatMap(({ message }) =>
    message.tag === 'relation' ? [goldenTable(message)] : [],
  );
}
