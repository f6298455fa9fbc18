import type { DuckDBConnection } from '@duckdb/node-api';
import { ServiceError } from '../service-error.ts';
import { type Field, quoteName } from '../table-schema.ts';
import { quoteText } from './translate.ts';

interface Rule {
  /** True of a value that BigQuery refuses. */
  readonly isBroken: string;
  readonly what: string;
}

/** First moments that are no longer BigQuery's, on both sides. DuckDB's infinities lie beyond them. */
const bounds: Partial<Record<Field['type'], readonly [type: string, below: string, from: string]>> =
  {
    DATE: ['date', '0001-01-01', '10000-01-01'],
    DATETIME: ['timestamp', '0001-01-01 00:00:00', '10000-01-01 00:00:00'],
    TIMESTAMP: ['timestamptz', '0001-01-01 00:00:00+00', '10000-01-01 00:00:00+00'],
  };

function scalarRules(field: Field, value: string): Rule[] {
  const { fields, maxLength, name, type } = field;
  const bound = bounds[type];
  if (bound !== undefined) {
    const [sqlType, below, from] = bound;
    const isBroken = `${value} < ${sqlType} '${below}' or ${value} >= ${sqlType} '${from}'`;
    return [{ isBroken, what: `${type} value out of range in field ${name}` }];
  }
  if (type === 'STRUCT')
    return fields.flatMap((inner) => fieldRules(inner, `${value}.${quoteName(inner.name)}`));
  if (maxLength === undefined) return [];
  const length = type === 'BYTES' ? 'octet_length' : 'length';
  const what = `Field ${name}: maximum length ${maxLength} is exceeded`;
  return [{ isBroken: `${length}(${value}) > ${maxLength}`, what }];
}

function fieldRules(field: Field, value: string): Rule[] {
  if (field.mode !== 'REPEATED') return scalarRules(field, value);
  const isAny = (condition: string) => `len([e for e in ${value} if ${condition}]) > 0`;
  const hasNull: Rule = {
    isBroken: isAny('e is null'),
    what: `Array cannot have a null element; error in writing field ${field.name}`,
  };
  const elements = scalarRules({ ...field, mode: 'NULLABLE' }, 'e');
  return [hasNull, ...elements.map(({ isBroken, what }) => ({ isBroken: isAny(isBroken), what }))];
}

/**
 * Throws `invalidQuery` if a statement has left a value in a table that BigQuery would not have taken and
 * that DuckDB's types allow. Whoever calls rolls the statement back.
 */
export async function checkStored(
  connection: DuckDBConnection,
  table: string,
  fields: readonly Field[],
): Promise<void> {
  const rules = fields.flatMap((field) => fieldRules(field, quoteName(field.name)));
  if (rules.length === 0) return;
  const broken = rules.map(({ isBroken, what }) => `when ${isBroken} then ${quoteText(what)}`);
  const read = await connection.runAndReadAll(
    `select what from (select case ${broken.join(' ')} end as what from ${table}) where what is not null limit 1`,
  );
  const what = read.getRows()[0]?.[0];
  if (typeof what === 'string') throw new ServiceError('invalidQuery', what);
}
