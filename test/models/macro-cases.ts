/** One macro on some values, as the template language of dbt has it. */
export interface MacroCase {
  /** The dispatched macro that it is about; several where they only work together. */
  readonly macros: readonly string[];
  readonly name: string;
  /** The values, one a row, in column `v`. */
  readonly given: readonly string[];
  /** Over column `v`. */
  readonly result: string;
  /** The whole model, a row for each of the values, where an expression would not do. */
  readonly model?: string;
  /** What comes out, as BigQuery's type and plain texts: for what only one engine got wrong at first. */
  readonly expected?: { readonly type: string; readonly values: readonly (string | null)[] };
  /** Where the emulator differs from the service, so that only DuckDB's side would be looked at. */
  readonly emulatorGap?: string;
}

/** SQL that only one of the engines understands. */
const engines = (duckdb: string, bigquery: string): string =>
  `{% if target.type == 'duckdb' %}${duckdb}{% else %}${bigquery}{% endif %}`;

const moment = (text: string): string => `{{ moment_literal('${text}') }}`;
const noMoment = "{{ null_of('moment') }}";
const text = (value: string): string => `{{ text_literal(${JSON.stringify(value)}) }}`;
const texts = (...values: readonly string[]): readonly string[] => [
  ...values.map(text),
  "{{ null_of('text') }}",
];
const zoned = (value: string): string => engines(`timestamptz '${value}'`, `timestamp '${value}'`);

const moments = [
  moment('2026-03-05 10:00:00'),
  moment('2026-03-05 23:59:59.999999'),
  moment('2026-03-06 00:00:00'),
  moment('2024-02-29 12:34:56.5'),
  moment('1969-12-31 23:59:59.25'),
  moment('0001-01-02 00:00:00'),
  noMoment,
];
const awkward = [
  "it's",
  'back\\slash',
  'two\nlines',
  'carriage\rreturn',
  '"quoted"',
  '',
  '🐘 é',
  '{{ x }}',
];
const listed = [
  text('[]'),
  text('["a"]'),
  text('["b", "a"]'),
  text('["ab"]'),
  "{{ null_of('text') }}",
];
const arrays = [
  engines("['a']::varchar[]", "['a']"),
  engines("['b', 'ab']::varchar[]", "['b', 'ab']"),
  engines('[]::varchar[]', 'cast([] as array<string>)'),
];
const jsonTexts = texts(
  '{"a": {"b": "x"}, "c": 1}',
  '{"a": {"b": 1.5}}',
  '{"a": {"b": true}}',
  '{"a": {"b": null}}',
  '{"a": {"b": {"d": 1}}}',
  '{"a": {"b": [1]}}',
  '{"a": []}',
  '[1, 2]',
  '"text"',
  'not json',
  '',
);

/** A case of `text_from` or `moment_from`, by family. */
const family = (macro: 'text_from' | 'moment_from', name: string, given: readonly string[]) => ({
  macros: [macro === 'text_from' ? macro : 'moment_from_family'],
  name: `${macro}_${name}`,
  given,
  result: `{{ ${macro}('v', '${name}') }}`,
});

