{# JSON, as dbt makes labels of it; the comment of the query too, where a job's history has no labels. #}
{% macro job_labels(node) -%}
    {%- set labels = dict(var('job_labels')) -%}
    {%- if node -%}{%- do labels.update({'node_id': node.unique_id}) -%}{%- endif -%}
    {{ tojson(labels) }}
{%- endmacro %}
