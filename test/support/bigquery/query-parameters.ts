import { ServiceError } from './service-error.ts';
import { quoteText } from './sql/translate.ts';
import { duckdbType, type FieldResource, quoteName, readFields } from './table-schema.ts';
import { bignumericScale, checkCell, decimalText } from './value-rules.ts';

interface ParameterType {
  readonly type: string;
  readonly arrayType?: ParameterType;
  readonly structTypes?: readonly { readonly name: string; readonly type: ParameterType }[];
}

interface ParameterValue {
  readonly value?: string | null;
  readonly arrayValues?: readonly ParameterValue[];
  readonly structValues?: Readonly<Record<string, ParameterValue>>;
}

export interface QueryParameter {
  readonly name?: string;
  readonly parameterType: ParameterType;
  readonly parameterValue?: ParameterValue;
}

/** SQL of each parameter, by lower-case name or by number. Values out of range throw `invalid`. */
export function parameterSql(parameters: readonly QueryParameter[]): Map<string, string> {
  return new Map(
    parameters.map(({ name, parameterType, parameterValue }, index) => [
      name?.toLowerCase() ?? String(index),
      valueSql(parameterType, parameterValue ?? {}),
    ]),
  );
}

function fieldOf(name: string, type: ParameterType): FieldResource {
  if (type.arrayType !== undefined) return { ...fieldOf(name, type.arrayType), mode: 'REPEATED' };
  if (type.structTypes === undefined) return { name, type: type.type };
  return {
    name,
    type: 'STRUCT',
    fields: type.structTypes.map((inner) => fieldOf(inner.name, inner.type)),
  };
}

function valueSql(type: ParameterType, given: ParameterValue): string {
  const [field] = readFields([fieldOf('value', type)]);
  if (field === undefined) throw new ServiceError('invalid', `Invalid parameter type ${type.type}`);
  const sqlType = duckdbType(field);
  const { arrayType, structTypes } = type;
  if (arrayType !== undefined) {
    const values = (given.arrayValues ?? []).map((value) => valueSql(arrayType, value));
    return `CAST([${values.join(', ')}] AS ${sqlType})`;
  }
  if (structTypes !== undefined) {
    const parts = structTypes.map(
      (inner) =>
        `${quoteName(inner.name)} := ${valueSql(inner.type, given.structValues?.[inner.name] ?? {})}`,
    );
    return `struct_pack(${parts.join(', ')})`;
  }
  if (given.value === null || given.value === undefined) return `CAST(NULL AS ${sqlType})`;
  const cell = checkCell(field, given.value);
  if (cell instanceof Uint8Array) return `unhex('${Buffer.from(cell).toString('hex')}')`;
  if (field.type === 'TIMESTAMP') return `make_timestamptz(${cell as bigint}::bigint)`;
  if (field.type === 'BIGNUMERIC')
    return `bq_bignumeric(${quoteText(decimalText(cell as bigint, bignumericScale))})`;
  const text = field.type === 'NUMERIC' ? decimalText(cell as bigint, 9) : String(given.value);
  return `CAST(${quoteText(text)} AS ${sqlType})`;
}
