{#
    No row uses what was not known at its as-of time: neither by what the row says (`known_at`), nor by the
    watermark, which says what could be known at all.
#}
{% test no_future_leakage(model, as_of, known_at) %}
select model_rows.{{ as_of }}
from {{ model }} as model_rows
cross join (
    select max(committed_at) as committed_at from {{ ref('stg_tributary__watermarks') }}
) as watermarks
where
    model_rows.{{ known_at }} is null
    or model_rows.{{ known_at }} > model_rows.{{ as_of }}
    or watermarks.committed_at is null
    or model_rows.{{ as_of }} > watermarks.committed_at
{% endtest %}
