{# The earlier of two moments, of which a missing one means never. #}
{% macro earlier_of(left, right) -%}
    coalesce(least({{ left }}, {{ right }}), {{ left }}, {{ right }})
{%- endmacro %}

{#
    How an owner of a row is found: by the master id that the row names, else by its uuid. An id that is no
    master is not replaced by the uuid: which of them is known can change later, and must not change the past.
    Needs `by_id` and `by_uuid` joined from int_masters__identifiers.
#}
{% macro owner_master(rows) -%}
    case when {{ rows }}.master_id_value is not null then by_id.master_key else by_uuid.master_key end
{%- endmacro %}

{% macro owner_known_from(rows) -%}
    case when {{ rows }}.master_id_value is not null then by_id.known_from else by_uuid.known_from end
{%- endmacro %}

{% macro owner_method(rows) -%}
    case
        when {{ rows }}.master_id_value is null and by_uuid.master_key is not null then 'uuid'
        when by_id.master_key is null then null
        when {{ rows }}.master_uuid_value is null then 'id'
        when by_uuid.master_key = by_id.master_key then 'id_and_uuid'
        when by_uuid.master_key is null then 'id_uuid_unknown'
        else 'id_uuid_mismatch'
    end
{%- endmacro %}

{% macro owner_joins(rows) -%}
    left join identifiers as by_id
        on {{ rows }}.master_id_value = by_id.identifier and by_id.identifier_kind = 'id'
    left join identifiers as by_uuid
        on {{ rows }}.master_uuid_value = by_uuid.identifier and by_uuid.identifier_kind = 'uuid'
{%- endmacro %}

{# The midnight that features are closed at: every commit before it is in the lake. #}
{% macro closed_as_of(committed_at) -%}
    {{ day_of(adapter.dispatch('minus_seconds')(committed_at, var('closing_grace_seconds'))) }}
{%- endmacro %}
{% macro duckdb__minus_seconds(moment, seconds) -%} ({{ moment }} - to_seconds({{ seconds }})) {%- endmacro %}
{% macro bigquery__minus_seconds(moment, seconds) -%} timestamp_sub({{ moment }}, interval {{ seconds }} second) {%- endmacro %}
