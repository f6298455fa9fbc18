/** What Debezium takes for the length of a month. */
const daysPerMonth = 30.4375;
const longMax = 2n ** 63n - 1n;
const intervalPattern =
  /^(?:(-?\d+) years? ?)?(?:([+-]?\d+) mons? ?)?(?:([+-]?\d+) days? ?)?(?:([+-]?)(\d+):(\d\d):(\d\d)(?:\.(\d+))?)?$/;

/**
 * PostgreSQL's text of an interval (intervalstyle=postgres: "1 year 2 mons -3 days +04:05:06.789") in
 * microseconds; null for another text. Debezium counts in doubles and cuts off; so does this, or the
 * last digit would differ.
 */
export function intervalMicros(text: string): bigint | null {
  const match = intervalPattern.exec(text);
  if (match === null) return null;
  const numbers = [match[1], match[2], match[3], match[5], match[6], match[7]].map((part) =>
    Number(part ?? 0),
  );
  const [years = 0, months = 0, days = 0, hours = 0, minutes = 0, whole = 0] = numbers;
  const sign = match[4] === '-' ? -1 : 1;
  const seconds = sign * whole + (sign * Number((match[8] ?? '').padEnd(6, '0'))) / 1e6;
  const wholeDays = (years * 12 + months) * daysPerMonth + days;
  return toLong((((wholeDays * 24 + sign * hours) * 60 + sign * minutes) * 60 + seconds) * 1e6);
}

/** Java's cast: towards zero, and to the ends of the range beyond them. */
function toLong(value: number): bigint {
  const cut = BigInt(Math.trunc(value));
  if (cut > longMax) return longMax;
  return cut < -longMax - 1n ? -longMax - 1n : cut;
}

const zonedPattern = /^(\d\d):(\d\d):(\d\d)(\.\d+)?([+-])(\d\d)(?::(\d\d))?(?::(\d\d))?$/;
const secondsPerDay = 86_400;
const pad = (value: number): string => String(value).padStart(2, '0');

/**
 * PostgreSQL's text of a timetz in UTC: "12:34:56.5+02:30" → "10:04:56.5Z". Null for another text, and
 * for the day's last moment, 24:00:00, which is no time to Debezium.
 */
export function zonedTimeText(text: string): string | null {
  const match = zonedPattern.exec(text);
  if (match === null) return null;
  const numbers = [match[1], match[2], match[3], match[6], match[7], match[8]].map((part) =>
    Number(part ?? 0),
  );
  const [hour = 0, minute = 0, second = 0, ahead = 0, aheadMinutes = 0, aheadSeconds = 0] = numbers;
  if (hour === 24) return null;
  const offset = ahead * 3600 + aheadMinutes * 60 + aheadSeconds;
  const utc = hour * 3600 + minute * 60 + second - (match[5] === '-' ? -offset : offset);
  const of = ((utc % secondsPerDay) + secondsPerDay) % secondsPerDay;
  const clock = [Math.floor(of / 3600), Math.floor(of / 60) % 60, of % 60].map(pad).join(':');
  return `${clock}${match[4] ?? ''}Z`;
}
