import { PipelineError } from '../../runtime/errors.ts';
import type { TextSpan } from './avro-output.ts';
import { invalidText } from './outcome.ts';

const zero = 0x30;
const dash = 0x2d;
const colon = 0x3a;
const space = 0x20;
const point = 0x2e;
const plus = 0x2b;
const letterB = 0x42;
const letterI = 0x69;

const fractionDigitsMax = 6;
const secondsPerDay = 86_400;

/** Days from 1970-01-01 to a date of the proleptic Gregorian calendar; year 0 is 1 BC. */
export function daysFromCivil(year: number, month: number, day: number): number {
  const shifted = month <= 2 ? year - 1 : year;
  const era = Math.floor(shifted / 400);
  const yearOfEra = shifted - era * 400;
  const dayOfYear = Math.floor((153 * (month > 2 ? month - 3 : month + 9) + 2) / 5) + day - 1;
  const leapDays = Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100);
  return era * 146_097 + yearOfEra * 365 + leapDays + dayOfYear - 719_468;
}

/** 1 for "infinity", -1 for "-infinity", else 0. */
export function infinitySign(text: TextSpan): -1 | 0 | 1 {
  const { bytes, start } = text;
  if (bytes[start] === letterI) return 1;
  return bytes[start] === dash && bytes[start + 1] === letterI ? -1 : 0;
}

/**
 * Reads dates and times as PostgreSQL writes them with datestyle ISO and timezone UTC. One reader is
 * used again and again: what was read stands in its fields, nothing is allocated.
 * https://www.postgresql.org/docs/current/datatype-datetime.html#DATATYPE-DATETIME-OUTPUT
 */
export class MomentText {
  /** Proleptic year: 1 BC is 0. */
  year = 0;
  month = 0;
  day = 0;
  secondOfDay = 0;
  /** Microseconds after the second. */
  micros = 0;
  #text: TextSpan = { bytes: Buffer.alloc(0), start: 0, end: 0 };
  #at = 0;

  /** "2026-01-02", "0044-03-15 BC", "5874897-12-31" */
  readDate(text: TextSpan): void {
    this.#begin(text);
    this.#date();
    this.#era();
    this.#finish('date');
  }

  /** "12:34:56.789012", "24:00:00" */
  readTime(text: TextSpan): void {
    this.#begin(text);
    this.#time();
    this.#finish('time');
  }

  /** "2026-01-02 03:04:05.678901", with " BC" after it before our era. */
  readTimestamp(text: TextSpan): void {
    this.#begin(text);
    this.#date();
    this.#expect(space);
    this.#time();
    this.#era();
    this.#finish('timestamp');
  }

  /** The same with "+00" before the era. */
  readTimestampUtc(text: TextSpan): void {
    this.#begin(text);
    this.#date();
    this.#expect(space);
    this.#time();
    this.#expect(plus);
    if (this.#number(2) !== 0) throw foreignZone();
    this.#era();
    this.#finish('timestamp with time zone');
  }

  /** Whole seconds since 1970-01-01 00:00; of the wall clock where there is no zone. */
  get seconds(): number {
    return this.days * secondsPerDay + this.secondOfDay;
  }

  /** Days since 1970-01-01. */
  get days(): number {
    return daysFromCivil(this.year, this.month, this.day);
  }

  #begin(text: TextSpan): void {
    this.#text = text;
    this.#at = text.start;
  }

  #date(): void {
    const { bytes } = this.#text;
    let length = 0;
    while (bytes[this.#at + length] !== dash && length < 7) length += 1;
    this.year = this.#number(length);
    this.#expect(dash);
    this.month = this.#number(2);
    this.#expect(dash);
    this.day = this.#number(2);
  }

  #time(): void {
    const hours = this.#number(2);
    this.#expect(colon);
    const minutes = this.#number(2);
    this.#expect(colon);
    this.secondOfDay = (hours * 60 + minutes) * 60 + this.#number(2);
    this.micros = 0;
    if (this.#at < this.#text.end && this.#text.bytes[this.#at] === point) this.#fraction();
  }

  #fraction(): void {
    const { bytes, end } = this.#text;
    const first = this.#at + 1;
    let length = 0;
    while (first + length < end && isDigit(bytes[first + length])) length += 1;
    this.#at = first;
    this.micros = this.#number(length);
    for (let digits = length; digits < fractionDigitsMax; digits += 1) this.micros *= 10;
  }

  #era(): void {
    const { bytes, end } = this.#text;
    if (this.#at === end || bytes[this.#at] !== space || bytes[this.#at + 1] !== letterB) return;
    this.year = 1 - this.year;
    this.#at += 3;
  }

  #number(length: number): number {
    const { bytes, end } = this.#text;
    let value = 0;
    if (length < 1 || this.#at + length > end) throw invalidText('date or time', this.#text);
    for (let count = 0; count < length; count += 1) {
      const digit = (bytes[this.#at++] as number) - zero;
      if (digit < 0 || digit > 9) throw invalidText('date or time', this.#text);
      value = value * 10 + digit;
    }
    return value;
  }

  #expect(byte: number): void {
    if (this.#at >= this.#text.end || this.#text.bytes[this.#at] !== byte) {
      throw invalidText('date or time', this.#text);
    }
    this.#at += 1;
  }

  #finish(kind: string): void {
    if (this.#at !== this.#text.end) throw invalidText(kind, this.#text);
  }
}

const isDigit = (byte: number | undefined): boolean =>
  byte !== undefined && byte >= zero && byte <= zero + 9;

const foreignZone = (): PipelineError =>
  new PipelineError('value-invalid', 'a timestamp with time zone came in another zone than UTC', {
    hint: 'set timezone to UTC in the session that reads',
  });
