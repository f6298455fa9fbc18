{# Unique and never null, in one pass. #}
{% test is_primary_key(model, column_name) %}
select {{ quoted(column_name) }}
from {{ model }}
group by {{ quoted(column_name) }}
having count(*) > 1 or {{ quoted(column_name) }} is null
{% endtest %}
