import { PipelineError } from '../runtime/errors.ts';
import type { CatalogType } from './catalog.ts';
import type { LogicalType, RestatedForm } from './table-schema.ts';
import { typeMappings } from './type-mapping.ts';

type Kind = LogicalType['kind'];

/** Built-in types by their fixed oid, as the table of types lists them. */
const kindByOid: ReadonlyMap<number, Kind> = new Map(
  Object.entries(typeMappings).flatMap(([kind, mapping]) =>
    mapping.postgres.map(([oid]): [number, Kind] => [oid, kind as Kind]),
  ),
);

/** Domains over domains, arrays of domains: PostgreSQL nests them without a limit of its own. */
const nestingMax = 32;

/** Catalogued as arrays, but written without braces: int2vector and oidvector. */
const vectorOids: ReadonlySet<number> = new Set([22, 30]);

/** The one built-in type whose arrays are separated by ";" instead of ",": its arrays stay text. */
const boxOid = 603;

/** Every type modifier that has a length counts it from 4. */
const typmodHeader = 4;

/** Fraction digits of time types without a declared precision. */
const fractionDigitsMax = 6;

/**
 * What values of a column are, from its type's oid and modifier as the Relation message has them.
 * Domains count as their base type; what has no kind of its own is 'other': exact text. `types` holds
 * the catalog's types by oid; built-in ones may be missing from it.
 * https://www.postgresql.org/docs/current/catalog-pg-type.html
 */
export function resolveType(
  oid: number,
  typmod: number,
  types: ReadonlyMap<number, CatalogType>,
): LogicalType {
  return resolve({ oid, typmod, depth: 0 }, types);
}

interface TypeReference {
  readonly oid: number;
  readonly typmod: number;
  readonly depth: number;
}

function resolve(reference: TypeReference, types: ReadonlyMap<number, CatalogType>): LogicalType {
  const { oid, typmod } = reference;
  const depth = reference.depth + 1;
  if (depth > nestingMax) {
    throw new PipelineError('source-unfit', `type ${oid} nests more than ${nestingMax} levels`);
  }
  const builtIn = kindByOid.get(oid);
  if (builtIn === 'named-text') return namedText(oid);
  const restated = restatedForms.get(oid);
  if (restated !== undefined) return restatedType(restated, typmod);
  if (builtIn !== undefined) return withModifier(builtIn, typmod);
  const type = types.get(oid);
  if (type === undefined) return { kind: 'other' };
  if (type.kind === 'd') {
    return resolve({ oid: type.baseOid, typmod: type.baseTypeModifier, depth }, types);
  }
  if (type.kind === 'e') return { kind: 'enum', labels: type.enumLabels };
  if (type.kind === 'b' && type.name === 'citext') return { kind: 'text' };
  if (type.kind === 'b' && type.name === 'ltree') return namedText(oid);
  if (type.kind === 'b' && type.name === 'hstore') return restatedType('hstore', typmod);
  if (isPlainArray(type)) {
    const element = resolve({ oid: type.elementOid, typmod, depth }, types);
    // Their exact texts have no place inside an array.
    return { kind: 'array', element: element.kind === 'restated' ? { kind: 'other' } : element };
  }
  return { kind: 'other' };
}

const isPlainArray = (type: CatalogType): boolean =>
  type.category === 'A' &&
  type.elementOid !== 0 &&
  type.elementOid !== boxOid &&
  !vectorOids.has(type.oid);

function withModifier(kind: Kind, typmod: number): LogicalType {
  if (kind === 'numeric') return numericType(typmod);
  if (kind === 'time' || kind === 'timestamp' || kind === 'timestamptz') {
    return { kind, precision: typmod < 0 ? fractionDigitsMax : typmod };
  }
  // Neither has a fixed oid, so neither is found by one.
  if (kind === 'enum' || kind === 'array' || kind === 'named-text' || kind === 'restated') {
    return { kind: 'other' };
  }
  return { kind };
}

/** Built-in types that Debezium restates, by their fixed oid. */
const restatedForms: ReadonlyMap<number, RestatedForm> = new Map([
  [600, 'point'],
  [790, 'money'],
  [1186, 'interval'],
  [1266, 'timetz'],
  [1560, 'bits'],
  [1562, 'bits'],
]);

/** The modifier of bit(n) and varbit(n) is n; without one it is no limit. */
function restatedType(form: RestatedForm, typmod: number): LogicalType {
  if (form !== 'bits') return { kind: 'restated', form, length: 0 };
  if (typmod === 1) return { kind: 'restated', form: 'bit', length: 0 };
  return { kind: 'restated', form, length: typmod < 0 ? bitsMax : typmod };
}

/** What Debezium takes for the length of a bit string without one. */
const bitsMax = 2_147_483_647;

/** Debezium's names for texts; any other oid is that of ltree, which every database numbers anew. */
function namedText(oid: number): LogicalType {
  const names: Readonly<Record<number, string>> = { 142: 'Xml', 3614: 'Tsvector' };
  return { kind: 'named-text', connectName: `io.debezium.data.${names[oid] ?? 'Ltree'}` };
}

/** Precision in the high 16 bits, scale as a signed 11-bit number in the low ones (PostgreSQL 15 and later). */
function numericType(typmod: number): LogicalType {
  if (typmod < typmodHeader) return { kind: 'numeric-free' };
  const packed = typmod - typmodHeader;
  return {
    kind: 'numeric',
    precision: (packed >> 16) & 0xffff,
    scale: ((packed & 0x7ff) << 21) >> 21,
  };
}
