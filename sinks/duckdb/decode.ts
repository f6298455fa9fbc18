import {
  DuckDBBlobValue,
  DuckDBDateValue,
  DuckDBDecimalValue,
  DuckDBListValue,
  DuckDBTimestampTZValue,
  DuckDBTimestampValue,
  DuckDBTimeValue,
  type DuckDBValue,
} from '@duckdb/node-api';
import { PipelineError } from '../../runtime/errors.ts';
import type { Value } from '../../schemas/change.ts';
import type { LogicalType } from '../../schemas/table-schema.ts';
import { valueOfExact } from '../lake/exact.ts';

/** The exact inverse of `encodeValue`: `exact` is what `_cdc_exact` says of the column, undefined if nothing. */
export function decodeValue(type: LogicalType, cell: DuckDBValue, exact?: string): Value {
  if (exact !== undefined) return valueOfExact(type, exact);
  if (cell === null) return null;
  return decodeCell(type, cell);
}

function decodeCell(type: LogicalType, cell: Exclude<DuckDBValue, null>): Value {
  switch (type.kind) {
    case 'bool':
      if (typeof cell === 'boolean') return cell;
      break;
    case 'int2':
    case 'int4':
    case 'float4':
    case 'float8':
      if (typeof cell === 'number') return cell;
      break;
    case 'int8':
    case 'oid':
      if (typeof cell === 'bigint' || typeof cell === 'number') return BigInt(cell);
      break;
    case 'numeric':
      if (cell instanceof DuckDBDecimalValue) return cell.value;
      if (typeof cell === 'string') return unscaledOf(cell, type.scale);
      break;
    case 'date':
      if (cell instanceof DuckDBDateValue) return cell.days;
      break;
    case 'time':
      if (cell instanceof DuckDBTimeValue) return cell.micros;
      break;
    case 'timestamp':
      if (cell instanceof DuckDBTimestampValue) return cell.micros;
      break;
    case 'timestamptz':
      if (cell instanceof DuckDBTimestampTZValue) return cell.micros;
      break;
    case 'bytea':
      if (cell instanceof DuckDBBlobValue) return new Uint8Array(cell.bytes);
      break;
    case 'array':
      if (cell instanceof DuckDBListValue) {
        return cell.items.map((item) => decodeValue(type.element, item));
      }
      break;
    case 'uuid':
      return String(cell);
    default:
      if (typeof cell === 'string') return cell;
  }
  throw new PipelineError(
    'sink-corrupt',
    `a lake column that should hold ${type.kind} holds something else`,
    { hint: 'delete the lake file to load it anew from the log' },
  );
}

/** ("-12.50", 2) → −1250; ("1200", −2) → 12. */
function unscaledOf(text: string, scale: number): bigint {
  if (scale <= 0) return BigInt(text) / 10n ** BigInt(-scale);
  const [whole = '', fraction = ''] = text.split('.');
  return BigInt(`${whole}${fraction.padEnd(scale, '0')}`);
}
