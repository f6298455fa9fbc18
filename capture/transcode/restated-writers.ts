import { intervalMicros, zonedTimeText } from '../../schemas/restated-text.ts';
import type { RestatedForm } from '../../schemas/table-schema.ts';
import { hashMapOrder } from '../java-hash-order.ts';
import type { AvroOutput, TextSpan } from './avro-output.ts';
import { decimalWriter } from './decimal-writers.ts';
import { approximate, invalidText, type ValueWriter, unrepresentable } from './outcome.ts';

/*
 * Values that Debezium states anew in a form of its own. None of the forms gives back every text of
 * its type, so the exact text always goes beside the value: the outcome is never `exact`.
 */

const one = 0x31;

/** The writer for a form: PostgreSQL's text → Avro as `avroTypeOf` describes it, without union. */
export function restatedWriter(form: RestatedForm): ValueWriter {
  switch (form) {
    case 'bit':
      return writeBit;
    case 'bits':
      return writeBits;
    case 'hstore':
      return writeHstore;
    case 'interval':
      return writeInterval;
    case 'money':
      return writeMoney;
    case 'point':
      return writePoint;
    case 'timetz':
      return writeZonedTime;
  }
}

const textOf = ({ bytes, start, end }: TextSpan): string => bytes.toString('utf8', start, end);

/** bit(1) → boolean */
const writeBit: ValueWriter = (output, text) => {
  output.writeByte(text.bytes[text.start] === one ? 1 : 0);
  return approximate;
};

/** "101000011" → the bits as a number, lowest byte first, as many bytes as its highest bit takes. */
const writeBits: ValueWriter = (output, text) => {
  const { bytes, start, end } = text;
  const first = bytes.indexOf(one, start);
  const count = first < 0 || first >= end ? 0 : end - first;
  const length = Math.ceil(count / 8);
  output.writeInteger(length);
  let position = output.position;
  for (let low = end; low > end - count; low -= 8) {
    let byte = 0;
    for (let at = Math.max(low - 8, end - count); at < low; at += 1) {
      byte = (byte << 1) | (bytes[at] === one ? 1 : 0);
    }
    output.bytes[position++] = byte;
  }
  output.position = position;
  return approximate;
};

const pointPattern = /^\(([^,]+),([^,)]+)\)$/;
/** Well-known binary of a point: little-endian, type 1. https://www.ogc.org/standards/sfa/ */
const pointHead = Buffer.of(1, 1, 0, 0, 0);
const pointBytes = 21;
const present = 2;
const absent = 0;

/** "(1.5,-2.25)" → x, y, both again as well-known binary, no reference system */
const writePoint: ValueWriter = (output, text) => {
  const match = pointPattern.exec(textOf(text));
  if (match === null) throw invalidText('point', text);
  const pair = Buffer.alloc(16);
  pair.writeDoubleLE(Number(match[1]), 0);
  pair.writeDoubleLE(Number(match[2]), 8);
  output.writeBuffer(pair);
  output.writeByte(present);
  output.writeInteger(pointBytes);
  output.writeBuffer(pointHead);
  output.writeBuffer(pair);
  output.writeByte(absent);
  return approximate;
};

const writeInterval: ValueWriter = (output, text) => {
  const micros = intervalMicros(textOf(text));
  if (micros === null) return unrepresentable;
  output.writeLong(micros);
  return approximate;
};

const moneyPattern = /^(-?)(\(?)\$([\d,]+\.\d\d)\)?$/;
const writeCents = decimalWriter(2);

/** "-$1,234.56", as lc_monetary C and en_US have it, → −123456. Other currencies have no such form. */
const writeMoney: ValueWriter = (output, text) => {
  const match = moneyPattern.exec(textOf(text));
  if (match === null) return unrepresentable;
  const sign = match[1] === '-' || match[2] === '(' ? '-' : '';
  const bytes = Buffer.from(`${sign}${(match[3] ?? '').replaceAll(',', '')}`);
  writeCents(output, { bytes, start: 0, end: bytes.length });
  return approximate;
};

const writeZonedTime: ValueWriter = (output, text) => {
  const zoned = zonedTimeText(textOf(text));
  if (zoned === null) return unrepresentable;
  writeOwnText(output, zoned);
  return approximate;
};

const hstorePair = /"((?:[^"\\]|\\.)*)"=>(?:NULL|"((?:[^"\\]|\\.)*)")/gs;
const unescaped = (text: string): string => text.replaceAll(/\\(.)/gs, '$1');

/** `"a"=>"1", "b"=>NULL` → {"a":"1","b":null}, members in the order of a Java HashMap */
const writeHstore: ValueWriter = (output, text) => {
  const members = new Map<string, string | null>();
  for (const [, name = '', value] of textOf(text).matchAll(hstorePair)) {
    members.set(unescaped(name), value === undefined ? null : unescaped(value));
  }
  const written = hashMapOrder([...members.keys()]).map(
    (name) => `${jsonText(name)}:${jsonText(members.get(name) ?? null)}`,
  );
  writeOwnText(output, `{${written.join(',')}}`);
  return approximate;
};

/** As Jackson writes it: hexadecimal digits are upper case. */
function jsonText(value: string | null): string {
  return JSON.stringify(value).replaceAll(
    /(?<!\\)((?:\\\\)*)\\u([0-9a-f]{4})/g,
    (_, before: string, digits: string) => `${before}\\u${digits.toUpperCase()}`,
  );
}

function writeOwnText(output: AvroOutput, text: string): void {
  const bytes = Buffer.from(text);
  output.writeText({ bytes, start: 0, end: bytes.length });
}
