{%- set hops_max = 3 -%}
with

lookups as (

    select
        source_table,
        lookup_column,
        lookup_value,
        change_id,
        available_at,
        master_id_value,
        master_uuid_value,
        parent_table,
        parent_column,
        parent_value
    from {{ ref('stg_tributary__lookups') }}
    where op <> 'd' and lookup_value is not null

),

identifiers as (

    select
        identifier_kind,
        identifier,
        master_key,
        known_from
    from {{ ref('int_masters__identifiers') }}

),

owned as (

    select
        lookups.source_table,
        lookups.lookup_column,
        lookups.lookup_value,
        lookups.change_id,
        lookups.available_at,
        lookups.parent_table,
        lookups.parent_column,
        lookups.parent_value,
        {{ owner_master('lookups') }} as master_key,
        {{ owner_known_from('lookups') }} as master_known_from
    from lookups
    {{ owner_joins('lookups') }}

),

compared as (

    select
        owned.*,
        row_number() over (
            partition by owned.source_table, owned.lookup_column, owned.lookup_value
            order by owned.change_id
        ) as change_number,
        lag(owned.master_key) over (
            partition by owned.source_table, owned.lookup_column, owned.lookup_value
            order by owned.change_id
        ) as master_key_before,
        lag(owned.parent_value) over (
            partition by owned.source_table, owned.lookup_column, owned.lookup_value
            order by owned.change_id
        ) as parent_value_before
    from owned

),

{# Most changes of a row do not change whose it is. #}
taken_over as (

    select *
    from compared
    where
        compared.change_number = 1
        or compared.master_key is distinct from compared.master_key_before
        or compared.parent_value is distinct from compared.parent_value_before

),

{# A delete does not end it: the rows that a cascade deletes after it are still looked up. #}
versions as (

    select
        taken_over.source_table,
        taken_over.lookup_column,
        taken_over.lookup_value,
        taken_over.parent_table,
        taken_over.parent_column,
        taken_over.parent_value,
        taken_over.master_key,
        greatest(
            taken_over.available_at, coalesce(taken_over.master_known_from, taken_over.available_at)
        ) as known_from,
        lead(taken_over.available_at) over (
            partition by taken_over.source_table, taken_over.lookup_column, taken_over.lookup_value
            order by taken_over.change_id
        ) as known_until,
        case when taken_over.change_number = 1 then '' else taken_over.change_id end as from_change_id,
        coalesce(lead(taken_over.change_id) over (
            partition by taken_over.source_table, taken_over.lookup_column, taken_over.lookup_value
            order by taken_over.change_id
        ), 'G') as until_change_id
    from taken_over

),

hop_0 as (

    select
        versions.source_table,
        versions.lookup_column,
        versions.lookup_value,
        versions.master_key,
        versions.known_from,
        versions.known_until,
        versions.from_change_id,
        versions.until_change_id,
        0 as hops
    from versions
    where versions.master_key is not null

),

{# Rows without a master of their own have that of the row they hang on, a few steps up at most. #}
{% for hop in range(1, hops_max + 1) %}
hop_{{ hop }} as (

    select
        versions.source_table,
        versions.lookup_column,
        versions.lookup_value,
        parents.master_key,
        greatest(versions.known_from, parents.known_from) as known_from,
        {{ earlier_of('versions.known_until', 'parents.known_until') }} as known_until,
        greatest(versions.from_change_id, parents.from_change_id) as from_change_id,
        least(versions.until_change_id, parents.until_change_id) as until_change_id,
        {{ hop }} as hops
    from versions
    inner join hop_{{ hop - 1 }} as parents
        on versions.parent_table = parents.source_table
        and versions.parent_column = parents.lookup_column
        and versions.parent_value = parents.lookup_value
    where
        versions.master_key is null
        and greatest(versions.from_change_id, parents.from_change_id)
        < least(versions.until_change_id, parents.until_change_id)

),
{% endfor %}

final as (

    {% for hop in range(hops_max + 1) %}
    select * from hop_{{ hop }}
    {{ 'union all' if not loop.last }}
    {% endfor %}

)

select * from final
