{#
    What the truncates of a table say of its other changes. DuckDB looks along the table once. BigQuery gives
    a window that has no partition to one worker, which a large table is too much for, so there each row is
    compared with the list of the truncates, which are few.
#}

{# A CTE, or nothing, after `changes` that has `_cdc_op`, `_cdc_seq` and `_cdc_committed_at`. #}
{% macro truncates_of(changes) %}{{ return(adapter.dispatch('truncates_of')(changes)) }}{% endmacro %}
{% macro duckdb__truncates_of(changes) %}{% endmacro %}
{% macro bigquery__truncates_of(changes) -%}
truncates as (

    select array_agg(struct(_cdc_seq as seq, _cdc_committed_at as committed_at)) as listed
    from {{ changes }}
    where _cdc_op = 't'

),
{%- endmacro %}

{# Goes behind the relation that the expressions below are about. #}
{% macro beside_truncates() %}{{ return(adapter.dispatch('beside_truncates')()) }}{% endmacro %}
{% macro duckdb__beside_truncates() %}{% endmacro %}
{% macro bigquery__beside_truncates() %}cross join truncates{% endmacro %}

{# When the next truncate that has a commit ended what was there. #}
{% macro truncated_later(rows) %}{{ return(adapter.dispatch('truncated_later')(rows)) }}{% endmacro %}
{% macro duckdb__truncated_later(rows) -%}
    min(case when {{ rows }}._cdc_op = 't' then {{ rows }}._cdc_committed_at end) over (
            order by {{ rows }}._cdc_seq rows between 1 following and unbounded following
        )
{%- endmacro %}
{% macro bigquery__truncated_later(rows) -%}
    (select min(one.committed_at) from unnest(truncates.listed) as one where one.seq > {{ rows }}._cdc_seq)
{%- endmacro %}

{# The position of the next truncate without a commit: the floor that a snapshot of a table without a key begins with. #}
{% macro floor_later(rows) %}{{ return(adapter.dispatch('floor_later')(rows)) }}{% endmacro %}
{% macro duckdb__floor_later(rows) -%}
    min(case when {{ rows }}._cdc_op = 't' and {{ rows }}._cdc_committed_at is null then {{ rows }}._cdc_seq end) over (
            order by {{ rows }}._cdc_seq rows between 1 following and unbounded following
        )
{%- endmacro %}
{% macro bigquery__floor_later(rows) -%}
    (
            select min(one.seq)
            from unnest(truncates.listed) as one
            where one.seq > {{ rows }}._cdc_seq and one.committed_at is null
        )
{%- endmacro %}

{# How often the table was emptied by then, the change itself included. #}
{% macro emptied_until(rows) %}{{ return(adapter.dispatch('emptied_until')(rows)) }}{% endmacro %}
{% macro duckdb__emptied_until(rows) -%}
    sum(case when {{ rows }}._cdc_op = 't' then 1 else 0 end) over (
            order by {{ rows }}._cdc_seq rows between unbounded preceding and current row
        )
{%- endmacro %}
{% macro bigquery__emptied_until(rows) -%}
    (select count(*) from unnest(truncates.listed) as one where one.seq <= {{ rows }}._cdc_seq)
{%- endmacro %}
