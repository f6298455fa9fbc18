{# A share as a double; null when there is nothing to share. #}
{% macro ratio(part, whole) -%}
    cast({{ part }} as {{ type_double() }}) / nullif({{ whole }}, 0)
{%- endmacro %}
