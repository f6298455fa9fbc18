{#
    One row per version of an event, the same columns for every event table; what a table does not have is
    null. Columns are {name, family, exact} or none. An amount that is no number of the engine (NaN) is null.
#}
{% macro event_versions(
    relation, source_table, service, entity,
    master_id, master_uuid, parent, parent_table, parent_column,
    actor, actor_table, actor_column, tenant, tenant_none, tenant_table, tenant_column,
    event_type, occurred_at, status, payload, metadata, entity_type, entity_id,
    previous_hash, entry_hash, amount, masked
) %}
{%- set used = names_of([
    master_id, master_uuid, parent, actor, tenant, event_type, occurred_at, status, payload, metadata,
    entity_type, entity_id, previous_hash, entry_hash, amount
]) -%}
with

base as (

    select
        {% for name in used %}
        {{ quoted(name) }},
        {% endfor %}
        {{ base_meta() }}
    from {{ relation }}
    where _cdc_op <> 't'

),

final as (

    select
        {{ origin_columns(source_table, service, entity) }}
        {{ change_columns() }}
        {{ owner_columns(master_id, master_uuid, parent, parent_table, parent_column) }}
        {{ optional_literal(actor_table if actor is not none else none) }} as actor_table,
        {{ optional_literal(actor_column if actor is not none else none) }} as actor_column,
        {{ text_of(actor) }} as actor_value,
        {{ optional_literal(tenant_table if tenant is not none else none) }} as tenant_table,
        {{ optional_literal(tenant_column if tenant is not none else none) }} as tenant_column,
        {{ without_none(text_of(tenant), tenant_none) }} as tenant_value,
        {{ shown(event_type, masked) }} as event_type,
        {{ moment_of(occurred_at) }} as occurred_at,
        {{ shown(status, masked) }} as status,
        {{ shown(payload, masked) }} as payload,
        {{ shown(metadata, masked) }} as metadata,
        {{ shown(entity_type, masked) }} as entity_type,
        {{ shown(entity_id, masked) }} as entity_id,
        {{ shown(previous_hash, masked) }} as previous_hash,
        {{ shown(entry_hash, masked) }} as entry_hash,
        {% if amount is none -%} {{ null_of('amount') }}
        {%- else -%} {{ try_cast(quoted(amount.name), type_amount()) }}
        {%- endif %} as amount
    from base

)

select * from final
{% endmacro %}

{% macro shown(column, masked) -%}
    {%- if column is not none and column.name in masked -%} {{ masked_text(text_of(column)) }}
    {%- else -%} {{ text_of(column) }}
    {%- endif -%}
{%- endmacro %}
