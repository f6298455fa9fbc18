/** A number with a unit, read from text; or the sentence that says why not. */
export type Parsed<T> = { readonly value: T } | { readonly problem: string };

const kibi = 1024;
const kilo = 1000;

/** Sizes, smallest first, in bytes. */
const sizeUnits: Readonly<Record<string, number>> = {
  B: 1,
  kB: kilo,
  KiB: kibi,
  MB: kilo ** 2,
  MiB: kibi ** 2,
  GB: kilo ** 3,
  GiB: kibi ** 3,
  TB: kilo ** 4,
  TiB: kibi ** 4,
};

/** Times, smallest first, in milliseconds. */
const durationUnits: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** "8 MiB" → 8388608 bytes. */
export function parseSize(input: unknown): Parsed<number> {
  return parseQuantity(input, { units: sizeUnits, noun: 'size', example: '8 MiB' });
}

/** "10 s" → 10000 milliseconds. */
export function parseDuration(input: unknown): Parsed<number> {
  return parseQuantity(input, { units: durationUnits, noun: 'time', example: '10 s' });
}

interface QuantityKind {
  readonly units: Readonly<Record<string, number>>;
  readonly noun: string;
  readonly example: string;
}

function parseQuantity(input: unknown, kind: QuantityKind): Parsed<number> {
  const allowed = Object.keys(kind.units).join(', ');
  if (typeof input === 'number') {
    return { problem: `${input} has no unit; write one of ${allowed}, as in "${kind.example}"` };
  }
  const match = /^\s*(\d+(?:\.\d+)?)\s*([A-Za-zµ]*)\s*$/.exec(
    typeof input === 'string' ? input : '',
  );
  if (match === null) {
    return { problem: `${quote(input)} is not a ${kind.noun}; write it like "${kind.example}"` };
  }
  const [, number = '', unit = ''] = match;
  if (unit === '') {
    return {
      problem: `${quote(input)} has no unit; write one of ${allowed}, as in "${kind.example}"`,
    };
  }
  const factor = kind.units[unit];
  if (factor === undefined) {
    return { problem: `"${unit}" is not a unit of ${kind.noun}; use one of ${allowed}` };
  }
  return { value: Math.round(Number(number) * factor) };
}

/** 8388608 → "8 MiB": the largest unit that leaves at least 1, with at most one decimal. */
export function formatSize(bytes: number): string {
  return formatQuantity(
    bytes,
    Object.entries(sizeUnits).filter(([unit]) => /^(B|.iB)$/.test(unit)),
  );
}

/** 10000 → "10 s". */
export function formatDuration(ms: number): string {
  return formatQuantity(ms, Object.entries(durationUnits));
}

function formatQuantity(amount: number, units: readonly (readonly [string, number])[]): string {
  const fitting = units.findLast(([, factor]) => amount >= factor) ?? units[0] ?? ['', 1];
  const [unit, factor] = fitting;
  const scaled = amount / factor;
  return `${Number.isInteger(scaled) ? scaled : scaled.toFixed(1)} ${unit}`;
}

/** How a wrong value is shown in a message. */
export function quote(input: unknown): string {
  if (typeof input === 'string') return `"${input}"`;
  if (Array.isArray(input)) return 'a list';
  if (input !== null && typeof input === 'object') return 'a block';
  return String(input);
}
