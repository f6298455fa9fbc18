with

versions as (

    select
        master_key,
        master_uuid,
        change_id,
        valid_from
    from {{ ref('int_masters__versioned') }}

),

by_id as (

    select
        'id' as identifier_kind,
        versions.master_key as identifier,
        versions.master_key,
        min(versions.valid_from) as known_from
    from versions
    group by versions.master_key

),

{# The first master that ever had a uuid keeps it: a later one must not change what was resolved before. #}
uuids_ranked as (

    select
        versions.master_uuid,
        versions.master_key,
        versions.valid_from,
        row_number() over (
            partition by versions.master_uuid order by versions.change_id
        ) as owner_number
    from versions
    where versions.master_uuid is not null

),

by_uuid as (

    select
        'uuid' as identifier_kind,
        uuids_ranked.master_uuid as identifier,
        uuids_ranked.master_key,
        uuids_ranked.valid_from as known_from
    from uuids_ranked
    where uuids_ranked.owner_number = 1

),

final as (

    select identifier_kind, identifier, master_key, known_from from by_id
    union all
    select identifier_kind, identifier, master_key, known_from from by_uuid

)

select * from final
