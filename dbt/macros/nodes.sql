{# The node of a row: masters and events have kinds of their own. #}
{% macro node_of(kind, source_table, row_key) -%}
    case {{ kind }}
        when 'master' then 'master:' || {{ row_key }}
        when 'event' then 'event:' || {{ surrogate_key([source_table, row_key]) }}
        else 'row:' || {{ source_table }} || '|' || {{ row_key }}
    end
{%- endmacro %}
