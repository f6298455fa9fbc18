{# Versions of a key follow one another: none begins before the one before it ended. #}
{% test no_overlapping_validity(model, key, valid_from, valid_to, order_by) %}
with

versions as (

    select
        {{ key }} as version_key,
        {{ valid_from }} as valid_from,
        {{ valid_to }} as valid_to,
        lead({{ valid_from }}) over (partition by {{ key }} order by {{ order_by }}) as next_valid_from
    from {{ model }}

)

select *
from versions
where
    valid_to < valid_from
    or (next_valid_from is not null and (valid_to is null or valid_to > next_valid_from))
{% endtest %}
