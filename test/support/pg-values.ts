import fc from 'fast-check';
import type { LogicalType } from '../../schemas/table-schema.ts';

/** A value as PostgreSQL writes it and as Avro holds it (unions not wrapped). */
export interface PgValue {
  readonly text: string;
  readonly avro: unknown;
}

/** A type, and values of it that its Avro type holds exactly. */
export interface TypedValues {
  readonly type: LogicalType;
  readonly value: fc.Arbitrary<PgValue>;
}

const pad = (value: number | bigint, width: number): string => String(value).padStart(width, '0');

/** The shortest two's complement, most significant byte first. */
export function twosComplement(value: bigint): Buffer {
  let length = 1;
  while (BigInt.asIntN(length * 8, value) !== value) length += 1;
  return Buffer.from(
    BigInt.asUintN(length * 8, value)
      .toString(16)
      .padStart(length * 2, '0'),
    'hex',
  );
}

function decimalText(unscaled: bigint, scale: number): string {
  const sign = unscaled < 0n ? '-' : '';
  const digits = pad(unscaled < 0n ? -unscaled : unscaled, scale + 1);
  const point = digits.length - scale;
  return `${sign}${digits.slice(0, point)}${scale > 0 ? `.${digits.slice(point)}` : ''}`;
}

const anyText = fc
  .string({ unit: 'binary' })
  .map((text) => text.replaceAll('\0', '').toWellFormed());

/** Year of our era or before it, month and day of days since 1970; JavaScript's own calendar. */
function civil(days: number): { date: string; era: string; iso: string } {
  const date = new Date(days * 86_400_000);
  const year = date.getUTCFullYear();
  const rest = `${pad(date.getUTCMonth() + 1, 2)}-${pad(date.getUTCDate(), 2)}`;
  const isoYear = year < 0 ? `-${pad(-year, 4)}` : year > 9999 ? `+${year}` : pad(year, 4);
  const shown = year > 0 ? year : 1 - year;
  return {
    date: `${pad(shown, 4)}-${rest}`,
    era: year > 0 ? '' : ' BC',
    iso: `${isoYear}-${rest}`,
  };
}

const secondsPerDay = 86_400n;

/** Microseconds of a day → "12:34:56.789" without zeros at the end, as PostgreSQL writes it. */
function clock(micros: bigint): string {
  const seconds = micros / 1_000_000n;
  const fraction = pad(micros % 1_000_000n, 6).replace(/0+$/, '');
  const text = `${pad(seconds / 3600n, 2)}:${pad((seconds / 60n) % 60n, 2)}:${pad(seconds % 60n, 2)}`;
  return fraction === '' ? text : `${text}.${fraction}`;
}

const unitOf = (precision: number): bigint => 10n ** BigInt(6 - precision);

/** Microseconds since 1970 in the years −4713 to 9999 and beyond, cut to the precision. */
const momentMicros = (precision: number): fc.Arbitrary<bigint> => {
  const unit = unitOf(precision);
  const max = 8_000_000_000_000_000_000n / unit;
  const near = 4_000_000_000_000_000n / unit;
  return fc
    .oneof(fc.bigInt(-near, near), fc.bigInt(-210_000_000_000_000_000n / unit, max))
    .map((units) => units * unit);
};

function momentText(micros: bigint): { text: string; era: string; iso: string; ofDay: bigint } {
  const perDay = secondsPerDay * 1_000_000n;
  const ofDay = ((micros % perDay) + perDay) % perDay;
  const { date, era, iso } = civil(Number((micros - ofDay) / perDay));
  return { text: `${date} ${clock(ofDay)}`, era, iso, ofDay };
}

const valuesOf = (type: LogicalType, value: fc.Arbitrary<PgValue>): TypedValues => ({
  type,
  value,
});

function timestampValues(precision: number): TypedValues {
  const value = momentMicros(precision).map((micros) => {
    const { text, era } = momentText(micros);
    return { text: text + era, avro: precision <= 3 ? micros / 1000n : micros };
  });
  return valuesOf({ kind: 'timestamp', precision }, value);
}

function timestamptzValues(precision: number): TypedValues {
  const value = momentMicros(precision).map((micros) => {
    const { text, era, iso, ofDay } = momentText(micros);
    const fraction = precision > 0 ? `.${pad(ofDay % 1_000_000n, 6).slice(0, precision)}` : '';
    const whole = clock(ofDay - (ofDay % 1_000_000n));
    return { text: `${text}+00${era}`, avro: `${iso}T${whole}${fraction}Z` };
  });
  return valuesOf({ kind: 'timestamptz', precision }, value);
}

