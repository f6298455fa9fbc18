import { closest, distance } from 'fastest-levenshtein';
import { z } from 'zod';
import { parseDuration, parseSize, quote, type Parsed } from './quantity.ts';

/** What the reference says about one field. */
export interface FieldNote {
  readonly description: string;
  /** How a value is written: "size", "time", "text" ... */
  readonly unit: string;
  /** As it would be written in the file; undefined when the field must be given or may stay away. */
  readonly defaultText?: string;
  readonly example: string;
  readonly limit?: string;
  readonly isOptional: boolean;
  /** A fixed discriminator such as `type: embedded`. */
  readonly constant?: string;
}

/** Notes by schema: what `renderConfigReference` prints. */
export const fieldNotes = z.registry<FieldNote>();

interface FieldOptions {
  readonly description: string;
  readonly example: string;
}

interface RangeOptions extends FieldOptions {
  readonly default: string;
  readonly min: string;
  readonly max: string;
}

/** A size such as "8 MiB"; gives bytes. */
export function size(options: RangeOptions) {
  return rangeField(options, { unit: 'size', parse: parseSize });
}

/** A time such as "10 s"; gives milliseconds. */
export function duration(options: RangeOptions) {
  return rangeField(options, { unit: 'time', parse: parseDuration });
}

/** A whole number. */
export function count(options: RangeOptions) {
  return rangeField(options, { unit: 'whole number', parse: parseCount });
}

/** A whole number that may stay away. */
export function optionalCount(options: Omit<RangeOptions, 'default'>) {
  const { min, max } = options;
  const parse = (input: unknown) => withinRange(input, { parse: parseCount, min, max });
  return field(
    parse,
    noteOf(options, { unit: 'whole number', limit: `${min} to ${max}`, isOptional: true }),
  ).optional();
}

/** A time that may stay away; gives milliseconds. */
export function optionalDuration(options: Omit<RangeOptions, 'default'>) {
  const { min, max } = options;
  const parse = (input: unknown) => withinRange(input, { parse: parseDuration, min, max });
  return field(
    parse,
    noteOf(options, { unit: 'time', limit: `${min} to ${max}`, isOptional: true }),
  ).optional();
}

/** A size that may stay away; gives bytes. */
export function optionalSize(options: Omit<RangeOptions, 'default'>) {
  const { min, max } = options;
  const parse = (input: unknown) => withinRange(input, { parse: parseSize, min, max });
  return field(
    parse,
    noteOf(options, { unit: 'size', limit: `${min} to ${max}`, isOptional: true }),
  ).optional();
}

interface TextOptions extends FieldOptions {
  readonly isOptional?: boolean;
  readonly unit?: string;
  readonly limit?: string;
  /** Gives the problem with a text, or undefined. Secrets must not appear in it. */
  readonly problem?: (text: string) => string | undefined;
}

/** A text that must be given. */
export function text(options: TextOptions) {
  const parse = (input: unknown): Parsed<string> => {
    if (typeof input !== 'string') return { problem: `${quote(input)} is not a text` };
    const problem = options.problem?.(input);
    return problem === undefined ? { value: input } : { problem };
  };
  return field(parse, noteOf(options, { unit: options.unit ?? 'text' }));
}

/** A text with a default. */
export function defaultedText(options: TextOptions & { readonly default: string }) {
  return annotate(
    text(options).prefault(options.default),
    noteOf(options, { unit: options.unit ?? 'text' }),
  );
}

/** A text that may stay away. */
export function optionalText(options: TextOptions) {
  return text({ ...options, isOptional: true }).optional();
}

const pathOptions = {
  unit: 'path',
  problem: (value: string) => (value === '' ? 'is empty' : undefined),
};

/** A path; relative ones count from the folder of the file. */
export function path(options: FieldOptions) {
  return text({ ...options, ...pathOptions });
}

/** A path with a default. */
export function defaultedPath(options: FieldOptions & { readonly default: string }) {
  return defaultedText({ ...options, ...pathOptions });
}

/** A path that may stay away. */
export function optionalPath(options: FieldOptions) {
  return optionalText({ ...options, ...pathOptions });
}

/** One of a few words. */
export function choice<const W extends string>(
  words: readonly [W, ...W[]],
  options: FieldOptions & { readonly default: W },
) {
  const note = noteOf(options, { unit: words.join(' | ') });
  return annotate(field(parseWord(words), note).prefault(options.default), note);
}

/** One of a few words, or none. */
export function optionalChoice<const W extends string>(
  words: readonly [W, ...W[]],
  options: FieldOptions,
) {
  const note = noteOf(options, { unit: words.join(' | '), isOptional: true });
  return field(parseWord(words), note).optional();
}

const parseWord =
  <W extends string>(words: readonly W[]) =>
  (input: unknown): Parsed<W> => {
    const word = words.find((candidate) => candidate === input);
    if (word !== undefined) return { value: word };
    return {
      problem: `${quote(input)} is not one of ${words.join(', ')}${suggestion(input, words)}`,
    };
  };

