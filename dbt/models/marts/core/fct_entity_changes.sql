with

changes as (

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
        master_key,
        master_method,
        changed_columns,
        before_image,
        after_image,
        is_assumed,
        committed_at,
        available_at
    from {{ ref('int_row_changes__owned') }}

),

events as (

    select
        event_key,
        transaction_id
    from {{ ref('int_events__parsed') }}
    where change_id = first_change_id and op = 'c'

),

event_masters as (

    select
        event_key,
        master_key
    from {{ ref('bridge_event_masters') }}

),

{# What was logged in the same transaction about the same master explains a change best. #}
explained as (

    select
        events.transaction_id,
        event_masters.master_key,
        min(events.event_key) as event_key
    from events
    inner join event_masters on events.event_key = event_masters.event_key
    group by events.transaction_id, event_masters.master_key

),

final as (

    select
        changes.change_id,
        changes.source_table,
        changes.service,
        changes.entity,
        changes.row_key,
        changes.master_key,
        changes.master_method,
        changes.op,
        changes.changed_columns,
        changes.before_image,
        changes.after_image,
        explained.event_key as explained_by_event_key,
        changes.transaction_id,
        changes.xid,
        changes.commit_lsn,
        case when changes.is_assumed then 'assumed' else 'recorded' end as availability_basis,
        changes.committed_at,
        changes.available_at
    from changes
    left join explained
        on changes.op <> 'r'
        and changes.transaction_id = explained.transaction_id
        and changes.master_key = explained.master_key

)

select * from final
