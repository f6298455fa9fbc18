with

events as (

    select
        event_key,
        source_table,
        event_id,
        actor_master_key,
        event_type,
        event_state,
        change_id,
        last_change_id,
        is_deleted_at_source,
        occurred_at,
        available_at,
        deleted_at
    from {{ ref('fct_events') }}

),

roles as (

    select
        event_key,
        master_key,
        role
    from {{ ref('bridge_event_masters') }}

),

changes as (

    select
        change_id,
        source_table,
        {# `service_notification_main` is the notification: "main created" would tell nobody anything. #}
        case when entity = 'main' then service else entity end as noun,
        row_key,
        master_key,
        op,
        changed_columns,
        explained_by_event_key,
        available_at
    from {{ ref('fct_entity_changes') }}
    where master_key is not null

),

happened as (

    select
        events.change_id || '|' || roles.role as moment_key,
        roles.master_key,
        'event' as kind,
        roles.role,
        coalesce(events.event_type, events.source_table) as summary,
        events.source_table,
        events.event_id as row_key,
        events.change_id,
        events.actor_master_key,
        events.event_key as explained_by_event_key,
        coalesce(events.occurred_at, events.available_at) as happened_at,
        events.available_at
    from events
    inner join roles on events.event_key = roles.event_key

),

erased as (

    select
        events.last_change_id || '|' || roles.role || '|erased' as moment_key,
        roles.master_key,
        'event_erased' as kind,
        roles.role,
        'erased: ' || coalesce(events.event_type, events.source_table) as summary,
        events.source_table,
        events.event_id as row_key,
        events.last_change_id as change_id,
        {{ null_of('text') }} as actor_master_key,
        {{ null_of('text') }} as explained_by_event_key,
        events.deleted_at as happened_at,
        events.deleted_at as available_at
    from events
    inner join roles on events.event_key = roles.event_key
    where events.is_deleted_at_source

),

changed as (

    select
        changes.change_id as moment_key,
        changes.master_key,
        'row_change' as kind,
        'owner' as role,
        case changes.op
            when 'c' then changes.noun || ' created'
            when 'r' then changes.noun || ' found'
            when 'd' then changes.noun || ' deleted'
            else coalesce(
                changes.noun || ' changed: ' || changes.changed_columns,
                changes.noun || ' written again'
            )
        end as summary,
        changes.source_table,
        changes.row_key,
        changes.change_id,
        {{ null_of('text') }} as actor_master_key,
        changes.explained_by_event_key,
        changes.available_at as happened_at,
        changes.available_at
    from changes

),

final as (

    select * from happened
    union all
    select * from erased
    union all
    select * from changed

)

select * from final
