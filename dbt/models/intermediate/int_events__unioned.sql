{{ config(materialized='view') }}
with

events as (

    select
        source_table,
        service,
        entity,
        row_key,
        op,
        change_id,
        transaction_id,
        xid,
        commit_lsn,
        committed_at,
        available_at,
        is_assumed,
        truncated_at,
        master_id_value,
        master_uuid_value,
        parent_table,
        parent_column,
        parent_value,
        actor_table,
        actor_column,
        actor_value,
        tenant_table,
        tenant_column,
        tenant_value,
        event_type,
        occurred_at,
        status,
        payload,
        metadata,
        entity_type,
        entity_id,
        previous_hash,
        entry_hash,
        amount
    from {{ ref('stg_tributary__events') }}

),

final as (

    select
        {{ surrogate_key(['events.source_table', 'events.row_key']) }} as event_key,
        events.*
    from events

)

select * from final
