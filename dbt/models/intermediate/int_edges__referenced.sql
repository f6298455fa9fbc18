{# Row or event → what its reference columns point to, each for as long as it pointed there. #}
with

held as (

    select
        source_table,
        row_key,
        kind,
        op,
        change_id,
        available_at,
        truncated_at,
        source_column,
        target_table,
        target_column,
        target_type,
        target_value,
        is_declared
    from {{ ref('stg_tributary__references') }}
    where row_key is not null

),

tables as (

    select
        source_table,
        service,
        entity,
        kind
    from {{ ref('stg_tributary__tables') }}

),

lookup_rows as (

    select distinct
        source_table,
        lookup_column,
        lookup_value,
        row_key
    from {{ ref('stg_tributary__lookups') }}

),

owners as (

    select
        source_table,
        row_key,
        change_id,
        master_key
    from {{ ref('int_row_changes__owned') }}

),

sequenced as (

    select
        held.*,
        lag(held.target_value) over (
            partition by held.source_table, held.row_key, held.source_column order by held.change_id
        ) as value_before,
        lag(held.op) over (
            partition by held.source_table, held.row_key, held.source_column order by held.change_id
        ) as op_before
    from held

),

turns as (

    select *
    from sequenced
    where
        sequenced.op = 'd'
        or sequenced.op_before is null
        or sequenced.op_before = 'd'
        or sequenced.target_value is distinct from sequenced.value_before

),

stays as (

    select
        turns.*,
        lead(turns.available_at) over (
            partition by turns.source_table, turns.row_key, turns.source_column order by turns.change_id
        ) as left_at
    from turns

),

pointing as (

    select
        case when stays.kind = 'event'
            then 'event:' || {{ surrogate_key(['stays.source_table', 'stays.row_key']) }}
            else 'row:' || stays.source_table || '|' || stays.row_key
        end as from_node_id,
        stays.*
    from stays
    where stays.target_value is not null and stays.op <> 'd'

),

{# The reference names its table: the target is found by the value of the column it points to. #}
by_column as (

    select
        pointing.from_node_id,
        {{ node_of('tables.kind', 'tables.source_table', 'lookup_rows.row_key') }} as to_node_id,
        tables.kind as target_kind,
        lookup_rows.row_key as target_row_key,
        pointing.*
    from pointing
    inner join tables on pointing.target_table = tables.source_table
    inner join lookup_rows
        on pointing.target_table = lookup_rows.source_table
        and pointing.target_column = lookup_rows.lookup_column
        and pointing.target_value = lookup_rows.lookup_value

),

rows_seen as (

    select distinct
        source_table,
        row_key
    from owners
    where row_key is not null

    union all

    select distinct
        source_table,
        row_key
    from {{ ref('int_events__parsed') }}

),

{# Another column names what kind of thing it is: an entity, a service, or the table itself. A service has
   several tables: it is the one that has such a row. #}
named as (

    select
        pointing.from_node_id,
        {{ node_of('tables.kind', 'tables.source_table', 'pointing.target_value') }} as to_node_id,
        pointing.source_table,
        pointing.source_column,
        pointing.change_id,
        pointing.available_at,
        pointing.left_at,
        pointing.truncated_at,
        row_number() over (
            partition by pointing.change_id, pointing.source_column
            order by case when lower(pointing.target_type) = tables.entity then 0 else 1 end, tables.source_table
        ) as best_first
    from pointing
    inner join tables
        on lower(pointing.target_type) in (
            tables.entity, tables.service, tables.service || '_' || tables.entity, tables.source_table
        )
    inner join rows_seen
        on tables.source_table = rows_seen.source_table
        and pointing.target_value = rows_seen.row_key
    where pointing.target_table is null

),

references_found as (

    select
        by_column.from_node_id,
        by_column.to_node_id,
        case when by_column.is_declared then 'references' else 'soft_ref' end as edge_type,
        case when by_column.is_declared then 'foreign key' else 'column name' end as evidence,
        case when by_column.is_declared then 1.0 else 0.7 end as confidence,
        by_column.source_table,
        by_column.source_column,
        by_column.change_id,
        by_column.available_at as valid_from,
        {{ earlier_of('by_column.left_at', 'by_column.truncated_at') }} as valid_to
    from by_column

),

soft as (

    select
        named.from_node_id,
        named.to_node_id,
        'soft_ref' as edge_type,
        'type and id columns' as evidence,
        0.6 as confidence,
        named.source_table,
        named.source_column,
        named.change_id,
        named.available_at as valid_from,
        {{ earlier_of('named.left_at', 'named.truncated_at') }} as valid_to
    from named
    where named.best_first = 1

),

{# A row of one master that names another master as referred: who brought whom. #}
referred as (

    select
        'master:' || owners.master_key as from_node_id,
        by_column.to_node_id,
        'referred' as edge_type,
        'column name' as evidence,
        0.8 as confidence,
        by_column.source_table,
        by_column.source_column,
        by_column.change_id,
        by_column.available_at as valid_from,
        {{ earlier_of('by_column.left_at', 'by_column.truncated_at') }} as valid_to
    from by_column
    inner join owners on by_column.change_id = owners.change_id and by_column.source_table = owners.source_table
    where
        by_column.target_kind = 'master'
        and owners.master_key is not null
        and owners.master_key <> by_column.target_row_key
        and lower(by_column.source_column) like '%refer%'

),

final as (

    select * from references_found
    union all
    select * from soft
    union all
    select * from referred

)

select * from final
