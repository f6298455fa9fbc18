with

events as (

    select
        event_key,
        change_id,
        is_last_image,
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
        known_from,
        known_until
    from {{ ref('int_events__parsed') }}
    where op <> 'd'

),

identifiers as (

    select
        identifier_kind,
        identifier,
        master_key,
        known_from
    from {{ ref('int_masters__identifiers') }}

),

lookups as (

    select
        source_table,
        lookup_column,
        lookup_value,
        master_key,
        hops,
        known_from,
        known_until
    from {{ ref('int_lookups__mastered') }}

),

subjects as (

    select
        events.event_key,
        events.change_id,
        events.is_last_image,
        'subject' as role,
        {{ owner_master('events') }} as master_key,
        {{ owner_method('events') }} as method,
        case {{ owner_method('events') }}
            when 'id_and_uuid' then 1.0
            when 'id' then 1.0
            when 'uuid' then 0.9
            when 'id_uuid_unknown' then 0.8
            else 0.5
        end as confidence,
        greatest(events.known_from, {{ owner_known_from('events') }}) as known_from,
        events.known_until
    from events
    {{ owner_joins('events') }}
    where {{ owner_master('events') }} is not null

),

{% for role in ['parent', 'actor', 'tenant'] %}
{{ role }}s as (

    select
        events.event_key,
        events.change_id,
        events.is_last_image,
        '{{ role }}' as role,
        lookups.master_key,
        case when lookups.hops = 0 then 'lookup' else 'lookup_chain' end as method,
        case when lookups.hops = 0 then 0.9 else 0.7 end as confidence,
        greatest(events.known_from, lookups.known_from) as known_from,
        {{ earlier_of('events.known_until', 'lookups.known_until') }} as known_until
    from events
    inner join lookups
        on events.{{ role }}_table = lookups.source_table
        and events.{{ role }}_column = lookups.lookup_column
        and events.{{ role }}_value = lookups.lookup_value

),

{% endfor %}

unioned as (

    select * from subjects
    union all
    select * from parents
    union all
    select * from actors
    union all
    select * from tenants

),

final as (

    select
        unioned.event_key,
        unioned.change_id,
        unioned.master_key,
        unioned.role,
        unioned.method,
        cast(unioned.confidence as {{ type_double() }}) as confidence,
        unioned.is_last_image,
        unioned.known_from,
        unioned.known_until
    from unioned
    where unioned.known_until is null or unioned.known_from <= unioned.known_until

)

select * from final
