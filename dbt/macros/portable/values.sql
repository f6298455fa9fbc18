{#
    Any value as text, told apart by its family; `column` is {name, family, exact} or none. `exact` names the
    column with the text of values that the engine's type cannot hold, where there are such.
#}
{% macro text_of(column, alias=none) -%}
    {%- set prefix = '' if alias is none else alias ~ '.' -%}
    {%- if column is none -%} {{ null_of('text') }}
    {%- elif column.exact -%}
        coalesce({{ prefix ~ quoted(column.exact) }}, {{ text_from(prefix ~ quoted(column.name), column.family) }})
    {%- else -%} {{ text_from(prefix ~ quoted(column.name), column.family) }}
    {%- endif -%}
{%- endmacro %}

{# The columns of a base model that these columns, some of which may be none, need: each once. #}
{% macro names_of(columns) %}
    {%- set names = [] -%}
    {%- for column in columns if column is not none -%}
        {%- for name in [column.name, column.exact] if name and name not in names -%}
            {%- do names.append(name) -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(names) }}
{% endmacro %}

{% macro text_from(expression, family) %}{{ return(adapter.dispatch('text_from')(expression, family)) }}{% endmacro %}
{% macro duckdb__text_from(expression, family) -%}
    {%- if family == 'text' -%} {{ expression }}
    {%- elif family == 'array' -%} cast(to_json({{ expression }}) as varchar)
    {%- elif family == 'bytes' -%} lower(hex({{ expression }}))
    {%- elif family == 'timestamptz' -%} cast(make_timestamp(epoch_us({{ expression }})) as varchar)
    {%- elif family == 'float' -%} regexp_replace(cast({{ expression }} as varchar), '[.]0$', '')
    {%- else -%} cast({{ expression }} as varchar)
    {%- endif -%}
{%- endmacro %}
{% macro bigquery__text_from(expression, family) -%}
    {%- if family == 'text' -%} {{ expression }}
    {%- elif family in ('array', 'json') -%}
        {#- The JSON text of no value at all would be the word null. -#}
        case when {{ expression }} is not null then to_json_string({{ expression }}) end
    {%- elif family == 'bytes' -%} to_hex({{ expression }})
    {%- elif family == 'timestamptz' -%} {{ without_last_zeros("format_timestamp('%F %H:%M:%E6S', " ~ expression ~ ')') }}
    {%- elif family == 'timestamp' -%} {{ without_last_zeros("format_datetime('%F %H:%M:%E6S', " ~ expression ~ ')') }}
    {%- elif family == 'time' -%} {{ without_last_zeros("format_time('%H:%M:%E6S', " ~ expression ~ ')') }}
    {%- elif family == 'float' -%} regexp_replace(cast({{ expression }} as string), r'[.]0$', '')
    {%- else -%} cast({{ expression }} as string)
    {%- endif -%}
{%- endmacro %}

{# A time of six digits after the point, without the zeros at their end. #}
{% macro without_last_zeros(text) -%} regexp_replace({{ text }}, r'[.]?0*$', '') {%- endmacro %}

{# Several columns as one key: the text itself for one, joined by | for more. #}
{% macro key_text(columns) -%}
    {%- if columns | length == 1 -%} {{ text_of(columns[0]) }}
    {%- else -%}
        {%- for column in columns -%}
            {{ text_of(column) }}{% if not loop.last %} || '|' || {% endif %}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro %}

{# A single value of a JSON text by path ('$.a.b'), without quotes; null where the text is not JSON. #}
{% macro json_text(text, path) %}{{ return(adapter.dispatch('json_text')(text, path)) }}{% endmacro %}
{% macro duckdb__json_text(text, path) -%}
    case
        when json_valid({{ text }}) then case
            when json_type({{ text }}, '{{ path }}') not in ('OBJECT', 'ARRAY')
                then json_extract_string({{ text }}, '{{ path }}')
        end
    end
{%- endmacro %}
{% macro bigquery__json_text(text, path) -%}
    json_value(safe.parse_json({{ text }}, wide_number_mode => 'round'), '{{ path }}')
{%- endmacro %}

{# The text of a member of a JSON object of texts (a JSON value, or the text of one), whatever its name. #}
{% macro json_member(object, family, name) %}{{ return(adapter.dispatch('json_member')(object, family, name)) }}{% endmacro %}
{% macro duckdb__json_member(object, family, name) -%}
    json_extract_string({{ object }}, {{ text_literal('/' ~ name | replace('~', '~0') | replace('/', '~1')) }})
{%- endmacro %}
{% macro bigquery__json_member(object, family, name) -%}
    {%- set value = object if family == 'json' else 'parse_json(' ~ object ~ ", wide_number_mode => 'round')" -%}
    json_value({{ value }}[{{ text_literal(name) }}])
{%- endmacro %}

{# A JSON object of texts. `pairs` is a list of [name, expression]. #}
{% macro json_row(pairs) %}{{ return(adapter.dispatch('json_row')(pairs)) }}{% endmacro %}
{% macro duckdb__json_row(pairs) -%}
    cast(json_object({% for name, value in pairs %}{{ text_literal(name) }}, {{ value }}{{ ', ' if not loop.last }}{% endfor %}) as varchar)
{%- endmacro %}
{% macro bigquery__json_row(pairs) -%}
    {#- As text from the start: a JSON value of BigQuery does not keep the order of its members. -#}
    concat('{'{% for name, value in pairs %}, to_json_string({{ text_literal(name) }}), ':', to_json_string({{ value }}){{ ", ','" if not loop.last }}{% endfor %}, '}')
{%- endmacro %}

{# Those of several expressions that are not null, joined by commas; of none, nothing. #}
{% macro joined(expressions) -%}
    {%- if expressions | length == 0 -%} {{ return("''") }} {%- endif -%}
    {{ return(adapter.dispatch('joined')(expressions)) }}
{%- endmacro %}
{% macro duckdb__joined(expressions) -%} concat_ws(',', {{ expressions | join(', ') }}) {%- endmacro %}
{% macro bigquery__joined(expressions) -%} array_to_string([{{ expressions | join(', ') }}], ',') {%- endmacro %}

{% macro sha256_hex(text) %}{{ return(adapter.dispatch('sha256_hex')(text)) }}{% endmacro %}
{% macro duckdb__sha256_hex(text) -%} sha256({{ text }}) {%- endmacro %}
{% macro bigquery__sha256_hex(text) -%} to_hex(sha256({{ text }})) {%- endmacro %}

{# A masked value: equal values stay equal, none can be read. #}
{% macro masked_text(text) -%} {{ sha256_hex(text_literal(var('mask_key', '')) ~ ' || ' ~ text) }} {%- endmacro %}

{# One text key from several texts; null and empty differ. A table may have no column at all: its rows are alike. #}
{% macro surrogate_key(expressions) -%}
    {%- if expressions | length == 0 -%} {{ return(dbt.hash("''")) }} {%- endif -%}
    {{ dbt.hash(dbt.concat(surrogate_parts(expressions))) }}
{%- endmacro %}
{% macro surrogate_parts(expressions) %}
    {%- set parts = [] -%}
    {%- for expression in expressions -%}
        {%- do parts.append("coalesce(cast(" ~ expression ~ " as " ~ type_text() ~ "), '<null>')") -%}
        {%- if not loop.last %}{% do parts.append("'|'") %}{% endif -%}
    {%- endfor -%}
    {{ return(parts) }}
{% endmacro %}

{# The texts of a group in one line, in the order of `order_by`. #}
{% macro string_agg_ordered(text, separator, order_by) -%}
    string_agg({{ text }}, '{{ separator }}' order by {{ order_by }})
{%- endmacro %}

{# The elements of an array as rows of one column. #}
{% macro unnest_as(array, name) %}{{ return(adapter.dispatch('unnest_as')(array, name)) }}{% endmacro %}
{% macro duckdb__unnest_as(array, name) -%} (select unnest({{ array }}) as {{ name }}) {%- endmacro %}
{% macro bigquery__unnest_as(array, name) -%} unnest({{ array }}) as {{ name }} {%- endmacro %}

{# All columns but some. #}
{% macro except_columns(names) %}{{ return(adapter.dispatch('except_columns')(names)) }}{% endmacro %}
{% macro duckdb__except_columns(names) -%} * exclude ({{ names | join(', ') }}) {%- endmacro %}
{% macro bigquery__except_columns(names) -%} * except ({{ names | join(', ') }}) {%- endmacro %}

{# Wraps a value so that a null inside is told apart from no value, as `last_value … ignore nulls` needs. #}
{% macro boxed(expression) %}{{ return(adapter.dispatch('boxed')(expression)) }}{% endmacro %}
{% macro duckdb__boxed(expression) -%} struct_pack(v := {{ expression }}) {%- endmacro %}
{% macro bigquery__boxed(expression) -%} struct({{ expression }} as v) {%- endmacro %}

{# Whether a list column (an array, or JSON text of one) names a column. Never null. #}
{% macro is_listed(list, family, name) %}{{ return(adapter.dispatch('is_listed')(list, family, name)) }}{% endmacro %}
{% macro duckdb__is_listed(list, family, name) -%}
    {%- if family == 'array' -%} coalesce(list_contains({{ list }}, {{ text_literal(name) }}), false)
    {%- else -%} coalesce(list_contains(from_json({{ list }}, '["varchar"]'), {{ text_literal(name) }}), false)
    {%- endif -%}
{%- endmacro %}
{% macro bigquery__is_listed(list, family, name) -%}
    {%- if family == 'array' -%} coalesce({{ text_literal(name) }} in unnest({{ list }}), false)
    {%- else -%} coalesce({{ text_literal(name) }} in unnest(json_value_array({{ list }})), false)
    {%- endif -%}
{%- endmacro %}

{# Whether such a list names anything. Never null. #}
{% macro is_filled(list, family) %}{{ return(adapter.dispatch('is_filled')(list, family)) }}{% endmacro %}
{% macro duckdb__is_filled(list, family) -%}
    {%- if family == 'array' -%} coalesce(len({{ list }}) > 0, false)
    {%- else -%} coalesce({{ list }} not in ('', '[]'), false)
    {%- endif -%}
{%- endmacro %}
{% macro bigquery__is_filled(list, family) -%}
    {%- if family == 'array' -%} coalesce(array_length({{ list }}) > 0, false)
    {%- elif family == 'json' -%} coalesce(array_length(json_value_array({{ list }})) > 0, false)
    {%- else -%} coalesce({{ list }} not in ('', '[]'), false)
    {%- endif -%}
{%- endmacro %}

{% macro matches(text, pattern) %}{{ return(adapter.dispatch('matches')(text, pattern)) }}{% endmacro %}
{% macro duckdb__matches(text, pattern) -%} regexp_matches({{ text }}, '{{ pattern }}') {%- endmacro %}
{% macro bigquery__matches(text, pattern) -%} regexp_contains({{ text }}, r'{{ pattern }}') {%- endmacro %}

{# The first group of a pattern; null where it does not match. #}
{% macro extracted(text, pattern) %}{{ return(adapter.dispatch('extracted')(text, pattern)) }}{% endmacro %}
{% macro duckdb__extracted(text, pattern) -%} nullif(regexp_extract({{ text }}, '{{ pattern }}', 1), '') {%- endmacro %}
{% macro bigquery__extracted(text, pattern) -%} nullif(regexp_extract({{ text }}, r'{{ pattern }}'), '') {%- endmacro %}
