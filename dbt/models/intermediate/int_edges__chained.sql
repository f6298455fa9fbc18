{# Event → event, and event → the rows that its transaction changed. Neighbours only, never every pair. #}
with

events as (

    select
        event_key,
        source_table,
        change_id,
        correlation_id,
        pairing_key,
        previous_hash,
        entry_hash,
        event_action,
        available_at,
        occurred_at,
        deleted_at,
        availability_basis
    from {{ ref('fct_events') }}

),

first_versions as (

    select
        event_key,
        transaction_id
    from {{ ref('int_events__parsed') }}
    where change_id = first_change_id and op = 'c'

),

changes as (

    select
        source_table,
        row_key,
        transaction_id,
        min(change_id) as change_id,
        min(available_at) as available_at
    from {{ ref('int_row_changes__owned') }}
    where op in ('c', 'u', 'd') and kind = 'entity' and row_key is not null
    group by source_table, row_key, transaction_id

),

followed as (

    select
        events.*,
        lead(events.event_key) over (
            partition by events.correlation_id order by events.occurred_at, events.change_id
        ) as next_in_correlation,
        lead(events.event_key) over (
            partition by events.pairing_key order by events.occurred_at, events.change_id
        ) as next_in_progress
    from events

),

correlates as (

    select
        'event:' || followed.event_key as from_node_id,
        'event:' || followed.next_in_correlation as to_node_id,
        'correlates' as edge_type,
        'correlation id' as evidence,
        0.9 as confidence,
        followed.source_table,
        'correlation_id' as source_column,
        followed.change_id,
        followed.available_at as valid_from,
        followed.deleted_at as valid_to
    from followed
    where followed.correlation_id is not null and followed.next_in_correlation is not null

),

progresses as (

    select
        'event:' || followed.event_key as from_node_id,
        'event:' || followed.next_in_progress as to_node_id,
        'progresses' as edge_type,
        'same action in a correlation' as evidence,
        0.9 as confidence,
        followed.source_table,
        'correlation_id' as source_column,
        followed.change_id,
        followed.available_at as valid_from,
        followed.deleted_at as valid_to
    from followed
    where followed.pairing_key is not null and followed.next_in_progress is not null

),

hashed as (

    select
        events.event_key,
        events.source_table,
        events.entry_hash,
        row_number() over (
            partition by events.source_table, events.entry_hash order by events.change_id
        ) as first_first
    from events
    where events.entry_hash is not null and events.entry_hash <> ''

),

hash_prev as (

    select
        'event:' || events.event_key as from_node_id,
        'event:' || hashed.event_key as to_node_id,
        'hash_prev' as edge_type,
        'hash chain' as evidence,
        1.0 as confidence,
        events.source_table,
        'previous_hash' as source_column,
        events.change_id,
        events.available_at as valid_from,
        events.deleted_at as valid_to
    from events
    inner join hashed
        on events.source_table = hashed.source_table
        and events.previous_hash = hashed.entry_hash
        and hashed.first_first = 1
        and events.event_key <> hashed.event_key

),

transaction_sizes as (

    select
        changes.transaction_id,
        count(*) as n_rows
    from changes
    group by changes.transaction_id

),

same_tx as (

    select
        'event:' || first_versions.event_key as from_node_id,
        'row:' || changes.source_table || '|' || changes.row_key as to_node_id,
        'same_tx' as edge_type,
        'same transaction' as evidence,
        0.8 as confidence,
        events.source_table,
        {{ null_of('text') }} as source_column,
        events.change_id,
        changes.available_at as valid_from,
        events.deleted_at as valid_to
    from first_versions
    inner join events on first_versions.event_key = events.event_key
    inner join changes on first_versions.transaction_id = changes.transaction_id
    inner join transaction_sizes on first_versions.transaction_id = transaction_sizes.transaction_id
    where transaction_sizes.n_rows <= {{ var('same_transaction_rows_max') }}

),

final as (

    select * from correlates
    union all
    select * from progresses
    union all
    select * from hash_prev
    union all
    select * from same_tx

)

select * from final
