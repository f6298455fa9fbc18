with

changes as (

    select
        change_id,
        transaction_id,
        xid,
        op,
        committed_at,
        available_at,
        is_assumed,
        truncated_at,
        master_key,
        master_uuid,
        master_type,
        master_name,
        created_at,
        updated_at,
        changed_columns
    from {{ ref('stg_tributary__master_changes') }}
    where op <> 't'

),

sequenced as (

    select
        changes.*,
        lead(changes.available_at) over (
            partition by changes.master_key order by changes.change_id
        ) as next_available_at,
        lead(changes.op) over (
            partition by changes.master_key order by changes.change_id
        ) as next_op
    from changes

),

final as (

    select
        sequenced.master_key,
        sequenced.change_id,
        sequenced.transaction_id,
        sequenced.xid,
        sequenced.op,
        sequenced.master_uuid,
        sequenced.master_type,
        sequenced.master_name,
        sequenced.changed_columns,
        row_number() over (
            partition by sequenced.master_key order by sequenced.change_id
        ) as version_number,
        sequenced.is_assumed,
        sequenced.next_op = 'd' or (
            sequenced.truncated_at is not null and (
                sequenced.next_available_at is null
                or sequenced.truncated_at <= sequenced.next_available_at
            )
        ) as is_ended_by_delete,
        sequenced.created_at,
        sequenced.updated_at,
        sequenced.committed_at,
        sequenced.available_at as valid_from,
        {{ earlier_of('sequenced.next_available_at', 'sequenced.truncated_at') }} as valid_to
    from sequenced
    where sequenced.op <> 'd'

)

select * from final
