{# The columns that every shared model begins with, from a base model. #}
{% macro origin_columns(source_table, service, entity) -%}
        {{ text_literal(source_table) }} as source_table,
        {{ text_literal(service) }} as service,
        {{ text_literal(entity) }} as entity,
        base._cdc_row_key as row_key,
{%- endmacro %}

{% macro change_columns() -%}
        base._cdc_op as op,
        base._cdc_seq as change_id,
        base._cdc_transaction_id as transaction_id,
        base._cdc_xid as xid,
        base._cdc_lsn as commit_lsn,
        base._cdc_committed_at as committed_at,
        base._cdc_available_at as available_at,
        base._cdc_is_assumed as is_assumed,
        base._cdc_truncated_at as truncated_at,
{%- endmacro %}

{# 0 is what programs write when they fail to read an id; no sequence hands it out. #}
{% macro owner_columns(master_id, master_uuid, parent, parent_table, parent_column) -%}
        nullif({{ text_of(master_id) }}, '0') as master_id_value,
        {{ text_of(master_uuid) }} as master_uuid_value,
        {{ optional_literal(parent_table if parent is not none else none) }} as parent_table,
        {{ optional_literal(parent_column if parent is not none else none) }} as parent_column,
        {{ text_of(parent) }} as parent_value,
{%- endmacro %}

{#
    One row per change, with the row before and after as JSON objects of texts.
    columns: {name, family, exact, masked}; denied columns are not among them
#}
{% macro row_changes(
    relation, source_table, service, entity, columns,
    master_id, master_uuid, parent, parent_table, parent_column
) %}
with

base as (

    select
        {% for name in names_of(columns) %}
        {{ quoted(name) }},
        {% endfor %}
        {{ base_meta() }}
    from {{ relation }}

),

texts as (

    select
        {% for column in columns %}
        {% set text = text_of(column) -%}
        {{ masked_text(text) if column.masked else abridged(text, column.family) }} as text_{{ loop.index }},
        {% endfor %}
        {{ origin_columns(source_table, service, entity) }}
        {{ change_columns() }}
        {{ owner_columns(master_id, master_uuid, parent, parent_table, parent_column) }}
        1 as one
    from base

),

compared as (

    select
        texts.*,
        {% for column in columns %}
        lag(texts.text_{{ loop.index }}) over (
            partition by texts.row_key order by texts.change_id
        ) as before_{{ loop.index }},
        {% endfor %}
        lag(texts.op) over (partition by texts.row_key order by texts.change_id) as op_before
    from texts

),

final as (

    select
        {{ shared_prefix('compared') }}
        {%- set changed = [] -%}
        {%- set images = [] -%}
        {%- set befores = [] -%}
        {%- for column in columns -%}
            {%- do changed.append(
                'case when text_' ~ loop.index ~ ' is distinct from before_' ~ loop.index
                ~ ' then ' ~ text_literal(column.name) ~ ' end'
            ) -%}
            {%- do images.append([column.name, 'text_' ~ loop.index]) -%}
            {%- do befores.append([column.name, 'before_' ~ loop.index]) -%}
        {%- endfor %}
        case when compared.op = 'u' and compared.op_before is not null then nullif({{ joined(changed) }}, '') end as changed_columns,
        case
            when compared.op = 'd' then {{ json_row(images) }}
            when compared.op = 'u' and compared.op_before is not null then {{ json_row(befores) }}
        end as before_image,
        case when compared.op in ('c', 'r', 'u') then {{ json_row(images) }} end as after_image
    from compared

)

select * from final
{% endmacro %}

{# A long text by its length and hash, so that a change is seen without storing the text twice more. #}
{% macro abridged(text, family) -%}
    {%- if family in ('text', 'json', 'array', 'bytes') -%}
        case
            when length({{ text }}) > {{ var('image_letters_max') }}
                then '<' || cast(length({{ text }}) as {{ type_text() }}) || ' letters, sha256 ' || {{ sha256_hex(text) }} || '>'
            else {{ text }}
        end
    {%- else -%} {{ text }}
    {%- endif -%}
{%- endmacro %}

{# The columns of a base model beside the source's own. #}
{% macro base_meta() -%}
        _cdc_op,
        _cdc_seq,
        _cdc_transaction_id,
        _cdc_lsn,
        _cdc_xid,
        _cdc_committed_at,
        _cdc_row_key,
        _cdc_truncated_at,
        _cdc_is_assumed,
        _cdc_available_at
{%- endmacro %}

{# Origin, change and owner columns of a relation that has them already. #}
{% macro shared_prefix(alias) -%}
    {%- for name in [
        'source_table', 'service', 'entity', 'row_key', 'op', 'change_id', 'transaction_id', 'xid', 'commit_lsn',
        'committed_at', 'available_at', 'is_assumed', 'truncated_at', 'master_id_value', 'master_uuid_value',
        'parent_table', 'parent_column', 'parent_value'
    ] %}
        {{ alias }}.{{ name }},
    {%- endfor %}
{%- endmacro %}
