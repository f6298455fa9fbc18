import fc from 'fast-check';

const int64 = 2n ** 63n;

/** Whole and other numbers as JSON spells them, around every limit that a JSON column has. */
const jsonNumbers: fc.Arbitrary<string> = fc.oneof(
  fc.bigInt({ min: -2n * int64 - 2n, max: 2n * int64 + 2n }).map(String),
  fc.constantFrom(-int64 - 1n, -int64, 2n * int64 - 1n, 2n * int64, 10n ** 30n).map(String),
  fc.double({ noDefaultInfinity: true, noNaN: true }).map(String),
  fc.tuple(fc.integer(), fc.stringMatching(/^\d{1,20}$/)).map((parts) => parts.join('.')),
  fc
    .tuple(fc.integer(), fc.constantFrom('e', 'E'), fc.integer({ min: -400, max: 400 }))
    .map((parts) => parts.join('')),
  fc.constantFrom('-0', '-0.0', '0.10', '1.0', '1e2', '0e5', `0.${'0'.repeat(400)}1`),
);

const jsonStrings: fc.Arbitrary<string> = fc.oneof(
  fc.string({ unit: 'binary' }).map((text) => JSON.stringify(text)),
  fc.constantFrom('"a"', '"b"', '"aa"', '"ü"', '""', '"__proto__"', '"1"', '"\\u0061"', '"\\/"'),
  fc.constantFrom('"\\ud800"', '"\\u0000"', '"\\u007f\\n"', '"\\\\\\""', '"\\u00e9\\ud83d\\ude00"'),
);

const space = fc.constantFrom('', '', '', ' ', '\n\t', '  ');
const spaced = (text: fc.Arbitrary<string>): fc.Arbitrary<string> =>
  fc.tuple(space, text, space).map((parts) => parts.join(''));
const listed = (open: string, items: fc.Arbitrary<string>, close: string) =>
  fc
    .tuple(space, fc.array(items, { maxLength: 5 }))
    .map(([gap, given]) => `${open}${given.length === 0 ? gap : given.join(',')}${close}`);

/** Documents as people write them: with spaces, keys in any order and twice, numbers in every spelling. */
export const jsonTexts: fc.Arbitrary<string> = fc.letrec<{ value: string }>((tie) => ({
  value: spaced(
    fc.oneof(
      { maxDepth: 5, withCrossShrink: true },
      fc.oneof(fc.constantFrom('null', 'true', 'false'), jsonNumbers, jsonStrings),
      listed('[', tie('value'), ']'),
      listed(
        '{',
        fc.tuple(spaced(jsonStrings), tie('value')).map((parts) => parts.join(':')),
        '}',
      ),
    ),
  ),
})).value;

/** So many arrays and objects within one another, in turns. */
export function nestedJson(depth: number): string {
  let text = '1';
  for (let level = 0; level < depth; level += 1) {
    text = level % 2 === 0 ? `[${text}]` : `{"a": ${text}}`;
  }
  return text;
}
