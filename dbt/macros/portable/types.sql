{# Types that both engines understand, so that contracts and casts name one thing. #}

{% macro type_text() %}{{ return(adapter.dispatch('type_text')()) }}{% endmacro %}
{% macro duckdb__type_text() %}varchar{% endmacro %}
{% macro bigquery__type_text() %}string{% endmacro %}

{# A moment is UTC without a zone on DuckDB, so no session setting can shift it; TIMESTAMP on BigQuery. #}
{% macro type_moment() %}{{ return(adapter.dispatch('type_moment')()) }}{% endmacro %}
{% macro duckdb__type_moment() %}timestamp{% endmacro %}
{% macro bigquery__type_moment() %}timestamp{% endmacro %}

{% macro type_amount() %}{{ return(adapter.dispatch('type_amount')()) }}{% endmacro %}
{% macro duckdb__type_amount() %}decimal(38,9){% endmacro %}
{% macro bigquery__type_amount() %}numeric{% endmacro %}

{% macro type_integer() %}{{ return(adapter.dispatch('type_integer')()) }}{% endmacro %}
{% macro duckdb__type_integer() %}bigint{% endmacro %}
{% macro bigquery__type_integer() %}int64{% endmacro %}

{% macro type_double() %}{{ return(adapter.dispatch('type_double')()) }}{% endmacro %}
{% macro duckdb__type_double() %}double{% endmacro %}
{% macro bigquery__type_double() %}float64{% endmacro %}

{% macro type_boolean() %}{{ return(adapter.dispatch('type_boolean')()) }}{% endmacro %}
{% macro duckdb__type_boolean() %}boolean{% endmacro %}
{% macro bigquery__type_boolean() %}bool{% endmacro %}

{# The SQL type of a column of the shared staging models. #}
{% macro type_named(name) -%}
    {%- if name == 'text' -%}{{ type_text() }}
    {%- elif name == 'moment' -%}{{ type_moment() }}
    {%- elif name == 'amount' -%}{{ type_amount() }}
    {%- elif name == 'integer' -%}{{ type_integer() }}
    {%- elif name == 'boolean' -%}{{ type_boolean() }}
    {%- else -%}{{ exceptions.raise_compiler_error('no type is called ' ~ name) }}
    {%- endif -%}
{%- endmacro %}

{% macro null_of(type_name) -%} cast(null as {{ type_named(type_name) }}) {%- endmacro %}

{% macro try_cast(expression, type) %}{{ return(adapter.dispatch('try_cast')(expression, type)) }}{% endmacro %}
{% macro duckdb__try_cast(expression, type) -%} try_cast({{ expression }} as {{ type }}) {%- endmacro %}
{% macro bigquery__try_cast(expression, type) -%} safe_cast({{ expression }} as {{ type }}) {%- endmacro %}

{# A name as the engine quotes it: columns called `timestamp` or `Values` stay themselves. #}
{% macro quoted(name) %}{{ return(adapter.dispatch('quoted')(name)) }}{% endmacro %}
{% macro duckdb__quoted(name) -%} "{{ name | replace('"', '""') }}" {%- endmacro %}
{% macro bigquery__quoted(name) -%} `{{ name | replace('`', '\\`') }}` {%- endmacro %}

{% macro text_literal(value) %}{{ return(adapter.dispatch('text_literal')(value)) }}{% endmacro %}
{% macro duckdb__text_literal(value) -%} '{{ value | replace("'", "''") }}' {%- endmacro %}
{% macro bigquery__text_literal(value) -%} '{{ value | replace("\\", "\\\\") | replace("'", "\\'") | replace("\n", "\\n") | replace("\r", "\\r") }}' {%- endmacro %}

{% macro optional_literal(value) -%}
    {%- if value is none -%} {{ null_of('text') }} {%- else -%} {{ text_literal(value) }} {%- endif -%}
{%- endmacro %}
