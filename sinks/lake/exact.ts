import { ExactText, type Value } from '../../schemas/change.ts';
import type { LogicalType } from '../../schemas/table-schema.ts';

/*
 * The texts in `_cdc_exact`, a JSON object column → text. An ExactText is its own text, which is
 * PostgreSQL's. The few other values that a column cannot hold have forms that PostgreSQL's text of the
 * type never has, so reading back gives exactly what was written:
 *   float −0 → "-0" · times beyond an engine's range → "<µs since 1970 or midnight> us" ·
 *   dates beyond it → "<days since 1970> days" ·
 *   arrays with such an element → "json:[...]" of the elements' forms · json, uuid → the text itself
 */

const arrayPrefix = 'json:';

/** What `_cdc_exact` says of a value that its column cannot hold. */
export function exactTextOf(type: LogicalType, value: Exclude<Value, null>): string {
  if (value instanceof ExactText) return value.text;
  if (type.kind === 'array' && Array.isArray(value)) {
    const items = (value as readonly Value[]).map((item) => elementForm(type.element, item));
    return `${arrayPrefix}${JSON.stringify(items)}`;
  }
  if (type.kind === 'date' && typeof value === 'number') return `${value} days`;
  return typeof value === 'bigint' ? `${value} us` : plainText(value);
}

/** The value that `exactTextOf` wrote. */
export function valueOfExact(type: LogicalType, text: string): Value {
  switch (type.kind) {
    case 'float4':
    case 'float8':
      return text === '-0' ? -0 : new ExactText(text);
    case 'date':
      return /^-?\d+ days$/.test(text) ? Number(text.slice(0, -5)) : new ExactText(text);
    case 'time':
    case 'timestamp':
    case 'timestamptz':
      return /^-?\d+ us$/.test(text) ? BigInt(text.slice(0, -3)) : new ExactText(text);
    case 'json':
    case 'jsonb':
    case 'uuid':
      return text;
    case 'array':
      return text.startsWith(arrayPrefix)
        ? elementsOf(type.element, text.slice(arrayPrefix.length))
        : new ExactText(text);
    default:
      return new ExactText(text);
  }
}

type ElementForm = null | string | { readonly exact: string };

function elementForm(type: LogicalType, value: Value): ElementForm {
  if (value === null) return null;
  if (value instanceof ExactText) return { exact: value.text };
  return type.kind === 'array' ? exactTextOf(type, value) : plainText(value);
}

function plainText(value: Exclude<Value, null | ExactText>): string {
  if (Object.is(value, -0)) return '-0';
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

function elementsOf(type: LogicalType, json: string): readonly Value[] {
  return (JSON.parse(json) as readonly ElementForm[]).map((form) => {
    if (form === null) return null;
    return typeof form === 'string' ? elementOf(type, form) : new ExactText(form.exact);
  });
}

function elementOf(type: LogicalType, form: string): Value {
  switch (type.kind) {
    case 'bool':
      return form === 'true';
    case 'int2':
    case 'int4':
    case 'float4':
    case 'float8':
    case 'date':
      return Number(form);
    case 'int8':
    case 'oid':
    case 'numeric':
    case 'time':
    case 'timestamp':
    case 'timestamptz':
      return BigInt(form);
    case 'bytea':
      return new Uint8Array(Buffer.from(form, 'hex'));
    case 'array':
      return elementsOf(type.element, form.slice(arrayPrefix.length));
    default:
      return form;
  }
}
