with

versions as (

    select
        event_key,
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
    from {{ ref('int_events__unioned') }}

),

sequenced as (

    select
        versions.*,
        {{ event_dialect('versions.event_type') }} as event_dialect,
        lead(versions.available_at) over (
            partition by versions.event_key order by versions.change_id
        ) as next_available_at,
        lead(versions.op) over (
            partition by versions.event_key order by versions.change_id
        ) as next_op,
        lead(versions.change_id) over (
            partition by versions.event_key order by versions.change_id
        ) as next_change_id,
        first_value(versions.change_id) over (
            partition by versions.event_key order by versions.change_id
            rows between unbounded preceding and unbounded following
        ) as first_change_id
    from versions

),

parsed as (

    select
        sequenced.*,
        case sequenced.event_dialect
            when 'canonical' then {{ extracted('sequenced.event_type', '^([^:]+):') }}
            when 'dotted' then {{ extracted('sequenced.event_type', '^([^.]+)[.]') }}
            when 'snake' then {{ extracted('sequenced.event_type', '^([^_]+)_') }}
            else sequenced.service
        end as event_service,
        case sequenced.event_dialect
            when 'canonical' then {{ extracted('sequenced.event_type', '^[^:]+:([^:]+):') }}
            when 'dotted' then coalesce(
                {{ extracted('sequenced.event_type', '^[^.]+[.](.+)[.]' ~ state_pattern() ~ '$') }},
                {{ extracted('sequenced.event_type', '^[^.]+[.](.+)$') }}
            )
            when 'snake' then coalesce(
                {{ extracted('sequenced.event_type', '^[^_]+_(.+)_' ~ state_pattern() ~ '$') }},
                {{ extracted('sequenced.event_type', '^[^_]+_(.+)$') }}
            )
            else coalesce(sequenced.event_type, sequenced.entity)
        end as event_action,
        case
            when sequenced.event_dialect = 'canonical'
                then {{ extracted('sequenced.event_type', '^[^:]+:[^:]+:(v[0-9]+):') }}
        end as event_version,
        coalesce(
            case sequenced.event_dialect
                when 'canonical' then {{ state_of(extracted('sequenced.event_type', ':([^:]+)$')) }}
                when 'dotted' then {{ state_of(extracted('sequenced.event_type', '[.]([^.]+)$')) }}
                when 'snake' then {{ state_of(extracted('sequenced.event_type', '_([^_]+)$')) }}
            end,
            {{ state_of('sequenced.status') }}
        ) as event_state,
        {{ correlation_of('sequenced.metadata', 'sequenced.payload') }} as correlation_id
    from sequenced

),

final as (

    select
        parsed.event_key,
        parsed.change_id,
        parsed.first_change_id,
        parsed.next_change_id,
        parsed.transaction_id,
        parsed.source_table,
        parsed.service,
        parsed.entity,
        parsed.row_key,
        parsed.op,
        parsed.next_op,
        parsed.xid,
        parsed.commit_lsn,
        parsed.master_id_value,
        parsed.master_uuid_value,
        parsed.parent_table,
        parsed.parent_column,
        parsed.parent_value,
        parsed.actor_table,
        parsed.actor_column,
        parsed.actor_value,
        parsed.tenant_table,
        parsed.tenant_column,
        parsed.tenant_value,
        parsed.event_type,
        parsed.event_dialect,
        parsed.event_service,
        parsed.event_action,
        parsed.event_version,
        parsed.event_state,
        parsed.correlation_id,
        case
            when parsed.correlation_id is not null
                then parsed.correlation_id || '|' || parsed.event_service || ':' || parsed.event_action
        end as pairing_key,
        parsed.status,
        parsed.payload,
        parsed.metadata,
        parsed.entity_type,
        parsed.entity_id,
        parsed.previous_hash,
        parsed.entry_hash,
        parsed.amount,
        coalesce(parsed.event_state in ('failed', 'timeout'), false) as is_error,
        parsed.is_assumed,
        coalesce(
            not parsed.is_assumed
            and {{ seconds_between('parsed.occurred_at', 'parsed.available_at') }} > {{ var('late_after_seconds') }},
            false
        ) as is_late,
        parsed.next_change_id is null or (parsed.op <> 'd' and parsed.next_op = 'd') as is_last_image,
        parsed.occurred_at,
        parsed.committed_at,
        parsed.truncated_at,
        {#- What a snapshot found is assumed to have been known as soon as it happened. #}
        parsed.available_at as known_from,
        {{ earlier_of('parsed.next_available_at', 'parsed.truncated_at') }} as known_until
    from parsed

)

select * from final
