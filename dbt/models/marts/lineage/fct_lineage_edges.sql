with

nodes as (

    select node_id
    from {{ ref('dim_lineage_nodes') }}

),

candidates as (

    select
        from_node_id,
        to_node_id,
        edge_type,
        evidence,
        confidence,
        source_table,
        source_column,
        change_id,
        valid_from,
        valid_to
    from {{ ref('int_edges__owned') }}

    union all

    select
        from_node_id,
        to_node_id,
        edge_type,
        evidence,
        confidence,
        source_table,
        source_column,
        change_id,
        valid_from,
        valid_to
    from {{ ref('int_edges__referenced') }}

    union all

    select
        from_node_id,
        to_node_id,
        edge_type,
        evidence,
        confidence,
        source_table,
        source_column,
        change_id,
        valid_from,
        valid_to
    from {{ ref('int_edges__chained') }}

),

{# A reference whose target never was is no edge; the staging models still have its value. #}
connected as (

    select candidates.*
    from candidates
    inner join nodes as from_nodes on candidates.from_node_id = from_nodes.node_id
    inner join nodes as to_nodes on candidates.to_node_id = to_nodes.node_id

),

final as (

    select
        {{ surrogate_key([
            'connected.from_node_id', 'connected.to_node_id', 'connected.edge_type',
            'connected.source_column', 'connected.change_id'
        ]) }} as edge_id,
        connected.from_node_id,
        connected.to_node_id,
        connected.edge_type,
        connected.evidence,
        connected.source_table,
        connected.source_column,
        connected.change_id as first_change_id,
        cast(connected.confidence as {{ type_double() }}) as confidence,
        connected.valid_from,
        connected.valid_to
    from connected

)

select * from final