const textCases: readonly MacroCase[] = [
  family('text_from', 'text', texts(...awkward)),
  family('text_from', 'integer', [
    '1',
    '-9223372036854775807',
    '9223372036854775807',
    "{{ null_of('integer') }}",
  ]),
  family(
    'text_from',
    'float',
    ['1.0', '-2.5', '1e300', '0.1'].map((one) => `cast(${one} as {{ type_double() }})`),
  ),
  family('text_from', 'boolean', ['true', 'false', "{{ null_of('boolean') }}"]),
  family('text_from', 'timestamptz', [
    zoned('2026-03-05 10:00:00+00'),
    zoned('2026-03-05 10:00:00.120+02'),
    zoned('2026-03-05 10:00:00.123456+00'),
    zoned('1969-12-31 23:59:59.5+00'),
  ]),
  family('text_from', 'timestamp', [
    engines("timestamp '2026-03-05 10:00:00'", "datetime '2026-03-05 10:00:00'"),
    engines("timestamp '2026-03-05 10:00:00.1'", "datetime '2026-03-05 10:00:00.1'"),
    engines("timestamp '2026-03-05 10:00:00.000001'", "datetime '2026-03-05 10:00:00.000001'"),
  ]),
  family('text_from', 'date', ["date '2026-03-05'", "date '0001-01-02'", 'cast(null as date)']),
  family('text_from', 'time', ["time '10:00:00'", "time '23:59:59.999999'", "time '00:00:00.5'"]),
  family('text_from', 'json', [engines(`'{"a":"x"}'::json`, `parse_json('{"a": "x"}')`)]),
  family('text_from', 'array', [
    engines("['x', null]::varchar[]", `parse_json('["x",null]')`),
    engines('null::varchar[]', 'cast(null as json)'),
  ]),
  family('text_from', 'bytes', [
    engines("'\\x00\\xAB'::blob", "from_hex('00ab')"),
    engines("''::blob", "b''"),
  ]),
  {
    macros: ['text_from'],
    name: 'text_from_decimal',
    given: ['cast(2.5 as {{ type_amount() }})'],
    result: "{{ text_from('v', 'decimal') }}",
    emulatorGap:
      'the emulator writes every digit of the scale, as DuckDB does; the service none that is 0 at the end',
  },
];

const momentCases: readonly MacroCase[] = [
  { macros: ['epoch_us'], name: 'epoch_us', given: moments, result: "{{ epoch_us('v') }}" },
  ...['seconds', 'millis', 'micros'].map((unit) => ({
    macros: ['from_epoch'],
    name: `from_epoch_${unit}`,
    given: ['0', '1772700000', '-1', '9223372036854775807', "{{ null_of('integer') }}"].slice(
      0,
      // As microseconds the largest is a year that only DuckDB has.
      unit === 'micros' ? 3 : 5,
    ),
    result: `{{ from_epoch('v', '${unit}') }}`,
  })),
  ...[1, -7, 0].map((days) => ({
    macros: ['add_days'],
    name: `add_days_${days < 0 ? 'minus_' : ''}${Math.abs(days)}`,
    given: moments.filter((one) => !one.includes('0001')),
    result: `{{ add_days('v', ${days}) }}`,
  })),
  {
    macros: ['minus_seconds', 'day_of'],
    name: 'closed_as_of',
    given: [moment('2026-03-06 00:00:59'), moment('2026-03-06 00:01:00'), noMoment],
    result: "{{ closed_as_of('v') }}",
  },
  { macros: ['day_of'], name: 'day_of', given: moments, result: "{{ day_of('v') }}" },
  {
    macros: ['day_of', 'add_days'],
    name: 'midnight_from',
    given: moments,
    result: "{{ midnight_from('v') }}",
  },
  {
    macros: ['hour_of_day'],
    name: 'hour_of_day',
    given: moments,
    result: "{{ hour_of_day('v') }}",
  },
  {
    macros: ['epoch_us'],
    name: 'seconds_between',
    given: moments,
    result: "{{ seconds_between(moment_literal('2026-03-05 00:00:00'), 'v') }}",
  },
  {
    macros: ['type_moment'],
    name: 'earlier_of',
    given: moments,
    result: "{{ earlier_of('v', null_of('moment')) }}",
  },
  family('moment_from', 'timestamptz', [zoned('2026-03-05 10:00:00.120+02')]),
  family('moment_from', 'timestamp', [
    engines("timestamp '2026-03-05 10:00:00.1'", "datetime '2026-03-05 10:00:00.1'"),
  ]),
  family('moment_from', 'date', ["date '2026-03-05'", 'cast(null as date)']),
  family('moment_from', 'integer', ['1772700000000000', '-1', "{{ null_of('integer') }}"]),
  {
    ...family(
      'moment_from',
      'text',
      texts(
        '2026-03-05 10:00:00',
        '2026-03-05T10:00:00Z',
        '2026-03-05 10:00:00.5+02',
        '2026-03-05',
        '2026-02-30',
        'infinity',
        'soon',
        '',
      ),
    ),
    expected: {
      type: 'TIMESTAMP',
      values: [
        '1772704800000000',
        '1772704800000000',
        '1772697600500000',
        '1772668800000000',
        ...Array.from({ length: 5 }, () => null),
      ],
    },
  },
  {
    macros: ['from_epoch', 'try_cast'],
    name: 'mapped_moment',
    given: texts('1772700000', '2026-03-05 10:00:00', 'soon'),
    result: "{{ mapped_moment('v', 'text', 'epoch_seconds') }}",
  },
  {
    macros: ['midnights_of'],
    name: 'midnights_of',
    given: [noMoment],
    result: `(select count(*) from (
      with bounds as (select ${moment('2026-02-27 00:00:00')} as first_at, ${moment('2026-03-02 00:00:00')} as last_at)
      {{ midnights_of('bounds') }}
    ) as days where days.as_of in (${moment('2026-02-28 00:00:00')}, ${moment('2026-03-02 00:00:00')}, ${moment('2026-03-03 00:00:00')}))`,
  },
];

