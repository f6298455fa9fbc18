{# Microseconds since 1970. #}
{% macro epoch_us(moment) %}{{ return(adapter.dispatch('epoch_us')(moment)) }}{% endmacro %}
{% macro duckdb__epoch_us(moment) -%} epoch_us({{ moment }}) {%- endmacro %}
{% macro bigquery__epoch_us(moment) -%} unix_micros({{ moment }}) {%- endmacro %}

{# The moment of a count since 1970; `unit` is seconds, millis or micros. #}
{% macro from_epoch(count, unit) %}{{ return(adapter.dispatch('from_epoch')(count, unit)) }}{% endmacro %}
{% macro duckdb__from_epoch(count, unit) -%}
    try(make_timestamp(cast({{ count }} as bigint) * {{ micros_per(unit) }}))
{%- endmacro %}
{% macro bigquery__from_epoch(count, unit) -%}
    {%- set micros = 'safe_multiply(cast(' ~ count ~ ' as int64), ' ~ micros_per(unit) ~ ')' -%}
    {#- From the year 1 to 9999; whoever says that a column counts seconds may be wrong. -#}
    case
        when {{ micros }} between -62135596800000000 and 253402300799999999 then timestamp_micros({{ micros }})
    end
{%- endmacro %}
{% macro micros_per(unit) -%} {{ {'seconds': 1000000, 'millis': 1000, 'micros': 1}[unit] }} {%- endmacro %}

{# Exact seconds from one moment to another. Engines' own datediff counts crossed boundaries instead. #}
{% macro seconds_between(from_moment, to_moment) -%}
    (({{ epoch_us(to_moment) }} - {{ epoch_us(from_moment) }}) / 1000000.0)
{%- endmacro %}

{% macro add_days(moment, days) %}{{ return(adapter.dispatch('add_days')(moment, days)) }}{% endmacro %}
{% macro duckdb__add_days(moment, days) -%} ({{ moment }} + to_days(cast({{ days }} as integer))) {%- endmacro %}
{% macro bigquery__add_days(moment, days) -%} timestamp_add({{ moment }}, interval cast({{ days }} as int64) day) {%- endmacro %}

{# The midnight that a moment's day begins with. #}
{% macro day_of(moment) %}{{ return(adapter.dispatch('day_of')(moment)) }}{% endmacro %}
{% macro duckdb__day_of(moment) -%} cast(date_trunc('day', {{ moment }}) as timestamp) {%- endmacro %}
{% macro bigquery__day_of(moment) -%} timestamp_trunc({{ moment }}, day) {%- endmacro %}

{# The first midnight not before a moment: the first as-of time that could know it. #}
{% macro midnight_from(moment) -%}
    case
        when {{ moment }} = {{ day_of(moment) }} then {{ moment }}
        else {{ add_days(day_of(moment), 1) }}
    end
{%- endmacro %}

{% macro hour_of_day(moment) %}{{ return(adapter.dispatch('hour_of_day')(moment)) }}{% endmacro %}
{% macro duckdb__hour_of_day(moment) -%} extract(hour from {{ moment }}) {%- endmacro %}
{% macro bigquery__hour_of_day(moment) -%} extract(hour from {{ moment }}) {%- endmacro %}

{# One row a midnight from `first_at` to `last_at` of each row of a relation, as column `as_of`. #}
{% macro midnights_of(relation) %}{{ return(adapter.dispatch('midnights_of')(relation)) }}{% endmacro %}
{% macro duckdb__midnights_of(relation) -%}
    select unnest(generate_series({{ relation }}.first_at, {{ relation }}.last_at, interval 1 day)) as as_of
    from {{ relation }}
{%- endmacro %}
{% macro bigquery__midnights_of(relation) -%}
    select as_of
    from {{ relation }},
        unnest(generate_timestamp_array({{ relation }}.first_at, {{ relation }}.last_at, interval 1 day)) as as_of
{%- endmacro %}

{% macro moment_literal(text) -%} cast('{{ text }}' as {{ type_moment() }}) {%- endmacro %}

{# A stored moment as UTC. `column` is {name, family, as}; infinite moments are null. #}
{% macro moment_of(column) -%}
    {%- if column is none -%} {{ null_of('moment') }}
    {%- else -%} {{ mapped_moment(quoted(column.name), column.family, column.as) }}
    {%- endif -%}
{%- endmacro %}

{#
    A moment that the mapping says is stored `as`. Where a retype left both numbers and dates behind, each
    reads as what it is; a number of which the mapping does not say what it counts is no moment.
#}
{% macro mapped_moment(expression, family, as) -%}
    {%- if family in ('integer', 'decimal', 'float') -%}
        {%- if as.startswith('epoch_') -%} {{ from_epoch(try_cast(expression, type_integer()), as[6:]) }}
        {%- else -%} {{ null_of('moment') }}
        {%- endif -%}
    {%- elif family == 'text' and as.startswith('epoch_') -%}
        coalesce({{ from_epoch(try_cast(expression, type_integer()), as[6:]) }}, {{ moment_from(expression, family) }})
    {%- else -%} {{ moment_from(expression, family) }}
    {%- endif -%}
{%- endmacro %}

{# A moment of the family's own form; whole numbers are microseconds since 1970. #}
{% macro moment_from(expression, family) -%}
    {{ adapter.dispatch('moment_from_family')(expression, family) }}
{%- endmacro %}
{% macro duckdb__moment_from_family(expression, family) -%}
    {%- if family == 'timestamptz' -%}
        case when isfinite({{ expression }}) then make_timestamp(epoch_us({{ expression }})) end
    {%- elif family == 'timestamp' -%} case when isfinite({{ expression }}) then {{ expression }} end
    {%- elif family == 'date' -%} case when isfinite({{ expression }}) then cast({{ expression }} as timestamp) end
    {%- elif family == 'integer' -%} make_timestamp(cast({{ expression }} as bigint))
    {%- else -%}
        {%- set text = 'cast(' ~ expression ~ ' as varchar)' -%}
        {#- A cast to a timestamp without a zone would read over the offset that a text names. -#}
        case
            when regexp_matches({{ text }}, ':.*([Zz]|[+-][0-9]{2}(:?[0-9]{2})?)$')
                then make_timestamp(epoch_us(try_cast({{ text }} as timestamptz)))
            when isfinite(try_cast({{ text }} as timestamp)) then try_cast({{ text }} as timestamp)
        end
    {%- endif -%}
{%- endmacro %}
{% macro bigquery__moment_from_family(expression, family) -%}
    {%- if family == 'timestamptz' -%} {{ expression }}
    {%- elif family in ('timestamp', 'date') -%} timestamp({{ expression }})
    {%- elif family == 'integer' -%} timestamp_micros({{ expression }})
    {%- else -%} safe_cast(cast({{ expression }} as string) as timestamp)
    {%- endif -%}
{%- endmacro %}
