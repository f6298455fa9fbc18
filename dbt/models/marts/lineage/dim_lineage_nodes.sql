with

masters as (

    select
        master_key,
        master_type,
        master_name,
        first_seen_at,
        deleted_at
    from {{ ref('dim_masters') }}

),

rows_seen as (

    select
        source_table,
        entity,
        row_key,
        kind,
        op,
        master_key,
        available_at,
        truncated_at,
        row_number() over (partition by source_table, row_key order by change_id desc) as newest_first,
        min(available_at) over (partition by source_table, row_key) as first_seen_at
    from {{ ref('int_row_changes__owned') }}
    where row_key is not null

),

events as (

    select
        event_key,
        source_table,
        event_type,
        subject_master_key,
        available_at,
        deleted_at
    from {{ ref('fct_events') }}

),

final as (

    select
        'master:' || masters.master_key as node_id,
        'master' as kind,
        masters.master_key,
        coalesce(masters.master_name, masters.master_key) as label,
        masters.master_type as node_type,
        {{ null_of('text') }} as source_table,
        masters.first_seen_at as valid_from,
        masters.deleted_at as valid_to
    from masters

    union all

    select
        'row:' || rows_seen.source_table || '|' || rows_seen.row_key as node_id,
        'row' as kind,
        rows_seen.master_key,
        rows_seen.entity || ' ' || rows_seen.row_key as label,
        rows_seen.entity as node_type,
        rows_seen.source_table,
        rows_seen.first_seen_at as valid_from,
        case
            when rows_seen.op = 'd' then rows_seen.available_at
            else rows_seen.truncated_at
        end as valid_to
    from rows_seen
    where rows_seen.newest_first = 1 and rows_seen.kind = 'entity'

    union all

    select
        'event:' || events.event_key as node_id,
        'event' as kind,
        events.subject_master_key as master_key,
        coalesce(events.event_type, events.source_table) as label,
        events.event_type as node_type,
        events.source_table,
        events.available_at as valid_from,
        events.deleted_at as valid_to
    from events

)

select * from final
