import { beforeEach, describe, expect, it } from 'vitest';
import { versionOf } from '../../test/support/batch-maker.ts';
import { type Change, ExactText, type RowImage } from '../../schemas/change.ts';
import { formatPosition, type Part, positionZero } from '../../schemas/position.ts';
import type { TableVersion } from '../../schemas/table-schema.ts';
import type { ColumnPolicy } from './column-policy.ts';
import { unfitColumn, UnfitRows } from './unfit-rows.ts';

const columns = {
  id: { kind: 'int4' },
  day: { kind: 'date' },
  body: { kind: 'jsonb' },
  note: { kind: 'text' },
} as const;
const from = positionZero;
const keyed = versionOf({ name: 'orders', key: ['id'], columns }, from);
const keyless = versionOf({ name: 'audit', key: [], columns }, from);
const strict: ColumnPolicy = { json: 'json', unfit: 'dead_letter' };
const lax: ColumnPolicy = { json: 'json', unfit: 'exact_text' };

interface Place {
  readonly ordinal: number;
  readonly part: Part;
}
type Body =
  | {
      readonly op: 'c' | 'r' | 'u';
      readonly after: RowImage;
      readonly unchanged?: readonly number[];
      readonly before?: RowImage;
    }
  | { readonly op: 'd'; readonly before: RowImage }
  | { readonly op: 't' };

function changeOf(body: Body, version: TableVersion, { ordinal, part }: Place): Change {
  const origin = {
    seq: formatPosition({ generation: 1, commitLsn: 4096n, ordinal, part }),
    lsn: 4096n,
    xid: 7n,
    committedAtUs: 1n,
    capturedAtUs: 2n,
    topic: version.topic,
    partition: 0,
    offset: ordinal,
    version,
  };
  if (body.op === 't' || body.op === 'd') return { ...origin, ...body };
  return { ...origin, before: null, unchanged: [], ...body };
}

const infinity = new ExactText('infinity');
const twice = '{"a": 1, "a": 2}';
const whole: RowImage = [1, 0, '{}', 'x'];

describe('a row', () => {
  it.each([
    [
      'with a day that no DATE is',
      [1, infinity, null, null],
      /^column day: BigQuery's DATE has no/,
    ],
    ['with a document that JSON cuts', [1, null, twice, null], /^column body: a key .* twice$/],
  ] as const)('%s is refused with the column', (_what, image, reason) => {
    expect(unfitColumn(keyed, image, () => strict)).toMatch(reason);
  });

  it('of values that fit is taken', () => {
    expect(unfitColumn(keyed, [1, 0, '{"a": 1.50}', null], () => strict)).toBeNull();
  });

  it('is taken where the policy is exact text, and where documents are STRING', () => {
    expect(unfitColumn(keyed, [1, infinity, twice, null], () => lax)).toBeNull();
    const policyOf = (): ColumnPolicy => ({ json: 'string', unfit: 'dead_letter' });
    expect(unfitColumn(keyed, [1, 0, twice, null], policyOf)).toBeNull();
  });

  it('is taken whole although a value needs its exact text to be told apart', () => {
    const type = { id: { kind: 'int4' }, size: { kind: 'float8' }, free: { kind: 'numeric-free' } };
    const version = versionOf({ name: 't', key: ['id'], columns: type as never }, from);
    expect(unfitColumn(version, [1, -0, new ExactText('NaN')], () => strict)).toBeNull();
  });
});

