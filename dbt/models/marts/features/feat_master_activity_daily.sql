{#- BigQuery has no strategy called append: a merge without a key is one. -#}
{{ config(
    materialized='incremental',
    incremental_strategy='append' if target.type == 'duckdb' else 'merge',
    on_schema_change='fail',
    event_time='as_of',
    partition_by={'field': 'as_of', 'data_type': 'timestamp', 'granularity': 'day'}
        if target.type == 'bigquery' else none,
    cluster_by=['master_key'] if target.type == 'bigquery' else none
) }}
{%- set window_days = var('feature_window_days') -%}
with

tiles as (

    select
        master_key,
        role,
        event_service,
        event_type,
        occurred_day,
        counts_from,
        counts_until,
        n_events,
        n_last_hour,
        n_night,
        n_errors,
        n_late,
        n_assumed,
        n_amounts,
        amount_sum,
        amount_max,
        first_at,
        last_at,
        known_at_max
    from {{ ref('int_activity__day_tiles') }}

),

watermarks as (

    select max(committed_at) as committed_at
    from {{ ref('stg_tributary__watermarks') }}

),

row_changes as (

    select
        master_key,
        {{ day_of('available_at') }} as changed_day,
        count(*) as n_changes
    from {{ ref('fct_entity_changes') }}
    where master_key is not null and op in ('c', 'u', 'd')
    group by master_key, {{ day_of('available_at') }}

),

master_versions as (

    select
        master_key,
        master_version_id,
        master_type,
        created_at,
        valid_from,
        valid_to
    from {{ ref('dim_masters_history') }}

),

first_tiles as (

    select min({{ add_days('tiles.occurred_day', 1) }}) as first_at
    from tiles

),

bounds as (

    select
        greatest(
            first_tiles.first_at,
            {% if is_incremental() -%}
            coalesce(
                (select {{ add_days('max(built.as_of)', 1) }} from {{ this }} as built),
                {{ add_days(closed_as_of('watermarks.committed_at'), '-' ~ (var('feature_days_max') - 1)) }}
            )
            {%- else -%}
            {{ add_days(closed_as_of('watermarks.committed_at'), '-' ~ (var('feature_days_max') - 1)) }}
            {%- endif %}
        ) as first_at,
        {{ closed_as_of('watermarks.committed_at') }} as last_at
    from watermarks
    cross join first_tiles

),

days as (

    {{ midnights_of('bounds') }}

),

{# The two clocks: it happened before the as-of time, and it was known by then and not known better. #}
counted as (

    select
        days.as_of,
        tiles.*,
        {{ add_days('tiles.occurred_day', 1) }} = days.as_of as in_1d,
        tiles.occurred_day >= {{ add_days('days.as_of', -7) }} as in_7d,
        tiles.occurred_day >= {{ add_days('days.as_of', -14) }} as in_14d
    from days
    inner join tiles
        on tiles.occurred_day < days.as_of
        and tiles.occurred_day >= {{ add_days('days.as_of', '-' ~ window_days) }}
        and tiles.counts_from <= days.as_of
        and (tiles.counts_until is null or tiles.counts_until > days.as_of)

),

summed as (

    select
        counted.master_key,
        counted.role,
        counted.as_of,
        {% for name, condition in [('1d', 'counted.in_1d'), ('7d', 'counted.in_7d'), ('14d', 'counted.in_14d'), ('30d', 'true')] %}
        sum(case when {{ condition }} then counted.n_events else 0 end) as n_events_{{ name }},
        sum(case when {{ condition }} then counted.n_errors else 0 end) as n_errors_{{ name }},
        count(distinct case when {{ condition }} then counted.event_type end) as n_distinct_types_{{ name }},
        count(distinct case when {{ condition }} then counted.occurred_day end) as active_days_{{ name }},
        sum(case when {{ condition }} then counted.n_late else 0 end) as n_late_{{ name }},
        sum(case when {{ condition }} then counted.amount_sum end) as amount_sum_{{ name }},
        max(case when {{ condition }} then counted.amount_max end) as amount_max_{{ name }},
        {% endfor %}
        sum(case when counted.in_1d then counted.n_last_hour else 0 end) as n_events_1h,
        sum(counted.n_night) as n_night_30d,
        sum(counted.n_assumed) as n_assumed_30d,
        sum(counted.n_amounts) as n_amounts_30d,
        count(distinct counted.event_service) as n_distinct_services_30d,
        min(counted.first_at) as first_at,
        max(counted.last_at) as last_at,
        max(counted.known_at_max) as known_at_max
    from counted
    group by counted.master_key, counted.role, counted.as_of

),

described as (

    select
        summed.master_key,
        summed.role,
        summed.as_of,
        master_versions.master_type,
        master_versions.created_at as master_created_at,
        master_versions.valid_to is not null and master_versions.valid_to <= summed.as_of as is_deleted_as_of,
        row_number() over (
            partition by summed.master_key, summed.role, summed.as_of
            order by master_versions.master_version_id desc
        ) as newest_first
    from summed
    inner join master_versions
        on summed.master_key = master_versions.master_key
        and master_versions.valid_from <= summed.as_of

),

changed as (

    select
        described.master_key,
        described.role,
        described.as_of,
        sum(case when {{ add_days('row_changes.changed_day', 1) }} = described.as_of then row_changes.n_changes else 0 end) as n_row_changes_1d,
        sum(row_changes.n_changes) as n_row_changes_7d
    from described
    inner join row_changes
        on described.master_key = row_changes.master_key
        and row_changes.changed_day < described.as_of
        and row_changes.changed_day >= {{ add_days('described.as_of', -7) }}
    where described.newest_first = 1
    group by described.master_key, described.role, described.as_of

),

final as (

    select
        {{ surrogate_key(['summed.master_key', 'summed.role', epoch_us('summed.as_of')]) }} as feature_row_id,
        summed.master_key,
        summed.role,
        described.master_type,
        case when summed.n_assumed_30d = 0 then 'recorded' else 'assumed' end as availability_basis,
        {%- set counts = [
            'n_events_1h', 'n_events_1d', 'n_events_7d', 'n_events_30d', 'n_errors_1d', 'n_errors_7d',
            'n_errors_30d', 'n_distinct_types_7d', 'n_distinct_types_30d', 'n_distinct_services_30d',
            'active_days_7d', 'active_days_30d'
        ] %}
        cast(1 as {{ type_integer() }}) as feature_set_version,
        {% for name in counts -%}
        cast(summed.{{ name }} as {{ type_integer() }}) as {{ name }},
        {% endfor -%}
        cast(2 * summed.n_events_7d - summed.n_events_14d as {{ type_integer() }}) as trend_7d,
        cast(coalesce(changed.n_row_changes_1d, 0) as {{ type_integer() }}) as n_row_changes_1d,
        cast(coalesce(changed.n_row_changes_7d, 0) as {{ type_integer() }}) as n_row_changes_7d,
        cast(summed.amount_sum_7d as {{ type_amount() }}) as amount_sum_7d,
        cast(summed.amount_sum_30d as {{ type_amount() }}) as amount_sum_30d,
        cast(summed.amount_max_30d as {{ type_amount() }}) as amount_max_30d,
        {{ ratio('summed.amount_sum_30d', 'summed.n_amounts_30d') }} as amount_mean_30d,
        {{ ratio('summed.n_errors_7d', 'summed.n_events_7d') }} as error_rate_7d,
        {{ ratio('summed.n_late_7d', 'summed.n_events_7d') }} as late_share_7d,
        {{ ratio('summed.n_night_30d', 'summed.n_events_30d') }} as night_share_30d,
        {{ ratio(seconds_between('summed.first_at', 'summed.last_at'), 'summed.n_events_30d - 1') }} as mean_gap_seconds_30d,
        cast({{ seconds_between('summed.last_at', 'summed.as_of') }} / 3600.0 as {{ type_double() }}) as hours_since_last_event,
        cast({{ seconds_between('described.master_created_at', 'summed.as_of') }} / 86400.0 as {{ type_double() }}) as age_days,
        described.is_deleted_as_of,
        summed.as_of,
        summed.known_at_max as created_at
    from summed
    inner join described
        on summed.master_key = described.master_key
        and summed.role = described.role
        and summed.as_of = described.as_of
        and described.newest_first = 1
    left join changed
        on summed.master_key = changed.master_key
        and summed.role = changed.role
        and summed.as_of = changed.as_of

)

select * from final
