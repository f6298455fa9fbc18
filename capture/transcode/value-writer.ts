import type { LogicalType } from '../../schemas/table-schema.ts';
import { arrayWriter } from './array-writer.ts';
import { decimalWriter, writeFreeDecimal } from './decimal-writers.ts';
import { writeDouble, writeFloat } from './float-writers.ts';
import { writeBool, writeDecimalInteger } from './integer-writers.ts';
import { timestampWriter, timeWriter, writeDate, zonedWriter } from './moment-writers.ts';
import type { ValueWriter } from './outcome.ts';
import { restatedWriter } from './restated-writers.ts';
import { writeBytea, writeString } from './text-writers.ts';

/** The writer for values of a type: text → Avro as `avroTypeOf` describes it, without union. */
export function valueWriter(type: LogicalType): ValueWriter {
  switch (type.kind) {
    case 'bool':
      return writeBool;
    case 'int2':
    case 'int4':
    case 'int8':
    case 'oid':
      return writeDecimalInteger;
    case 'float4':
      return writeFloat;
    case 'float8':
      return writeDouble;
    case 'numeric':
      return decimalWriter(type.scale);
    case 'numeric-free':
      return writeFreeDecimal;
    case 'date':
      return writeDate;
    case 'time':
      return timeWriter(type.precision);
    case 'timestamp':
      return timestampWriter(type.precision);
    case 'timestamptz':
      return zonedWriter(type.precision);
    case 'bytea':
      return writeBytea;
    case 'array': {
      const { element } = type;
      return arrayWriter({ write: valueWriter(element), nullable: element.kind !== 'enum' });
    }
    case 'restated':
      return restatedWriter(type.form);
    case 'text':
    case 'uuid':
    case 'json':
    case 'jsonb':
    case 'enum':
    case 'inet':
    case 'named-text':
    case 'other':
      return writeString;
  }
}

/** Bytes of Avro per byte of text at most, beside a few of overhead: short elements of arrays grow most. */
export function growthOf(type: LogicalType): number {
  if (type.kind === 'array') return 5;
  return type.kind === 'restated' && type.form === 'hstore' ? 6 : 1;
}