const valueCases: readonly MacroCase[] = [
  {
    macros: ['text_literal', 'type_text'],
    name: 'text_literal',
    given: texts(...awkward),
    result: 'v',
  },
  ...['integer', 'double', 'amount', 'boolean']
    .map((type) => ({
      macros: ['try_cast', `type_${type}`],
      name: `try_cast_${type}`,
      given: texts('1', '-12', 'true', '1.5', 'x', '', '99999999999999999999'),
      result: `{{ try_cast('v', type_${type}()) }}`,
      // Whether a text with a fraction is a whole number is the mapping's to say: nobody asks it of a cast.
    }))
    .map((one) =>
      one.name === 'try_cast_integer' || one.name === 'try_cast_boolean'
        ? {
            ...one,
            given: one.given.filter(
              (given) =>
                !given.includes('1.5') && !(one.name === 'try_cast_boolean' && /"-?\d/.test(given)),
            ),
          }
        : one,
    ),
  {
    macros: ['quoted'],
    name: 'quoted',
    given: ['1'],
    result: "(select {{ quoted('Values') }} from (select 5 as {{ quoted('Values') }}) as t)",
  },
  {
    macros: ['json_text'],
    name: 'json_text',
    given: jsonTexts,
    result: "{{ json_text('v', '$.a.b') }}",
    expected: {
      type: 'STRING',
      values: ['x', '1.5', 'true', ...Array.from({ length: 9 }, () => null)],
    },
  },
  {
    macros: ['json_member'],
    name: 'json_member',
    given: texts('{"a/b~c d": "x", "n": null}', '{}', 'not json').filter(
      (one) => !one.includes('not json'),
    ),
    result: "{{ json_member('v', 'text', 'a/b~c d') }}",
  },
  {
    macros: ['json_member'],
    name: 'json_member_of_json',
    given: [engines(`'{"a": "x"}'::json`, `parse_json('{"a": "x"}')`)],
    result: "{{ json_member('v', 'json', 'a') }}",
  },
  {
    macros: ['json_row'],
    name: 'json_row',
    given: texts(...awkward),
    result: "{{ json_row([['z', 'v'], ['a', 'v'], [\"it's\", \"'x'\"]]) }}",
  },
  {
    macros: ['joined'],
    name: 'joined',
    given: texts('a', ''),
    result: "{{ joined(['v', null_of('text'), \"'b'\"]) }}",
  },
  {
    macros: ['sha256_hex'],
    name: 'sha256_hex',
    given: texts(...awkward),
    result: "{{ sha256_hex('v') }}",
  },
  {
    macros: ['sha256_hex'],
    name: 'masked_text',
    given: texts(...awkward),
    result: "{{ masked_text('v') }}",
  },
  {
    macros: ['type_text'],
    name: 'surrogate_key',
    given: texts(...awkward),
    result: "{{ surrogate_key(['v', \"'x'\"]) }}",
  },
  { macros: ['boxed'], name: 'boxed', given: texts('a'), result: "({{ boxed('v') }}).v" },
  {
    macros: ['is_listed'],
    name: 'is_listed_text',
    given: listed,
    result: "{{ is_listed('v', 'text', 'a') }}",
  },
  {
    macros: ['is_filled'],
    name: 'is_filled_text',
    given: [...listed, text('')],
    result: "{{ is_filled('v', 'text') }}",
  },
  {
    macros: ['is_listed'],
    name: 'is_listed_array',
    given: arrays,
    result: "{{ is_listed('v', 'array', 'a') }}",
  },
  {
    macros: ['is_filled'],
    name: 'is_filled_array',
    given: arrays,
    result: "{{ is_filled('v', 'array') }}",
  },
  {
    macros: ['matches'],
    name: 'event_dialect',
    given: texts('a:b:v1:done', 'a.b.c', 'a_b', 'plain', ''),
    result: "{{ event_dialect('v') }}",
  },
  {
    macros: ['extracted'],
    name: 'extracted',
    given: texts('content.publish.completed', 'content.view', 'x', ''),
    result: "{{ extracted('v', '^[^.]+[.](.+)[.]' ~ state_pattern() ~ '$') }}",
  },
  {
    macros: ['unnest_as'],
    name: 'unnest_as',
    given: arrays,
    result: `(select count(*) from ${engines("(select 1) as one, {{ unnest_as(\"['a', 'b']\", 'element') }}", "{{ unnest_as(\"['a', 'b']\", 'element') }}")})`,
  },
  {
    macros: ['except_columns'],
    name: 'except_columns',
    given: ['1'],
    result:
      "(select two from (select {{ except_columns(['one']) }} from (select 1 as one, 2 as two) as t) as u)",
  },
];

const changes = [
  ['1', 'c', '05 10:00'],
  ['2', 't', '05 11:00'],
  ['3', 'c', '05 12:00'],
  ['4', 't', null],
  ['5', 'd', '06 10:00'],
  ['6', 't', '06 11:00'],
  ['7', 'u', '06 12:00'],
].map(([seq, op, at]) => {
  const committed = typeof at === 'string' ? moment(`2026-03-${at}:00`) : noMoment;
  return `select '${seq}' as _cdc_seq, '${op}' as _cdc_op, ${committed} as _cdc_committed_at`;
});

/** A table with truncates, and one that was never emptied. */
const truncateCases = [changes, changes.filter((one) => !one.includes("'t'"))].map(
  (rows, at): MacroCase => ({
    macros: ['truncates_of', 'beside_truncates', 'truncated_later', 'floor_later', 'emptied_until'],
    name: ['truncates', 'no_truncates'][at]!,
    given: rows,
    result: '',
    model: `with changes as (
${rows.join('\nunion all\n')}
),
{{ truncates_of('changes') }}
keyed as (select * from changes)
select keyed._cdc_seq as seq, {{ truncated_later('keyed') }} as truncated_at,
  {{ floor_later('keyed') }} as floor_seq, {{ emptied_until('keyed') }} as emptied
from keyed {{ beside_truncates() }}`,
  }),
);

export const macroCases: readonly MacroCase[] = [
  ...textCases,
  ...momentCases,
  ...valueCases,
  ...truncateCases,
];

/** A model with the results of a case, numbered as its values are. */
export function caseModel({ given, result, model }: MacroCase): string {
  if (model !== undefined) return `{{ config(materialized='table') }}\n${model}\n`;
  const rows = given.map((value, at) => `select ${at} as n, ${value} as v`);
  return `{{ config(materialized='table') }}
with given as (
${rows.join('\nunion all\n')}
)
select n, ${result} as result from given
`;
}