describe('a row whose change is a dead letter', () => {
  let rows: UnfitRows;
  let ordinal = 0;
  beforeEach(() => {
    rows = new UnfitRows(() => strict, new Map());
  });
  const keyOf = (id: number) => Uint8Array.from([0, 0, 0, 0, 9, id]);
  /** Asks for one more change, with the next position unless one is given; gives it with the answer. */
  const ask = (body: Body, id: number | null = 1, place: Partial<Place> = {}) => {
    ordinal += 1;
    const change = changeOf(body, id === null ? keyless : keyed, { ordinal, part: 0, ...place });
    return { change, refusal: rows.refuse(change, id === null ? null : keyOf(id)) };
  };
  const update = (after: RowImage, unchanged: readonly number[] = []) =>
    ({ op: 'u', after, unchanged }) as const;
  const refused = (body: Body, id = 1, place: Partial<Place> = {}) =>
    ask(body, id, place).refusal?.reason ?? null;

  it('waits: what leaves out columns is refused, what brings all of them is taken, and then all is', () => {
    expect(refused({ op: 'c', after: whole })).toBeNull();
    expect(refused(update([1, 0, twice, 'x']))).toMatch(/^unfit: column body/);
    expect(refused(update([1, 0, null, 'y'], [2]))).toMatch(/^unfit: it leaves out columns/);
    expect(refused(update([2, 0, null, 'y'], [2]), 2)).toBeNull();
    expect(refused(update([1, 0, '{}', 'z']))).toBeNull();
    expect(refused(update([1, 0, null, 'y'], [2]))).toBeNull();
  });

  it.each([
    ['its delete', { op: 'd', before: [1, infinity, null, null] }, 1],
    ['a truncate', { op: 't' }, 1],
    ['a row of a snapshot', { op: 'r', after: whole }, 1],
  ] as const)('waits no more after %s', (_what, body, id) => {
    refused({ op: 'c', after: [1, infinity, null, null] });
    const { change, refusal } = ask(body, id);
    expect(refusal).toBeNull();
    expect(refused(update([1, 0, null, 'y'], [2]))).toBeNull();
    const key = body.op === 't' ? null : Buffer.from([1]).toString('base64');
    expect(rows.takeSettled(change.seq)).toEqual([{ topic: keyed.topic, key, seq: change.seq }]);
    expect(rows.takeSettled(change.seq)).toEqual([]);
  });

  it('goes on waiting under another key, unless the change of it brings all columns', () => {
    refused({ op: 'c', after: [1, infinity, null, null] });
    const move = (to: number, body: Body) => {
      refused({ op: 'd', before: [to - 1, null, null, null] }, to - 1);
      return refused(body, to, { ordinal, part: 2 });
    };
    expect(move(2, { op: 'c', after: [2, null, null, 'x'], unchanged: [1] })).toMatch(/leaves out/);
    expect(refused(update([2, null, null, 'y'], [1]), 2)).toMatch(/leaves out/);
    expect(move(3, { op: 'c', after: [3, 0, null, 'x'] })).toBeNull();
    expect(refused(update([3, null, null, 'y'], [1]), 3)).toBeNull();
  });

  it('is told by its old image, where there is one, what it left out', () => {
    const before: RowImage = [1, infinity, null, 'x'];
    const full = ask({ ...update([1, null, null, 'y'], [1]), before });
    expect(full.refusal?.reason).toMatch(/^unfit: column day/);
    const fits = ask({ ...update([1, null, null, 'y'], [1]), before: whole });
    expect(fits.refusal).toBeNull();
  });

  it('has no key to wait by: its old image goes', () => {
    expect(ask({ op: 'c', after: [1, infinity, null, null] }, null).refusal).toMatchObject({
      instead: null,
    });
    const { change, refusal } = ask({ ...update([1, infinity, null, 'x']), before: whole }, null);
    const { seq, offset } = change;
    expect(refusal?.instead).toMatchObject({ op: 'd', before: whole, seq, offset });
    expect(refusal?.instead).not.toHaveProperty('after');
  });

  it('is remembered from what the lake holds, and settled only with the batch that has the change', () => {
    const key = Buffer.from([1]).toString('base64');
    rows = new UnfitRows(() => lax, new Map([[keyed.topic, new Set([key])]]));
    expect(refused(update([1, 0, null, 'y'], [2]))).toMatch(/leaves out/);
    const { change } = ask(update(whole));
    expect(rows.takeSettled(positionZero)).toEqual([]);
    expect(rows.takeSettled(change.seq)).toHaveLength(1);
  });
});
