with

events as (

    select
        event_key,
        change_id,
        event_service,
        event_type,
        amount,
        is_error,
        is_late,
        is_assumed,
        occurred_at
    from {{ ref('int_events__parsed') }}
    where op <> 'd' and occurred_at is not null

),

roles as (

    select
        event_key,
        change_id,
        master_key,
        role,
        known_from,
        known_until
    from {{ ref('int_event_masters__resolved') }}

),

{# As-of times are midnights, so the day grain is exact: a version counts from the first midnight that
   could know it until the first midnight that knows better. #}
placed as (

    select
        roles.master_key,
        roles.role,
        events.event_service,
        coalesce(events.event_type, '') as event_type,
        events.amount,
        events.is_error,
        events.is_late,
        events.is_assumed,
        events.occurred_at,
        roles.known_from,
        {{ day_of('events.occurred_at') }} as occurred_day,
        {{ hour_of_day('events.occurred_at') }} as occurred_hour,
        {{ midnight_from('roles.known_from') }} as counts_from,
        {{ midnight_from('roles.known_until') }} as counts_until
    from roles
    inner join events
        on roles.event_key = events.event_key
        and roles.change_id = events.change_id

),

final as (

    select
        placed.master_key,
        placed.role,
        placed.event_service,
        placed.event_type,
        placed.occurred_day,
        placed.counts_from,
        placed.counts_until,
        count(*) as n_events,
        sum(case when placed.occurred_hour = 23 then 1 else 0 end) as n_last_hour,
        sum(case when placed.occurred_hour < 6 then 1 else 0 end) as n_night,
        sum(case when placed.is_error then 1 else 0 end) as n_errors,
        sum(case when placed.is_late then 1 else 0 end) as n_late,
        sum(case when placed.is_assumed then 1 else 0 end) as n_assumed,
        count(placed.amount) as n_amounts,
        sum(placed.amount) as amount_sum,
        max(placed.amount) as amount_max,
        min(placed.occurred_at) as first_at,
        max(placed.occurred_at) as last_at,
        max(placed.known_from) as known_at_max
    from placed
    where placed.counts_until is null or placed.counts_from < placed.counts_until
    group by
        placed.master_key,
        placed.role,
        placed.event_service,
        placed.event_type,
        placed.occurred_day,
        placed.counts_from,
        placed.counts_until

)

select * from final
