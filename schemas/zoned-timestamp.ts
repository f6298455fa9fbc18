/** year - month - day T hours : minutes : seconds [. fraction] Z, or an offset for it. */
const form =
  /^([+-]?)(\d{4,9})-(\d\d)-(\d\d)T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(Z|[+-]\d\d:\d\d)$/;

const [zero, dash, colon, dot, letterT, letterZ] = [0x30, 0x2d, 0x3a, 0x2e, 0x54, 0x5a];

/**
 * Debezium's ZonedTimestamp, e.g. "2026-01-02T03:04:05.678901Z" → microseconds since 1970. Undefined
 * when the text is no such moment ("infinity", say); digits beyond the microsecond are cut.
 */
export function zonedTimestampUs(bytes: Buffer, start: number, end: number): bigint | undefined {
  return (
    plainTimestampUs(bytes, start, end) ?? anyTimestampUs(bytes.toString('latin1', start, end))
  );
}

/** Four-digit years in UTC: what nearly every value is, read without an expression. */
function plainTimestampUs(bytes: Buffer, start: number, end: number): bigint | undefined {
  const length = end - start;
  if (length < 20 || length > 27 || length === 21 || bytes[end - 1] !== letterZ) return undefined;
  if (length > 20 && bytes[start + 19] !== dot) return undefined;
  const isMarked =
    bytes[start + 4] === dash &&
    bytes[start + 7] === dash &&
    bytes[start + 10] === letterT &&
    bytes[start + 13] === colon &&
    bytes[start + 16] === colon;
  const micros = length === 20 ? 0 : digits(bytes, start + 20, end - 1) * 10 ** (27 - length);
  const year = digits(bytes, start, start + 4);
  const days = daysFromCivil(
    year,
    digits(bytes, start + 5, start + 7),
    digits(bytes, start + 8, start + 10),
  );
  const clock =
    3600 * digits(bytes, start + 11, start + 13) +
    60 * digits(bytes, start + 14, start + 16) +
    digits(bytes, start + 17, start + 19);
  const seconds = 86_400 * days + clock;
  // NaN when any digit was none.
  if (!isMarked || Number.isNaN(seconds + micros)) return undefined;
  const total = seconds * 1_000_000 + micros;
  // Exact as a number up to the year 2255; beyond that BigInt does it.
  if (Number.isSafeInteger(total)) return BigInt(total);
  return BigInt(seconds) * 1_000_000n + BigInt(micros);
}

/** The number that the digits from `start` to `end` write; NaN when one of them is no digit. */
function digits(bytes: Buffer, start: number, end: number): number {
  let value = 0;
  for (let at = start; at < end; at += 1) {
    const digit = (bytes[at] as number) - zero;
    if (digit < 0 || digit > 9) return Number.NaN;
    value = 10 * value + digit;
  }
  return value;
}

/** Years before 0 and beyond 9999, and offsets other than UTC. */
function anyTimestampUs(text: string): bigint | undefined {
  const match = form.exec(text);
  if (match === null) return undefined;
  const [, sign, year, month, day, hours, minutes, seconds, fraction, zone] = match;
  const days = daysFromCivil(Number(year) * (sign === '-' ? -1 : 1), Number(month), Number(day));
  const clock = 3600 * Number(hours) + 60 * Number(minutes) + Number(seconds ?? 0);
  const micros = Number((fraction ?? '').padEnd(6, '0').slice(0, 6));
  const total = BigInt(86_400 * days + clock - offsetSeconds(zone ?? 'Z'));
  return total * 1_000_000n + BigInt(micros);
}

function offsetSeconds(zone: string): number {
  if (zone === 'Z') return 0;
  const seconds = 3600 * Number(zone.slice(1, 3)) + 60 * Number(zone.slice(4));
  return zone.startsWith('-') ? -seconds : seconds;
}

/**
 * Days since 1970-01-01 of a date of the proleptic Gregorian calendar; year 0 is 1 BC. The inverse of
 * `civilFromDays`, from the same "chrono-Compatible Low-Level Date Algorithms" (days_from_civil).
 */
function daysFromCivil(year: number, month: number, day: number): number {
  const shifted = month <= 2 ? year - 1 : year;
  const era = Math.floor(shifted / 400);
  const yearOfEra = shifted - era * 400;
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1;
  const leapDays = Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100);
  return era * 146_097 + yearOfEra * 365 + leapDays + dayOfYear - 719_468;
}
