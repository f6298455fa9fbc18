{# An empty relation of given columns: {name, type}. #}
{% macro no_rows(columns) -%}
select
    {% for column in columns %}
    {{ null_of(column.type) }} as {{ column.name }}{{ ',' if not loop.last }}
    {% endfor %}
from (select 1 as one) as nothing
where false
{%- endmacro %}

{# The rows of models that all have these columns, by name. #}
{% macro union_of(models, columns) %}
{%- if models | length == 0 %}
{{ no_rows(columns) }}
{%- endif %}
{%- for model in models %}
select
    {% for column in columns %}
    {{ column.name }}{{ ',' if not loop.last }}
    {% endfor %}
from {{ ref(model) }}
{{ 'union all' if not loop.last }}
{%- endfor %}
{% endmacro %}

{% macro entry_columns(entry) -%}
        {{ origin_columns(entry.source_table, entry.service, entry.entity) }}
        {{ change_columns() }}
{%- endmacro %}

{% macro entry_owner(entry) -%}
        {{ owner_columns(entry.master_id, entry.master_uuid, entry.parent, entry.parent_table, entry.parent_column) }}
{%- endmacro %}

{# Every change of the master table, its columns by their role. #}
{% macro shared_master_changes(entries, columns) %}
{%- if entries | length == 0 %}
{{ no_rows(columns) }}
{%- endif %}
{%- for entry in entries %}
select
        {{ entry_columns(entry) }}
        {{ text_of(entry.id) }} as master_key,
        {{ text_of(entry.uuid) }} as master_uuid,
        {{ text_of(entry.type) }} as master_type,
        {{ text_of(entry.name) }} as master_name,
        {{ moment_of(entry.created_at) }} as created_at,
        {{ moment_of(entry.updated_at) }} as updated_at,
        changes.changed_columns
from {{ ref(entry.model) }} as base
inner join {{ ref(entry.changes) }} as changes on base._cdc_seq = changes.change_id
{%- endfor %}
{% endmacro %}

{# Rows that others point to, once per column that they are looked up by. #}
{% macro shared_lookups(entries, columns) %}
{{ config(materialized='table') }}
{%- if entries | length == 0 %}
{{ no_rows(columns) }}
{%- endif %}
{%- for entry in entries %}
select
        {{ entry_columns(entry) }}
        {{ entry_owner(entry) }}
        {{ text_literal(entry.lookup.name) }} as lookup_column,
        {{ text_of(entry.lookup) }} as lookup_value
from {{ ref(entry.model) }} as base
where base._cdc_op <> 't'
{{ 'union all' if not loop.last }}
{%- endfor %}
{% endmacro %}

{# Reference columns as rows. #}
{% macro shared_references(entries, columns) %}
{%- if entries | length == 0 %}
{{ no_rows(columns) }}
{%- endif %}
{%- for entry in entries %}
select
        {{ origin_columns(entry.source_table, entry.service, entry.entity) }}
        {{ text_literal(entry.kind) }} as kind,
        {{ change_columns() }}
        {{ entry_owner(entry) }}
        {{ text_literal(entry.column.name) }} as source_column,
        {{ optional_literal(entry.target_table) }} as target_table,
        {{ optional_literal(entry.target_column) }} as target_column,
        {{ text_of(entry.target_type) }} as target_type,
        {{ text_of(entry.column) }} as target_value,
        {{ 'true' if entry.is_declared else 'false' }} as is_declared
from {{ ref(entry.model) }} as base
where base._cdc_op <> 't'
{{ 'union all' if not loop.last }}
{%- endfor %}
{% endmacro %}

{% macro shared_tables(entries, columns) %}
{%- if entries | length == 0 %}
{{ no_rows(columns) }}
{%- endif %}
{%- for entry in entries %}
select
        {{ text_literal(entry.source_table) }} as source_table,
        {{ text_literal(entry.service) }} as service,
        {{ text_literal(entry.entity) }} as entity,
        {{ text_literal(entry.kind) }} as kind,
        {{ 'true' if entry.has_key else 'false' }} as has_key
{{ 'union all' if not loop.last }}
{%- endfor %}
{% endmacro %}

{# The cuts that the lake published. The only entry is the family of each column of the lake's table. #}
{% macro shared_watermarks(entries, columns) %}
{%- if entries | length == 0 %}
{{ no_rows(columns) }}
{%- endif %}
{%- for entry in entries %}
select
        {% if entry.cut is none %}{{ null_of('text') }}{% else %}{{ quoted(entry.cut) }}{% endif %} as cut,
        {{ moment_from(quoted(entry.committed_name), entry.committed_family) }} as committed_at
from {{ source('lake_tributary', '_tributary_watermarks') }}
{% if entry.publish is not none %}where {{ quoted(entry.publish) }}{% endif %}
{% if entry.until is defined %}where {{ quoted(entry.cut) }} <= {{ text_literal(entry.until) }}{% endif %}
{%- endfor %}
{% endmacro %}
