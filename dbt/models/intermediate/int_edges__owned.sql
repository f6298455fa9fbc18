{# Master → row it registers, and event ↔ the masters in their roles. #}
with

changes as (

    select
        source_table,
        row_key,
        kind,
        op,
        change_id,
        master_key,
        master_method,
        available_at,
        truncated_at
    from {{ ref('int_row_changes__owned') }}
    where kind = 'entity' and row_key is not null

),

sequenced as (

    select
        changes.*,
        lag(changes.master_key) over (
            partition by changes.source_table, changes.row_key order by changes.change_id
        ) as master_key_before,
        lag(changes.op) over (
            partition by changes.source_table, changes.row_key order by changes.change_id
        ) as op_before
    from changes

),

{# A new stay begins when the row appears, comes back or changes hands; a delete ends one. #}
turns as (

    select *
    from sequenced
    where
        sequenced.op = 'd'
        or sequenced.op_before is null
        or sequenced.op_before = 'd'
        or sequenced.master_key is distinct from sequenced.master_key_before

),

stays as (

    select
        turns.*,
        lead(turns.available_at) over (
            partition by turns.source_table, turns.row_key order by turns.change_id
        ) as left_at
    from turns

),

registers as (

    select
        'master:' || stays.master_key as from_node_id,
        'row:' || stays.source_table || '|' || stays.row_key as to_node_id,
        'registers' as edge_type,
        stays.master_method as evidence,
        case stays.master_method
            when 'id_uuid_mismatch' then 0.5
            when 'parent' then 0.7
            when 'id_uuid_unknown' then 0.8
            when 'uuid' then 0.9
            else 1.0
        end as confidence,
        stays.source_table,
        {{ null_of('text') }} as source_column,
        stays.change_id,
        stays.available_at as valid_from,
        {{ earlier_of('stays.left_at', 'stays.truncated_at') }} as valid_to
    from stays
    where
        stays.master_key is not null
        {#- The delete of a row never seen before still tells whose it was. #}
        and (stays.op <> 'd' or stays.op_before is null)

),

roles as (

    select
        event_key,
        master_key,
        role,
        method,
        confidence,
        available_at
    from {{ ref('bridge_event_masters') }}

),

events as (

    select
        event_key,
        source_table,
        change_id,
        deleted_at
    from {{ ref('fct_events') }}

),

played as (

    select
        case
            when roles.role in ('subject', 'parent') then 'master:' || roles.master_key
            else 'event:' || roles.event_key
        end as from_node_id,
        case
            when roles.role in ('subject', 'parent') then 'event:' || roles.event_key
            else 'master:' || roles.master_key
        end as to_node_id,
        case roles.role
            when 'actor' then 'acted_by'
            when 'tenant' then 'scoped_to'
            else 'subject_of'
        end as edge_type,
        roles.role || ' by ' || roles.method as evidence,
        roles.confidence,
        events.source_table,
        roles.role as source_column,
        events.change_id,
        roles.available_at as valid_from,
        events.deleted_at as valid_to
    from roles
    inner join events on roles.event_key = events.event_key

),

final as (

    select * from registers
    union all
    select * from played

)

select * from final
