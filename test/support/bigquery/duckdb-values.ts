import {
  BIGINT,
  BIGNUM,
  BLOB,
  BOOLEAN,
  DATE,
  DECIMAL,
  DOUBLE,
  type DuckDBConnection,
  DuckDBBlobValue,
  DuckDBDataChunk,
  DuckDBDateValue,
  DuckDBDecimalValue,
  DuckDBListValue,
  DuckDBStructValue,
  DuckDBTimeValue,
  DuckDBTimestampTZValue,
  DuckDBTimestampValue,
  type DuckDBType,
  type DuckDBValue,
  LIST,
  STRUCT,
  TIME,
  TIMESTAMP,
  TIMESTAMPTZ,
  VARCHAR,
} from '@duckdb/node-api';
import type { Field } from './table-schema.ts';
import type { Cell, Row } from './value-rules.ts';

/** Rows of one data chunk: DuckDB's vector size. */
const chunkRows = 2048;

const scalarTypes: Record<Exclude<Field['type'], 'STRUCT'>, DuckDBType> = {
  STRING: VARCHAR,
  BYTES: BLOB,
  INT64: BIGINT,
  FLOAT64: DOUBLE,
  NUMERIC: DECIMAL(38, 9),
  BIGNUMERIC: STRUCT({ bignumeric: BIGNUM }),
  BOOL: BOOLEAN,
  TIMESTAMP: TIMESTAMPTZ,
  DATE: DATE,
  TIME: TIME,
  DATETIME: TIMESTAMP,
  JSON: VARCHAR,
};

function chunkType(field: Field): DuckDBType {
  const type =
    field.type === 'STRUCT'
      ? STRUCT(Object.fromEntries(field.fields.map((inner) => [inner.name, chunkType(inner)])))
      : scalarTypes[field.type];
  return field.mode === 'REPEATED' ? LIST(type) : type;
}

function chunkValue(field: Field, cell: Cell): DuckDBValue {
  if (cell === null) return null;
  if (field.mode === 'REPEATED') {
    const element: Field = { ...field, mode: 'NULLABLE' };
    return new DuckDBListValue(
      (cell as readonly Cell[]).map((value) => chunkValue(element, value)),
    );
  }
  switch (field.type) {
    case 'BYTES':
      return new DuckDBBlobValue(cell as Uint8Array);
    case 'NUMERIC':
      return new DuckDBDecimalValue(cell as bigint, 38, 9);
    case 'BIGNUMERIC':
      return new DuckDBStructValue({ bignumeric: cell as bigint });
    case 'TIMESTAMP':
      return new DuckDBTimestampTZValue(cell as bigint);
    case 'DATETIME':
      return new DuckDBTimestampValue(cell as bigint);
    case 'TIME':
      return new DuckDBTimeValue(cell as bigint);
    case 'DATE':
      return new DuckDBDateValue(cell as number);
    case 'STRUCT': {
      const row = cell as Row;
      return new DuckDBStructValue(
        Object.fromEntries(
          field.fields.map((inner) => [inner.name, chunkValue(inner, row[inner.name] ?? null)]),
        ),
      );
    }
    default:
      return cell as DuckDBValue;
  }
}

/** Where rows go: a table of DuckDB, by schema and name, with its columns in order. */
export interface AppendTarget {
  readonly schema: string;
  readonly name: string;
  readonly fields: readonly Field[];
}

/** Appends checked rows in the connection's transaction. */
export async function appendCells(
  connection: DuckDBConnection,
  target: AppendTarget,
  rows: readonly Row[],
): Promise<void> {
  if (rows.length === 0) return;
  const { fields, name, schema } = target;
  const appender = await connection.createAppender(name, schema);
  try {
    const types = fields.map(chunkType);
    for (let start = 0; start < rows.length; start += chunkRows) {
      const part = rows.slice(start, start + chunkRows);
      const chunk = DuckDBDataChunk.create(types, part.length);
      for (const [index, field] of fields.entries()) {
        chunk.setColumnValues(
          index,
          part.map((row) => chunkValue(field, row[field.name] ?? null)),
        );
      }
      appender.appendDataChunk(chunk);
    }
  } finally {
    appender.closeSync();
  }
}
