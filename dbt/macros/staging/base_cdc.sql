{#
    One row per change of a table, with whole rows: a column that an update left out (PostgreSQL does not
    send a large value that did not change) and the columns of a key-only delete are carried forward from
    the row's earlier changes in `_cdc_seq` order. A key change is a delete of the old key (part 0) and an
    insert of the new one (part 2) at one place of one transaction; the row keeps its values across it.

    key: names · columns: {name, family, large, listed, places, is_exact} · meta: family of each `_cdc_` column
    floors: {seq, noted_at}, below which every row ended because the table or its key was made anew
    initial_at: {name, family, as} of the moment that first rows of a snapshot are assumed to be known from
    cut: changes above this position are not published yet
#}
{% macro base_cdc(relation, key, columns, meta, floors, initial_at, cut=none) %}
{{ config(materialized='table') }}
{%- set large = columns | selectattr('large') | list -%}
{%- set moves = key | length > 0 and large | length > 0 -%}
{%- set by_row = 'partition by sequenced._cdc_row_key order by sequenced._cdc_seq' -%}
{%- set images = [] -%}
{%- for column in columns -%}
    {%- do images.append(text_from('changes.' ~ quoted(column.name), column.family)) -%}
{%- endfor -%}
with {{ 'recursive' if moves }}

changes as (

    select
        {% for column in columns %}
        {{ lake_value(column, meta) }} as {{ quoted(column.name) }},
        {% endfor %}
        _cdc_op,
        _cdc_seq,
        {{ text_from('_cdc_lsn', meta._cdc_lsn) }} as _cdc_lsn,
        {{ text_from('_cdc_xid', meta._cdc_xid) }} as _cdc_xid,
        {{ moment_from('_cdc_committed_at', meta._cdc_committed_at) }} as _cdc_committed_at,
        {{ moment_from('_cdc_captured_at', meta._cdc_captured_at) }} as _cdc_captured_at,
        _cdc_unchanged
    from {{ relation }}
    {%- if cut is not none %}
    where _cdc_seq <= {{ text_literal(cut) }}
    {%- endif %}

),

{{ truncates_of('changes') }}

{%- if key | length == 0 %}

{#- A table without a key is a multiset: the k-th delete of an image ends the k-th row of that image since
    the table was last empty. A truncate without a commit is the floor that its snapshot begins with. #}
imaged as (

    select
        changes.*,
        {{ surrogate_key(images) }} as _cdc_image,
        {{ emptied_until('changes') }} as _cdc_emptied
    from changes
    {{ beside_truncates() }}

),

numbered as (

    select
        imaged.*,
        row_number() over (
            partition by imaged._cdc_image, imaged._cdc_emptied, imaged._cdc_op in ('d', 't')
            order by imaged._cdc_seq
        ) as _cdc_nth
    from imaged

),

keyed as (

    select
        numbered.*,
        case
            when numbered._cdc_op = 'd' then coalesce(born._cdc_seq, numbered._cdc_seq)
            else numbered._cdc_seq
        end as _cdc_row_key
    from numbered
    left join numbered as born
        on
            numbered._cdc_op = 'd'
            and born._cdc_op not in ('d', 't')
            and numbered._cdc_image = born._cdc_image
            and numbered._cdc_emptied = born._cdc_emptied
            and numbered._cdc_nth = born._cdc_nth
            and born._cdc_seq < numbered._cdc_seq

),

{%- else %}

keyed as (

    select
        changes.*,
        case when changes._cdc_op <> 't' then {{ key_text(key_columns(columns, key)) }} end as _cdc_row_key
    from changes

),

{%- endif %}

sequenced as (

    select
        keyed.*,
        row_number() over (partition by keyed._cdc_row_key order by keyed._cdc_seq) as _cdc_row_change_number,
        max(case when keyed._cdc_op in ('c', 'r') then keyed._cdc_seq end) over (
            partition by keyed._cdc_row_key order by keyed._cdc_seq
            rows between unbounded preceding and current row
        ) as _cdc_born_seq,
        {% if floors | length == 0 -%} {{ truncated_later('keyed') }}
        {%- else -%} {{ earlier_of(truncated_later('keyed'), floored_at(floors)) }}
        {%- endif %} as _cdc_truncated_at,
        {{ floor_later('keyed') }} as _cdc_floor_seq
    from keyed
    {{ beside_truncates() }}

),

{%- if moves %}

links as (

    select
        arrived._cdc_born_seq as _cdc_life,
        coalesce(departed._cdc_born_seq, departed._cdc_row_key) as _cdc_earlier_life
    from sequenced as arrived
    inner join sequenced as departed
        on substr(arrived._cdc_seq, 1, 30) = substr(departed._cdc_seq, 1, 30)
    where
        substr(arrived._cdc_seq, 32, 1) = '2'
        and substr(departed._cdc_seq, 32, 1) = '0'
        and departed._cdc_op = 'd'

),

roots as (

    select
        links._cdc_life,
        links._cdc_earlier_life as _cdc_root_life
    from links
    left join links as earlier on links._cdc_earlier_life = earlier._cdc_life
    where earlier._cdc_life is null

    union all

    select
        links._cdc_life,
        roots._cdc_root_life
    from links
    inner join roots on links._cdc_earlier_life = roots._cdc_life

),

rooted as (

    select
        sequenced.*,
        coalesce(roots._cdc_root_life, sequenced._cdc_born_seq, sequenced._cdc_row_key) as _cdc_life
    from sequenced
    left join roots on sequenced._cdc_born_seq = roots._cdc_life

),

{%- else %}

rooted as (

    select
        sequenced.*,
        sequenced._cdc_row_key as _cdc_life
    from sequenced

),

{%- endif %}

{%- set kept -%}
        rooted._cdc_op,
        rooted._cdc_seq,
        substr(rooted._cdc_seq, 1, 21) as _cdc_transaction_id,
        rooted._cdc_lsn,
        rooted._cdc_xid,
        rooted._cdc_committed_at,
        rooted._cdc_captured_at,
        rooted._cdc_row_key,
        rooted._cdc_truncated_at,
        rooted._cdc_op = 'r' and rooted._cdc_row_change_number = 1 as _cdc_is_assumed
{%- endset -%}

{%- if key | length == 0 %}

carried as (

    select
        {% for column in columns %}
        rooted.{{ quoted(column.name) }},
        {% endfor %}
        {{ kept }}
    from rooted
    where rooted._cdc_floor_seq is null

),

{%- else %}

{#- Most rows are written once and whole: only the others need to look back. #}
incomplete as (

    select distinct rooted._cdc_life
    from rooted
    where rooted._cdc_op = 'd' or {{ is_filled('rooted._cdc_unchanged', meta._cdc_unchanged) }}

),

carried as (

    select
        {% for column in columns %}
        rooted.{{ quoted(column.name) }},
        {% endfor %}
        {{ kept }}
    from rooted
    left join incomplete on rooted._cdc_life = incomplete._cdc_life
    where incomplete._cdc_life is null

    union all

    select
        {% for column in columns %}
        {% if column.name in key -%}
        rooted.{{ quoted(column.name) }},
        {%- else -%}
        {{ carried_column(column, meta) }} as {{ quoted(column.name) }},
        {%- endif %}
        {% endfor %}
        {{ kept }}
    from rooted
    inner join incomplete on rooted._cdc_life = incomplete._cdc_life

),

{%- endif %}

{#- Known at its commit. The first image of a row that was there before capture is assumed to be known from
    when the row says it came to be, but not after it was read; a later one from when it was read. #}
timed as (

    select
        carried.*,
        case
            when carried._cdc_is_assumed then least(
                coalesce({{ moment_of(initial_at) }}, {{ moment_literal('1970-01-01 00:00:00') }}),
                carried._cdc_captured_at
            )
            else coalesce(carried._cdc_committed_at, carried._cdc_captured_at)
        end as _cdc_known_at
    from carried

),

final as (

    select
        {% for column in columns %}
        timed.{{ quoted(column.name) }},
        {% endfor %}
        timed._cdc_op,
        timed._cdc_seq,
        timed._cdc_transaction_id,
        timed._cdc_lsn,
        timed._cdc_xid,
        timed._cdc_committed_at,
        timed._cdc_captured_at,
        timed._cdc_row_key,
        timed._cdc_truncated_at,
        timed._cdc_is_assumed,
        max(timed._cdc_known_at) over (
            partition by timed._cdc_row_key order by timed._cdc_seq
            rows between unbounded preceding and current row
        ) as _cdc_available_at
    from timed

)

select * from final
{% endmacro %}

{% macro carried_column(column, meta) -%}
    {%- set name = 'rooted.' ~ quoted(column.name) -%}
    {%- set known = "rooted._cdc_op <> 'd'" -%}
    {%- set left_out = "rooted._cdc_op = 'd'" -%}
    {%- if column.large -%}
        {%- set listed = is_listed('rooted._cdc_unchanged', meta._cdc_unchanged, column.listed) -%}
        {%- set known = known ~ ' and not ' ~ listed -%}
        {%- set left_out = left_out ~ ' or ' ~ listed -%}
    {%- endif -%}
    case
            when {{ left_out }} then coalesce(
                (last_value(case when {{ known }} then {{ boxed(name) }} end ignore nulls) over (
                    partition by rooted._cdc_life order by rooted._cdc_seq
                    rows between unbounded preceding and current row
                )).v,
                {{ name }}
            )
            else {{ name }}
        end
{%- endmacro %}

{#
    A column of the source from the lake's columns that hold it. Each change fills only the one of its time,
    so the one that is filled has the value; as text, where they differ in type. Changes from before a column
    that came with a constant default read that constant, as their rows do at the source.
#}
{% macro lake_value(column, meta) -%}
    {%- set values = [] -%}
    {%- set constants = [] -%}
    {%- for place in column.places -%}
        {%- if column.is_exact -%} {%- do values.append(json_member('_cdc_exact', meta._cdc_exact, place.name)) -%}
        {%- else -%}
            {%- do values.append(in_family(quoted(place.name), place.family, column.family)) -%}
            {%- if place.missing -%}
                {%- do constants.append(
                    'case when _cdc_seq < ' ~ text_literal(place.missing.before)
                    ~ ' then ' ~ in_family(place.missing.sql, place.family, column.family) ~ ' end'
                ) -%}
            {%- endif -%}
        {%- endif -%}
    {%- endfor -%}
    {%- set values = values + constants -%}
    {%- if values | length == 1 -%} {{ values[0] }} {%- else -%} coalesce({{ values | join(', ') }}) {%- endif -%}
{%- endmacro %}

{% macro in_family(expression, from_family, family) -%}
    {{ expression if from_family == family else text_from(expression, from_family) }}
{%- endmacro %}

{# When what is below the next floor ended: with the first change above it, else when the lake noted it. #}
{% macro floored_at(floors) -%}
    case
        {%- for floor in floors %}
        when keyed._cdc_seq < {{ text_literal(floor.seq) }} then coalesce(
            (
                select min(coalesce(changes._cdc_committed_at, changes._cdc_captured_at))
                from changes
                where changes._cdc_seq >= {{ text_literal(floor.seq) }}
            ),
            {{ moment_literal(floor.noted_at) }}
        )
        {%- endfor %}
    end
{%- endmacro %}

{# The key's columns in its order, each with the column of its exact text, if it has one. #}
{% macro key_columns(columns, key) %}
    {%- set found = [] -%}
    {%- for name in key -%}
        {%- set exact = columns | selectattr('is_exact') | selectattr('listed', 'equalto', name) | map(attribute='name') | first -%}
        {%- for column in columns if column.name == name -%}
            {%- do found.append({'name': name, 'family': column.family, 'exact': exact}) -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(found) }}
{% endmacro %}
