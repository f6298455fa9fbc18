with

versions as (

    select
        master_key,
        change_id,
        xid,
        op,
        master_uuid,
        master_type,
        master_name,
        changed_columns,
        version_number,
        is_assumed,
        is_ended_by_delete,
        created_at,
        updated_at,
        valid_from,
        valid_to
    from {{ ref('int_masters__versioned') }}

),

final as (

    select
        versions.change_id as master_version_id,
        versions.master_key,
        versions.master_uuid,
        versions.master_type,
        versions.master_name,
        versions.op as change_op,
        versions.changed_columns,
        versions.xid as changed_in_xid,
        case when versions.is_assumed then 'assumed' else 'recorded' end as availability_basis,
        versions.version_number,
        versions.valid_to is null as is_current,
        coalesce(versions.is_ended_by_delete, false) as is_ended_by_delete,
        versions.created_at,
        versions.updated_at,
        versions.valid_from,
        versions.valid_to
    from versions

)

select * from final
