import { bignumericMax, bignumericMin } from '../value-rules.ts';

/** BigQuery's functions that DuckDB lacks or means otherwise, under names that `translate.ts` puts in. */
export const functionMacros: readonly string[] = [
  `create macro bq_in_range(value) as case when value.bignumeric between '${bignumericMin}'::bignum and '${bignumericMax}'::bignum
    then value else error('BIGNUMERIC out of range') end`,
  `create macro bq_bignumeric(value) as case when value is null then null
    when not regexp_full_match(value::varchar, '[+-]?([0-9]+[.]?[0-9]{0,38}|[.][0-9]{1,38})')
      then error('Invalid BIGNUMERIC value: ' || value::varchar)
    when replace(split_part(value::varchar, '.', 1), '+', '') || rpad(split_part(value::varchar, '.', 2), 38, '0')
      not similar to '-?[0-9]{1,78}' then error('BIGNUMERIC out of range: ' || value::varchar)
    else bq_in_range(struct_pack(bignumeric := (replace(split_part(value::varchar, '.', 1), '+', '')
      || rpad(split_part(value::varchar, '.', 2), 38, '0'))::bignum)) end`,
  `create macro bq_digits(digits) as concat(left(digits, length(digits) - 38),
    rtrim('.' || right(digits, 38), '.0'))`,
  `create macro bq_bignumeric_text(text) as concat(case when contains(text, '-') then '-' else '' end,
    bq_digits(lpad(regexp_extract(text, '[0-9]+'), greatest(39, length(regexp_extract(text, '[0-9]+')))::int, '0')))`,
  `create macro bq_string(value) as case when typeof(value) = 'STRUCT(bignumeric BIGNUM)' then bq_bignumeric_text(value::varchar)
    when typeof(value) like 'DECIMAL%' and contains(value::varchar, '.')
    then rtrim(rtrim(value::varchar, '0'), '.') else value::varchar end`,
  `create macro json_value(value, path) as case when json_type(value, path) in ('ARRAY', 'OBJECT') then null
    else json_extract_string(value, path) end`,
  `create macro json_query_array(value) as json_extract(value, '$[*]')`,
  `create macro json_value_array(value, path) as json_extract_string(value, path || '[*]')`,
  `create macro json_query(value, path) as json_extract(value, path)`,
  `create macro to_json_string(value) as case
    when typeof(value) = 'TIMESTAMP WITH TIME ZONE'
      then concat('"', replace(replace(value::varchar, ' ', 'T'), '+00', 'Z'), '"')
    when typeof(value) = 'TIMESTAMP' then concat('"', replace(value::varchar, ' ', 'T'), '"')
    when typeof(value) like 'DECIMAL%' then bq_string(value)
    when typeof(value) = 'BIGINT' and abs(try_cast(value::varchar as hugeint)) > 9007199254740992
      then concat('"', value::varchar, '"')
    when regexp_matches(typeof(value), 'TIMESTAMP|DECIMAL|BLOB|BIGNUM|BIGINT|DOUBLE') and typeof(value) not in ('BIGINT', 'DOUBLE')
      then error('TO_JSON_STRING of this type is not supported by this stand-in')
    else to_json(value)::varchar end`,
  `create macro parse_json(value) as bq_json_exact(value::varchar)::json`,
  `create macro bq_parse_json_round(value) as bq_json_round(value::varchar)::json`,
  `create macro bq_sha256(value) as unhex(sha256(value))`,
  `create macro bq_md5(value) as unhex(md5(value))`,
  `create macro to_hex(value) as lower(hex(value))`,
  `create macro from_hex(value) as unhex(value)`,
  `create macro generate_uuid() as uuid()::varchar`,
  `create macro timestamp_micros(value) as make_timestamptz(value::bigint)`,
  `create macro timestamp_millis(value) as make_timestamptz(value::bigint * 1000)`,
  `create macro timestamp_seconds(value) as make_timestamptz(value::bigint * 1000000)`,
  `create macro unix_micros(value) as epoch_us(value::timestamptz)`,
  `create macro unix_millis(value) as (epoch_us(value::timestamptz) - ((epoch_us(value::timestamptz) % 1000 + 1000) % 1000)) // 1000`,
  `create macro unix_seconds(value) as (epoch_us(value::timestamptz)
    - ((epoch_us(value::timestamptz) % 1000000 + 1000000) % 1000000)) // 1000000`,
  `create macro bq_start(value, place) as case when place = 0 then 1
    when place < 0 then greatest(length(value) + place + 1, 1) else place end`,
  `create macro bq_substr(value, place) as substr(value, bq_start(value, place)),
    (value, place, size) as substr(value, bq_start(value, place),
      case when size < 0 then error('Third argument in SUBSTR() cannot be negative') else size end)`,
  `create macro bq_regexp_replace(value, pattern, replacement) as regexp_replace(value, pattern, replacement, 'g')`,
  `create macro timestamp_add(value, size) as value::timestamptz + size`,
  `create macro timestamp_sub(value, size) as value::timestamptz - size`,
  `create macro bq_date_add(value, size) as (value + size)::date`,
  `create macro bq_date_sub(value, size) as (value - size)::date`,
  `create macro bq_date(value) as value::date`,
  `create macro bq_timestamp(value) as value::timestamptz`,
  `create macro countif(value) as count_if(value)`,
  `create macro logical_or(value) as bool_or(value)`,
  `create macro logical_and(value) as bool_and(value)`,
  `create macro bq_array_length(value) as len(value)`,
  `create macro regexp_contains(value, pattern) as regexp_matches(value, pattern)`,
  `create macro safe_divide(a, b) as case when b = 0 then null else a / b end`,
];
