{#
    One row per key: the newest image, with _is_deleted; our own columns begin with _, because sources have a deleted_at too. Keys and references as text, mapped moments as UTC.
    columns: {name, family, exact, text, as, none}
#}
{% macro entity_current(relation, key, columns) %}
{%- set image = "row_number() over (partition by changes._cdc_row_key order by changes._cdc_seq desc)" -%}
with

changes as (

    select
        {% for name in names_of(columns) %}
        {{ quoted(name) }},
        {% endfor %}
        _cdc_row_key,
        _cdc_op,
        _cdc_seq,
        _cdc_available_at,
        _cdc_truncated_at
    from {{ relation }}
    where _cdc_op <> 't'

),

ranked as (

    select
        changes.*,
        {{ image }} as _cdc_newest_first
    from changes

),

final as (

    select
        ranked._cdc_row_key as _row_key,
        {% for column in columns %}
        {{ current_column(column) }} as {{ quoted(column.name) }},
        {% endfor %}
        ranked._cdc_op = 'd' or ranked._cdc_truncated_at is not null as _is_deleted,
        case
            when ranked._cdc_op = 'd' then ranked._cdc_available_at
            else ranked._cdc_truncated_at
        end as _deleted_at,
        ranked._cdc_seq as _last_change_id,
        ranked._cdc_available_at as _last_change_at
    from ranked
    where ranked._cdc_newest_first = 1

)

select * from final
{% endmacro %}

{% macro current_column(column) -%}
    {%- set text = text_of(column, 'ranked') -%}
    {%- if column['as'] is not none -%}
        {{ mapped_moment('ranked.' ~ quoted(column.name), column.family, column['as']) }}
    {%- elif column.none | length > 0 -%} {{ without_none(text, column.none) }}
    {%- elif column.text -%} {{ text }}
    {%- else -%} ranked.{{ quoted(column.name) }}
    {%- endif -%}
{%- endmacro %}

{# A text that is null where it is one of the values that mean "none". #}
{% macro without_none(text, values) -%}
    {%- if values | length == 0 -%} {{ text }}
    {%- else -%}
        case when {{ text }} not in ({% for value in values %}{{ text_literal(value) }}{{ ', ' if not loop.last }}{% endfor %}) then {{ text }} end
    {%- endif -%}
{%- endmacro %}
