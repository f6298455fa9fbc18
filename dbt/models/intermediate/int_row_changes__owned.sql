with

changes as (

    select
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
        changed_columns,
        before_image,
        after_image
    from {{ ref('stg_tributary__row_changes') }}

),

tables as (

    select
        source_table,
        kind
    from {{ ref('stg_tributary__tables') }}

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
        from_change_id,
        until_change_id
    from {{ ref('int_lookups__mastered') }}

),

final as (

    select
        changes.source_table,
        changes.service,
        changes.entity,
        tables.kind,
        changes.row_key,
        changes.op,
        changes.change_id,
        changes.transaction_id,
        changes.xid,
        changes.commit_lsn,
        coalesce({{ owner_master('changes') }}, lookups.master_key) as master_key,
        case
            when {{ owner_master('changes') }} is not null then {{ owner_method('changes') }}
            when lookups.master_key is not null then 'parent'
        end as master_method,
        changes.changed_columns,
        changes.before_image,
        changes.after_image,
        changes.is_assumed,
        changes.committed_at,
        changes.available_at,
        changes.truncated_at
    from changes
    inner join tables on changes.source_table = tables.source_table
    {{ owner_joins('changes') }}
    left join lookups
        on changes.parent_table = lookups.source_table
        and changes.parent_column = lookups.lookup_column
        and changes.parent_value = lookups.lookup_value
        and changes.change_id >= lookups.from_change_id
        and changes.change_id < lookups.until_change_id

)

select * from final
