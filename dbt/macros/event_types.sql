{#
    Three dialects of event types are read: `service:action:vN:state` (canonical), `service.action[.state]`
    (dotted) and `service_action[_state]` (snake). States come in synonyms.
#}
{% macro event_states() %}
    {{ return({
        'requested': ['request', 'requested', 'queued', 'pending', 'placed'],
        'started': ['start', 'started', 'running', 'processing'],
        'success': ['success', 'succeeded', 'completed', 'complete', 'done', 'finished', 'ok'],
        'failed': ['fail', 'failed', 'failure', 'error'],
        'cancelled': ['cancel', 'cancelled', 'canceled'],
        'timeout': ['timeout', 'timed_out'],
    }) }}
{% endmacro %}

{# The state that a word stands for; null for other words. #}
{% macro state_of(word) -%}
    case
        {%- for state, words in event_states().items() %}
        when lower({{ word }}) in ('{{ words | join("', '") }}') then '{{ state }}'
        {%- endfor %}
    end
{%- endmacro %}

{# The state words as alternatives of a pattern, in a group that extracts nothing: BigQuery allows one that does. #}
{% macro state_pattern() -%}
    {%- set words = [] -%}
    {%- for group in event_states().values() -%} {%- do words.extend(group) -%} {%- endfor -%}
    {{ '(?:' ~ words | join('|') ~ ')' }}
{%- endmacro %}

{% macro event_dialect(event_type) -%}
    case
        when {{ event_type }} is null then 'none'
        when {{ matches(event_type, '^[^:]+:[^:]+:v[0-9]+:[^:]+$') }} then 'canonical'
        when {{ matches(event_type, '^[^.:]+([.][^.:]+)+$') }} then 'dotted'
        when {{ matches(event_type, '^[^_.:]+(_[^_.:]+)+$') }} then 'snake'
        else 'other'
    end
{%- endmacro %}

{# The correlation id in either spelling of the metadata, else of the payload. #}
{% macro correlation_of(metadata, payload) -%}
    coalesce(
        {%- for text in [metadata, payload] -%}
            {%- set outer_last = loop.last -%}
            {%- for path in [
                '$.globalContext.correlationId', '$.global_context.correlation_id',
                '$.correlationId', '$.correlation_id'
            ] %}
        {{ json_text(text, path) }}{{ ',' if not (outer_last and loop.last) }}
            {%- endfor -%}
        {%- endfor %}
    )
{%- endmacro %}
