with

resolved as (

    select
        event_key,
        change_id,
        master_key,
        role,
        method,
        confidence,
        known_from,
        known_until
    from {{ ref('int_event_masters__resolved') }}
    where is_last_image

),

ranked as (

    select
        resolved.*,
        row_number() over (
            partition by resolved.event_key, resolved.role
            order by resolved.change_id desc, resolved.known_from desc, resolved.master_key
        ) as newest_first
    from resolved

),

final as (

    select
        {{ surrogate_key(['ranked.event_key', 'ranked.role']) }} as event_master_id,
        ranked.event_key,
        ranked.master_key,
        ranked.role,
        ranked.method,
        ranked.confidence,
        ranked.known_from as available_at
    from ranked
    where ranked.newest_first = 1

)

select * from final
