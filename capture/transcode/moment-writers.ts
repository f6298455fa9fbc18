import { millisecondDigitsMax } from '../../schemas/type-mapping.ts';
import type { AvroOutput, TextSpan } from './avro-output.ts';
import { daysFromCivil, infinitySign, MomentText } from './moment-text.ts';
import { approximate, exact, type Outcome, type ValueWriter } from './outcome.ts';

const moment = new MomentText();

/** What Debezium writes for an infinite date: the edges of its date type, the wrong way round. */
const infiniteDays = daysFromCivil(-5_877_611, 6, 21);
const minusInfiniteDays = daysFromCivil(-5_877_611, 6, 22);

/** What Debezium writes for infinite timestamps, in microseconds; the driver's constants. */
const infiniteMicros = 9_223_372_036_825_200_000n;
const minusInfiniteMicros = -9_223_372_036_832_400_000n;
const longMax = 0x7fff_ffff_ffff_ffffn;

const microsPerSecond = 1_000_000;

/** Seconds that stay below 2^53 in the unit of the type: until the year 2255 in microseconds. */
const safeSecondsAsMillis = 9_000_000_000_000;
const safeSecondsAsMicros = 9_000_000_000;

/** date → days since 1970-01-01. */
export const writeDate: ValueWriter = (output, text) => {
  const sign = infinitySign(text);
  if (sign !== 0) {
    output.writeInteger(sign > 0 ? infiniteDays : minusInfiniteDays);
    return approximate;
  }
  moment.readDate(text);
  output.writeInteger(moment.days);
  return exact;
};

/** time(0) to time(3) → milliseconds of the day, time(4) to time(6) → microseconds. 24:00:00 is a whole day. */
export function timeWriter(precision: number): ValueWriter {
  const isMillis = precision <= millisecondDigitsMax;
  return (output, text) => {
    moment.readTime(text);
    const { secondOfDay, micros } = moment;
    if (isMillis) output.writeInteger(secondOfDay * 1000 + micros / 1000);
    else output.writeInteger(secondOfDay * microsPerSecond + micros);
    return exact;
  };
}

/** timestamp → milliseconds (up to 3 digits) or microseconds since 1970-01-01 00:00 of the wall clock. */
export function timestampWriter(precision: number): ValueWriter {
  const isMillis = precision <= millisecondDigitsMax;
  const perSecond = isMillis ? 1000 : microsPerSecond;
  const microsPerUnit = microsPerSecond / perSecond;
  const safeSeconds = isMillis ? safeSecondsAsMillis : safeSecondsAsMicros;
  return (output, text) => {
    const sign = infinitySign(text);
    if (sign !== 0) return writeInfinite(output, { sign, isMillis });
    moment.readTimestamp(text);
    const { seconds, micros } = moment;
    const fraction = micros / microsPerUnit;
    if (Math.abs(seconds) > safeSeconds) return writeFar(output, { seconds, perSecond, fraction });
    output.writeInteger(seconds * perSecond + fraction);
    return exact;
  };
}

function writeInfinite(
  output: AvroOutput,
  { sign, isMillis }: { readonly sign: -1 | 1; readonly isMillis: boolean },
): Outcome {
  const micros = sign > 0 ? infiniteMicros : minusInfiniteMicros;
  output.writeLong(isMillis ? micros / 1000n : micros);
  return approximate;
}

interface FarMoment {
  readonly seconds: number;
  /** Units in a second, and of the fraction. */
  readonly perSecond: number;
  readonly fraction: number;
}

/** PostgreSQL's timestamps end 29 years after a long full of microseconds does. */
function writeFar(output: AvroOutput, { seconds, perSecond, fraction }: FarMoment): Outcome {
  const value = BigInt(seconds) * BigInt(perSecond) + BigInt(fraction);
  output.writeLong(value > longMax ? longMax : value);
  return value > longMax ? approximate : exact;
}

const dash = 0x2d;
const point = 0x2e;
const plus = 0x2b;
const zero = 0x30;
const letterT = 0x54;
const letterZ = 0x5a;

/** "2026-01-02 03:04:05" */
const secondsLength = 19;

/**
 * timestamptz → ISO 8601 in UTC with exactly the fraction digits of the type: timestamptz is
 * "2026-01-02T03:04:05.000000Z", timestamptz(0) has none. Infinities stay PostgreSQL's words.
 */
export function zonedWriter(precision: number): ValueWriter {
  return (output, text) => {
    if (infinitySign(text) !== 0) {
      output.writeText(text);
      return approximate;
    }
    if (!isPlain(text)) return writeFarZoned(output, { text, precision });
    const { bytes, start, end } = text;
    const target = output.bytes;
    output.writeByte((secondsLength + (precision > 0 ? precision + 1 : 0) + 1) << 1);
    let position = output.position;
    for (let at = 0; at < secondsLength; at += 1) target[position++] = bytes[start + at] as number;
    target[position - 9] = letterT;
    if (precision > 0) {
      target[position++] = point;
      const stop = end - 3;
      for (let at = start + secondsLength + 1, count = 0; count < precision; at += 1, count += 1) {
        target[position++] = at < stop ? (bytes[at] as number) : zero;
      }
    }
    target[position++] = letterZ;
    output.position = position;
    return exact;
  };
}

/** Four digits of year, our era, UTC: everything but the millennia at the edges. */
function isPlain({ bytes, start, end }: TextSpan): boolean {
  return (
    bytes[start + 4] === dash &&
    bytes[start + 7] === dash &&
    end - start >= secondsLength + 3 &&
    bytes[end - 3] === plus &&
    bytes[end - 2] === zero &&
    bytes[end - 1] === zero
  );
}

/** ISO years have a sign beyond 9999 and before year 0, which is 1 BC. */
function writeFarZoned(
  output: AvroOutput,
  { text, precision }: { readonly text: TextSpan; readonly precision: number },
): Outcome {
  moment.readTimestampUtc(text);
  const { year, month, day, secondOfDay, micros } = moment;
  const sign = year < 0 ? '-' : year > 9999 ? '+' : '';
  const date = `${sign}${padded(Math.abs(year), 4)}-${padded(month)}-${padded(day)}`;
  const hour = Math.floor(secondOfDay / 3600);
  const time = `${padded(hour)}:${padded(Math.floor(secondOfDay / 60) % 60)}:${padded(secondOfDay % 60)}`;
  const fraction = precision > 0 ? `.${padded(micros, 6).slice(0, precision)}` : '';
  const bytes = Buffer.from(`${date}T${time}${fraction}Z`);
  output.reserve(bytes.length + 1);
  output.writeText({ bytes, start: 0, end: bytes.length });
  return exact;
}

const padded = (value: number, length = 2): string => String(value).padStart(length, '0');
