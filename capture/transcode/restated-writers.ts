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

/** What Debezium takes for the length of a month. */
const daysPerMonth = 30.4375;
const longMax = 2n ** 63n - 1n;
const intervalPattern =
  /^(?:(-?\d+) years? ?)?(?:([+-]?\d+) mons? ?)?(?:([+-]?\d+) days? ?)?(?:([+-]?)(\d+):(\d\d):(\d\d)(?:\.(\d+))?)?$/;

/**
 * intervalstyle=postgres: "1 year 2 mons -3 days +04:05:06.789" → microseconds. Debezium counts in
 * doubles and cuts off; so does this, or the last digit would differ.
 */
const writeInterval: ValueWriter = (output, text) => {
  const match = intervalPattern.exec(textOf(text));
  if (match === null) return unrepresentable;
  const [years, months, days] = [match[1], match[2], match[3]].map((part) => Number(part ?? 0));
  const sign = match[4] === '-' ? -1 : 1;
  const [hours, minutes, whole] = [match[5], match[6], match[7]].map(
    (part) => sign * Number(part ?? 0),
  );
  const micros = sign * Number((match[8] ?? '').padEnd(6, '0'));
  const seconds = (whole ?? 0) + micros / 1e6;
  const wholeDays = ((years ?? 0) * 12 + (months ?? 0)) * daysPerMonth + (days ?? 0);
  const total = ((wholeDays * 24 + (hours ?? 0)) * 60 + (minutes ?? 0)) * 60 + seconds;
  output.writeLong(toLong(total * 1e6));
  return approximate;
};

/** Java's cast: towards zero, and to the ends of the range beyond them. */
function toLong(value: number): bigint {
  const cut = BigInt(Math.trunc(value));
  if (cut > longMax) return longMax;
  return cut < -longMax - 1n ? -longMax - 1n : cut;
}

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

const zonedPattern = /^(\d\d):(\d\d):(\d\d)(\.\d+)?([+-])(\d\d)(?::(\d\d))?(?::(\d\d))?$/;
const secondsPerDay = 86_400;
const pad = (value: number): string => String(value).padStart(2, '0');

/** "12:34:56.5+02:30" → "10:04:56.5Z"; the day's last moment, 24:00:00, is no time to Debezium. */
const writeZonedTime: ValueWriter = (output, text) => {
  const match = zonedPattern.exec(textOf(text));
  if (match === null) throw invalidText('timetz', text);
  const [hour, minute, second] = [match[1], match[2], match[3]].map(Number);
  if (hour === 24) return unrepresentable;
  const offset = Number(match[6]) * 3600 + Number(match[7] ?? 0) * 60 + Number(match[8] ?? 0);
  const local = (hour ?? 0) * 3600 + (minute ?? 0) * 60 + (second ?? 0);
  const utc = local - (match[5] === '-' ? -offset : offset);
  const of = ((utc % secondsPerDay) + secondsPerDay) % secondsPerDay;
  const clock = [Math.floor(of / 3600), Math.floor(of / 60) % 60, of % 60].map(pad).join(':');
  writeOwnText(output, `${clock}${match[4] ?? ''}Z`);
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
