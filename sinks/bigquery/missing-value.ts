import { ExactText } from '../../schemas/change.ts';
import type { LogicalType } from '../../schemas/table-schema.ts';
import { exactTextOf } from '../lake/exact.ts';
import type { MissingConstant } from '../lake/plan-evolution.ts';
import { isDocument } from './column-policy.ts';
import { readJson } from './json-document.ts';
import { documentSql, quoteText } from './sql.ts';

/** PostgreSQL's text of a constant default (`attmissingval`) as BigQuery has to be told it. */
export function missingConstant(
  type: LogicalType,
  text: string,
  lakeType: string,
): MissingConstant {
  if (isDocument(type.kind) && lakeType === 'JSON') return missingDocument(text);
  const sql = constantSql(type, text);
  if (sql !== null) return { sql: `cast(${sql} as ${lakeType})`, exact: null };
  const cell = lakeType === 'STRING' ? quoteText(text) : 'null';
  const exact = exactTextOf(type, new ExactText(text));
  return { sql: `cast(${cell} as ${lakeType})`, exact };
}

/** What a document comes to in a JSON column. There is no record that could be a dead letter instead. */
function missingDocument(text: string): MissingConstant {
  const { canonical, problem } = readJson(text);
  return {
    sql: problem === null ? documentSql(quoteText(text)) : 'cast(null as JSON)',
    exact: problem === null && canonical === text ? null : text,
  };
}

const number = /^-?\d+(\.\d+)?$/;
const fourDigitYear = /^(?!0000)\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d(\.\d+)?(\+00)?)?$/;

/** null: the type has no plain form of it. */
function constantSql(type: LogicalType, text: string): string | null {
  const quoted = quoteText(text);
  switch (type.kind) {
    case 'bool':
      return text === 't' || text === 'true' ? 'true' : 'false';
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
    case 'array':
      return null;
    default:
      return quoted;
  }
}