function timeValues(precision: number): TypedValues {
  const unit = unitOf(precision);
  const value = fc.bigInt(0n, (secondsPerDay * 1_000_000n) / unit).map((units) => {
    const micros = units * unit;
    return { text: clock(micros), avro: precision <= 3 ? Number(micros / 1000n) : micros };
  });
  return valuesOf({ kind: 'time', precision }, value);
}

function numericValues(precision: number, scale: number): TypedValues {
  const max = 10n ** BigInt(precision) - 1n;
  const value = fc.bigInt(-max, max).map((unscaled) => ({
    text: decimalText(unscaled, scale),
    avro: twosComplement(unscaled),
  }));
  return valuesOf({ kind: 'numeric', precision, scale }, value);
}

const freeNumeric = fc
  .tuple(fc.bigInt(-(10n ** 45n), 10n ** 45n), fc.integer({ min: 0, max: 30 }))
  .filter(([unscaled, scale]) => scale === 0 || unscaled % 10n !== 0n)
  .map(([unscaled, scale]) => ({
    text: decimalText(unscaled, scale),
    avro: { scale, value: twosComplement(unscaled) },
  }));

const integers = (type: LogicalType, min: number, max: number): TypedValues =>
  valuesOf(
    type,
    fc.integer({ min, max }).map((value) => ({ text: String(value), avro: value })),
  );

const longs = (type: LogicalType, min: bigint, max: bigint): TypedValues =>
  valuesOf(
    type,
    fc.bigInt(min, max).map((value) => ({ text: String(value), avro: value })),
  );

const strings = (type: LogicalType, text: fc.Arbitrary<string>): TypedValues =>
  valuesOf(
    type,
    text.map((value) => ({ text: value, avro: value })),
  );

/** PostgreSQL writes -0 with its sign, JavaScript does not. */
const floatText = (value: number): string => (Object.is(value, -0) ? '-0' : String(value));

const precisions = fc.integer({ min: 0, max: 6 });
const labels = ['sad', 'ok', 'happy, or so', '"'];

/** Any scalar type with values of it. */
export const scalarValues: fc.Arbitrary<TypedValues> = fc.oneof(
  fc.constantFrom(
    valuesOf(
      { kind: 'bool' },
      fc.boolean().map((value) => ({ text: value ? 't' : 'f', avro: value })),
    ),
    integers({ kind: 'int2' }, -32_768, 32_767),
    integers({ kind: 'int4' }, -2_147_483_648, 2_147_483_647),
    longs({ kind: 'int8' }, -(2n ** 63n), 2n ** 63n - 1n),
    longs({ kind: 'oid' }, 0n, 4_294_967_295n),
    valuesOf(
      { kind: 'float4' },
      fc.float().map((value) => ({ text: floatText(value), avro: value })),
    ),
    valuesOf(
      { kind: 'float8' },
      fc.double().map((value) => ({ text: floatText(value), avro: value })),
    ),
    valuesOf({ kind: 'numeric-free' }, freeNumeric),
    strings({ kind: 'text' }, anyText),
    strings({ kind: 'other' }, anyText),
    strings({ kind: 'json' }, fc.json()),
    strings({ kind: 'jsonb' }, fc.json()),
    strings({ kind: 'uuid' }, fc.uuid()),
    strings({ kind: 'named-text', connectName: 'io.debezium.data.Xml' }, anyText),
    strings({ kind: 'inet' }, fc.oneof(fc.ipV4(), fc.ipV6())),
    strings({ kind: 'enum', labels }, fc.constantFrom(...labels)),
    valuesOf(
      { kind: 'bytea' },
      fc.uint8Array().map((bytes) => {
        return { text: `\\x${Buffer.from(bytes).toString('hex')}`, avro: Buffer.from(bytes) };
      }),
    ),
    valuesOf(
      { kind: 'date' },
      fc.integer({ min: -2_440_000, max: 90_000_000 }).map((days) => {
        const { date, era } = civil(days);
        return { text: date + era, avro: days };
      }),
    ),
  ),
  precisions.map(timeValues),
  precisions.map(timestampValues),
  precisions.map(timestamptzValues),
  fc
    .tuple(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 0, max: 20 }))
    .map(([precision, scale]) => numericValues(precision, Math.min(precision, scale))),
);

/** PostgreSQL quotes what is empty, says NULL, has space at its edges or one of these characters. */
const needsQuotes = (text: string): boolean =>
  text === '' || /^null$/i.test(text) || /[{},"\\\t\n\v\f\r ]/.test(text);

export function arrayText(elements: readonly (string | null)[]): string {
  const items = elements.map((text) => {
    if (text === null) return 'NULL';
    return needsQuotes(text) ? `"${text.replace(/["\\]/g, '\\$&')}"` : text;
  });
  return `{${items.join(',')}}`;
}
