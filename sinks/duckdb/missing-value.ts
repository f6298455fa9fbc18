import { ExactText } from '../../schemas/change.ts';
import { parseArray } from '../../schemas/pg-text.ts';
import type { LogicalType } from '../../schemas/table-schema.ts';
import { duckdbTypeOf } from '../../schemas/type-mapping.ts';
import type { MissingConstant } from '../lake/plan-evolution.ts';
import { hasLoneSurrogate } from './encode.ts';
import { exactTextOf } from '../lake/exact.ts';
import { quoteText } from './sql.ts';

/** PostgreSQL's text of a constant default (`attmissingval`) as DuckDB has to be told it. */
export function missingConstant(type: LogicalType, text: string): MissingConstant {
  const sql = constantSql(type, text);
  const lakeType = duckdbTypeOf(type);
  if (sql !== null) return { sql: `${sql}::${lakeType}`, exact: null };
  const cell = lakeType === 'VARCHAR' ? quoteText(text) : 'null';
  return { sql: `${cell}::${lakeType}`, exact: exactTextOf(type, new ExactText(text)) };
}

const number = /^-?\d+(\.\d+)?$/;
const fourDigitYear = /^\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d(\.\d+)?(\+00)?)?$/;

/** null: the type has no plain form of it. */
function constantSql(type: LogicalType, text: string): string | null {
  const quoted = quoteText(text);
  switch (type.kind) {
    case 'bool':
      return text === 't' || text === 'true' ? 'true' : 'false';
    case 'int2':
    case 'int4':
    case 'int8':
    case 'oid':
      return quoted;
    case 'float4':
    case 'float8':
      return Object.is(Number(text), -0) ? null : quoted;
    case 'numeric':
    case 'numeric-free':
      return number.test(text) ? quoted : null;
    case 'date':
    case 'timestamp':
    case 'timestamptz':
      return fourDigitYear.test(text) ? quoted : null;
    case 'time':
      return text.startsWith('24') ? null : quoted;
    case 'bytea':
      return `from_hex(${quoteText(text.replace(/^\\x/, ''))})`;
    case 'json':
    case 'jsonb':
      return hasLoneSurrogate(text) ? null : quoted;
    case 'array':
      return arraySql(type.element, text);
    default:
      return quoted;
  }
}

function arraySql(element: LogicalType, text: string): string | null {
  const items = parseArray(text)?.map((item) =>
    item === null ? 'null' : constantSql(element, item),
  );
  if (items === undefined || items.includes(null)) return null;
  return `[${items.join(', ')}]`;
}
