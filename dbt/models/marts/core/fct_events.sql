with

versions as (

    select
        event_key,
        change_id,
        first_change_id,
        source_table,
        service,
        entity,
        row_key,
        op,
        next_op,
        xid,
        commit_lsn,
        event_type,
        event_dialect,
        event_service,
        event_action,
        event_version,
        event_state,
        correlation_id,
        pairing_key,
        status,
        payload,
        metadata,
        entity_type,
        entity_id,
        previous_hash,
        entry_hash,
        amount,
        is_error,
        is_late,
        is_assumed,
        is_last_image,
        occurred_at,
        committed_at,
        known_from,
        known_until
    from {{ ref('int_events__parsed') }}

),

firsts as (

    select
        versions.event_key,
        versions.xid,
        versions.commit_lsn,
        versions.is_late,
        versions.is_assumed,
        versions.committed_at,
        versions.known_from
    from versions
    where versions.change_id = versions.first_change_id

),

{# A delete that was the first thing seen of an event has only its key: then that is its last image. #}
lasts as (

    select
        versions.*,
        row_number() over (
            partition by versions.event_key
            order by case when versions.op = 'd' then 1 else 0 end, versions.change_id desc
        ) as newest_first
    from versions
    where versions.is_last_image

),

owners as (

    select
        event_key,
        max(case when role = 'subject' then master_key end) as subject_master_key,
        max(case when role = 'actor' then master_key end) as actor_master_key,
        max(case when role = 'tenant' then master_key end) as tenant_master_key,
        max(case when role = 'parent' then master_key end) as parent_master_key
    from {{ ref('bridge_event_masters') }}
    group by event_key

),

final as (

    select
        lasts.event_key,
        lasts.source_table,
        lasts.row_key as event_id,
        owners.subject_master_key,
        owners.actor_master_key,
        owners.tenant_master_key,
        owners.parent_master_key,
        lasts.service,
        lasts.event_type,
        lasts.event_dialect,
        lasts.event_service,
        lasts.event_action,
        lasts.event_version,
        lasts.event_state,
        lasts.correlation_id,
        lasts.pairing_key,
        lasts.status,
        lasts.entity_type,
        lasts.entity_id,
        lasts.payload,
        lasts.metadata,
        lasts.previous_hash,
        lasts.entry_hash,
        firsts.xid,
        firsts.commit_lsn,
        lasts.first_change_id as change_id,
        lasts.change_id as last_change_id,
        case when firsts.is_assumed then 'assumed' else 'recorded' end as availability_basis,
        lasts.amount,
        case
            when not firsts.is_assumed
                then {{ seconds_between('lasts.occurred_at', 'firsts.known_from') }}
        end as arrival_lag_seconds,
        lasts.is_error,
        firsts.is_late,
        lasts.op = 'd' or lasts.known_until is not null as is_deleted_at_source,
        lasts.occurred_at,
        firsts.committed_at,
        firsts.known_from as available_at,
        case when lasts.op = 'd' then lasts.known_from else lasts.known_until end as deleted_at
    from lasts
    inner join firsts on lasts.event_key = firsts.event_key
    left join owners on lasts.event_key = owners.event_key
    where lasts.newest_first = 1

)

select * from final
