with

versions as (

    select
        master_key,
        change_id,
        master_uuid,
        master_type,
        master_name,
        version_number,
        is_ended_by_delete,
        created_at,
        updated_at,
        valid_from,
        valid_to,
        row_number() over (partition by master_key order by change_id desc) as newest_first,
        min(valid_from) over (partition by master_key) as first_seen_at
    from {{ ref('int_masters__versioned') }}

),

rows_now as (

    select
        source_table,
        service,
        row_key,
        master_key,
        op,
        truncated_at,
        row_number() over (partition by source_table, row_key order by change_id desc) as newest_first
    from {{ ref('int_row_changes__owned') }}
    where row_key is not null and kind = 'entity'

),

services as (

    select distinct
        rows_now.master_key,
        rows_now.service
    from rows_now
    where rows_now.master_key is not null

),

service_lists as (

    select
        services.master_key,
        {{ string_agg_ordered('services.service', ',', 'services.service') }} as services
    from services
    group by services.master_key

),

row_counts as (

    select
        rows_now.master_key,
        sum(case when rows_now.op <> 'd' and rows_now.truncated_at is null then 1 else 0 end) as n_rows
    from rows_now
    where rows_now.newest_first = 1 and rows_now.master_key is not null
    group by rows_now.master_key

),

event_counts as (

    select
        master_key,
        count(*) as n_events
    from {{ ref('bridge_event_masters') }}
    where role = 'subject'
    group by master_key

),

final as (

    select
        versions.master_key,
        versions.master_uuid,
        versions.master_type,
        versions.master_name,
        service_lists.services,
        versions.change_id as last_change_id,
        versions.version_number as n_versions,
        cast(coalesce(row_counts.n_rows, 0) as {{ type_integer() }}) as n_rows,
        cast(coalesce(event_counts.n_events, 0) as {{ type_integer() }}) as n_events,
        versions.valid_to is not null as is_deleted,
        versions.created_at,
        versions.updated_at,
        versions.first_seen_at,
        versions.valid_from as last_change_at,
        versions.valid_to as deleted_at
    from versions
    left join service_lists on versions.master_key = service_lists.master_key
    left join row_counts on versions.master_key = row_counts.master_key
    left join event_counts on versions.master_key = event_counts.master_key
    where versions.newest_first = 1

)

select * from final
