import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { RestatedForm } from '../../schemas/table-schema.ts';
import { avroTypeOf } from '../../schemas/type-mapping.ts';
import { oracleType } from '../../test/support/avro-oracle.ts';
import { AvroOutput } from './avro-output.ts';
import { type Outcome, unrepresentable } from './outcome.ts';
import { restatedWriter } from './restated-writers.ts';
import { growthOf } from './value-writer.ts';

function restate(form: RestatedForm, text: string): { outcome: Outcome; avro: unknown } {
  const type = { kind: 'restated', form, length: 20 } as const;
  const output = new AvroOutput();
  const bytes = Buffer.from(text);
  output.begin();
  output.reserve(bytes.length * growthOf(type) + 128);
  const outcome = restatedWriter(form)(output, { bytes, start: 0, end: bytes.length });
  const written = Buffer.from(output.take());
  if (outcome === unrepresentable) return { outcome, avro: undefined };
  return { outcome, avro: oracleType(avroTypeOf(type)).fromBuffer(written) };
}

// What Debezium writes for these is in its golden output; here are texts that it does not have.
test.each<[RestatedForm, string, unknown]>([
  ['bit', '1', true],
  ['bits', '', Buffer.alloc(0)],
  ['bits', '0000000000010', Buffer.of(2)],
  ['bits', '1'.repeat(17), Buffer.of(255, 255, 1)],
  ['interval', '00:00:00', 0n],
  ['interval', '1 mon', 2_629_800_000_000n],
  ['interval', '-1 years -2 mons +3 days -04:05:06.5', -36_572_706_500_000n],
  ['interval', '-178000000 years', -(2n ** 63n)],
  ['interval', '10 days', 864_000_000_000n],
  ['money', '$1,234,567.89', Buffer.from('075bcd15', 'hex')],
  ['money', '($0.01)', Buffer.of(255)],
  ['timetz', '00:30:00+02', '22:30:00Z'],
  ['timetz', '23:00:00.5-02:30', '01:30:00.5Z'],
  ['timetz', '12:00:00+05:53:28', '06:06:32Z'],
  ['hstore', '', '{}'],
  ['hstore', '"a\\"b"=>"c\\\\d", "é"=>NULL', '{"a\\"b":"c\\\\d","é":null}'],
  ['hstore', '"k"=>"a\u001fb"', '{"k":"a\\u001Fb"}'],
])('%s %s', (form, text, avro) => {
  const { avro: written } = restate(form, text);
  expect(written).toEqual(avro);
});

test.each<[RestatedForm, string]>([
  ['money', '1.234,56 €'],
  ['timetz', '24:00:00+00'],
  ['interval', 'P1Y2M'],
])('%s %s has no such form', (form, text) => {
  expect(restate(form, text).outcome).toBe(unrepresentable);
});

test('a bit string is its number, lowest byte first, whatever its length', () => {
  const text = fc.stringMatching(/^[01]{0,100}$/);
  fc.assert(
    fc.property(text, (bits) => {
      const bytes = restate('bits', bits).avro as Buffer;
      const hex = Buffer.from(bytes).reverse().toString('hex');
      expect(BigInt(`0x0${hex}`)).toBe(BigInt(`0b0${bits}`));
      expect(bytes.at(-1)).not.toBe(0);
    }),
  );
});

test('an hstore is the JSON object of its members', () => {
  const escaped = (part: string) => `"${part.replaceAll(/[\\"]/g, '\\$&')}"`;
  const member = fc.string({ unit: 'grapheme' });
  const members = fc.dictionary(member, fc.option(member), { noNullPrototype: true });
  fc.assert(
    fc.property(members, (object) => {
      const pairs = Object.entries(object).map(
        ([name, value]) => `${escaped(name)}=>${value === null ? 'NULL' : escaped(value)}`,
      );
      const { avro } = restate('hstore', pairs.join(', '));
      expect(JSON.parse(String(avro))).toEqual(object);
    }),
  );
});
