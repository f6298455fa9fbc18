{# JSON, which dbt makes a job's labels of. Here only variables of the command line are known. #}
{% macro job_labels(node) -%}
    {%- set labels = dict(var('job_labels', {})) -%}
    {%- if node -%}{%- do labels.update({'node_id': node.unique_id}) -%}{%- endif -%}
    {{ tojson(labels) }}
{%- endmacro %}
