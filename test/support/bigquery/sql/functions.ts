import { ServiceError } from '../service-error.ts';
import { reserved } from './types.ts';

/** Functions of BigQuery's whose name in DuckDB means something else, or another form of it. */
const renamed: Readonly<Record<string, string>> = {
  SHA256: 'bq_sha256',
  MD5: 'bq_md5',
  DATE_ADD: 'bq_date_add',
  DATE_SUB: 'bq_date_sub',
  DATE: 'bq_date',
  TIMESTAMP: 'bq_timestamp',
  ARRAY_LENGTH: 'bq_array_length',
  SUBSTR: 'bq_substr',
  SUBSTRING: 'bq_substr',
  REGEXP_REPLACE: 'bq_regexp_replace',
};

/** Functions that DuckDB, or a macro of `macros.ts`, gives the same result for. */
const same = new Set(
  `ABS ANY_VALUE APPROX_COUNT_DISTINCT ARRAY_AGG ARRAY_TO_STRING AVG CEIL COALESCE COUNT COUNTIF DENSE_RANK ENDS_WITH
  ERROR FIRST_VALUE FLOOR FROM_BASE64 FROM_HEX GENERATE_UUID IF IFNULL JSON_QUERY JSON_QUERY_ARRAY JSON_VALUE JSON_VALUE_ARRAY LAG LAST_VALUE LEAD LENGTH
  LOGICAL_AND LOGICAL_OR LOWER LPAD LTRIM MAX MIN MOD NULLIF PARSE_JSON RANK REGEXP_CONTAINS REPEAT REPLACE REVERSE
  ROUND ROW_NUMBER RPAD RTRIM SAFE_DIVIDE SIGN SPLIT STARTS_WITH STRING_AGG STRPOS SUM TIMESTAMP_ADD TIMESTAMP_MICROS
  TIMESTAMP_MILLIS TIMESTAMP_SECONDS TIMESTAMP_SUB TO_BASE64 TO_HEX TO_JSON_STRING TRIM UNIX_MICROS UNIX_MILLIS
  UNIX_SECONDS UPPER`.split(/\s+/),
);

/** Words that stand before a bracket without calling anything. */
const words: ReadonlySet<string> = new Set(['VALUES', 'INSERT', 'INTERVAL']);

/**
 * DuckDB's name for a function. Throws `invalidQuery` for one that nobody has compared: DuckDB may have
 * another one of that name.
 */
export function functionName(upper: string): string {
  const name = renamed[upper];
  if (name !== undefined) return name;
  if (same.has(upper) || words.has(upper) || reserved.has(upper)) return upper;
  throw new ServiceError(
    'invalidQuery',
    `Function not found: ${upper}, which is not supported by this stand-in`,
  );
}