/** true or false. */
export function flag(options: { readonly description: string; readonly default: boolean }) {
  const parse = (input: unknown): Parsed<boolean> => {
    if (typeof input === 'boolean') return { value: input };
    if (input === 'true' || input === 'false') return { value: input === 'true' };
    return { problem: `${quote(input)} is not true or false` };
  };
  const note = noteOf(
    { ...options, default: String(options.default), example: String(!options.default) },
    { unit: 'true | false' },
  );
  return annotate(field(parse, note).prefault(options.default), note);
}

/** A list of texts, each checked by `problem`. */
export function textList(
  options: FieldOptions & {
    readonly default: readonly string[];
    readonly problem: (text: string) => string | undefined;
  },
) {
  const element = text({ description: '', example: '', problem: options.problem });
  const note = noteOf({ ...options, default: JSON.stringify(options.default) }, { unit: 'list' });
  return annotate(
    z
      .array(element)
      .min(1)
      .default([...options.default]),
    note,
  );
}

/** Texts by keys of one's own, none unless given; `problem` looks at each pair. */
export function textMap(
  options: FieldOptions & {
    readonly problem: (key: string, value: string) => string | undefined;
  },
) {
  const note = noteOf({ ...options, default: '{}' }, { unit: 'block' });
  const map = z.record(z.string(), z.string()).superRefine((given, context) => {
    for (const [key, value] of Object.entries(given)) {
      const message = options.problem(key, value);
      if (message !== undefined) context.addIssue({ code: 'custom', message, path: [key] });
    }
  });
  return annotate(map.default({}), note);
}

/** The word that tells the members of a union apart. */
export function constant<const W extends string>(word: W, description: string) {
  const note = { description, unit: 'text', example: word, isOptional: false, constant: word };
  return annotate(z.literal(word), note);
}

/** `; did you mean "path"?` when a known word is near, else nothing. */
export function suggestion(input: unknown, words: readonly string[]): string {
  if (typeof input !== 'string' || words.length === 0) return '';
  const near = closest(input, [...words]);
  const distanceMax = Math.max(1, Math.floor(Math.min(input.length, near.length) / 2));
  return distance(input, near) <= distanceMax ? `; did you mean "${near}"?` : '';
}

interface RangeKind {
  readonly unit: string;
  readonly parse: (input: unknown) => Parsed<number>;
}

function rangeField(options: RangeOptions, kind: RangeKind) {
  const { min, max } = options;
  const parse = (input: unknown) => withinRange(input, { parse: kind.parse, min, max });
  const note = noteOf(options, { unit: kind.unit, limit: `${min} to ${max}` });
  return annotate(field(parse, note).prefault(options.default), note);
}

function withinRange(
  input: unknown,
  range: {
    readonly parse: (input: unknown) => Parsed<number>;
    readonly min: string;
    readonly max: string;
  },
): Parsed<number> {
  const parsed = range.parse(input);
  if ('problem' in parsed) return parsed;
  const bound = (limit: string): number => {
    const value = range.parse(limit);
    return 'value' in value ? value.value : Number.NaN;
  };
  if (parsed.value < bound(range.min) || parsed.value > bound(range.max)) {
    return { problem: `${quote(input)} is out of range; allowed is ${range.min} to ${range.max}` };
  }
  return parsed;
}

function parseCount(input: unknown): Parsed<number> {
  // An environment variable always brings text, so digits in quotes are taken too.
  const number = typeof input === 'string' && /^\d+$/.test(input) ? Number(input) : input;
  if (typeof number === 'number' && Number.isSafeInteger(number) && number >= 0)
    return { value: number };
  return { problem: `${quote(input)} is not a whole number` };
}

function field<T>(parse: (input: unknown) => Parsed<T>, note: FieldNote) {
  const schema = z.unknown().transform((input, context): T => {
    const parsed: Parsed<T> =
      input === undefined ? { problem: `is missing; give it like ${note.example}` } : parse(input);
    if ('value' in parsed) return parsed.value;
    context.addIssue({ code: 'custom', message: parsed.problem });
    return z.NEVER;
  });
  return annotate(schema, note);
}

function annotate<S extends z.ZodType>(schema: S, note: FieldNote): S {
  fieldNotes.add(schema, note);
  return schema;
}

function noteOf(
  options: FieldOptions & {
    readonly default?: string;
    readonly isOptional?: boolean;
    readonly limit?: string;
  },
  more: { readonly unit: string; readonly limit?: string; readonly isOptional?: boolean },
): FieldNote {
  const limit = more.limit ?? options.limit;
  return {
    description: options.description,
    example: options.example,
    unit: more.unit,
    isOptional: more.isOptional ?? options.isOptional ?? false,
    ...(options.default === undefined ? {} : { defaultText: options.default }),
    ...(limit === undefined ? {} : { limit }),
  };
}
