import { describe, expect, it } from 'vitest';
import { avroFieldName, avroNamespace } from './avro-names.ts';
import { topicOf, topicsOf } from './topic.ts';

describe('names', () => {
  it('a topic keeps what Kafka allows and replaces the rest', () => {
    expect(topicOf('golden', 'public', 'service_event')).toBe('golden.public.service_event');
    expect(topicOf('golden', 'public', 'Odd-Näme 1')).toBe('golden.public.Odd-N_me_1');
  });

  it('two tables never share a topic', () => {
    const tables = [
      { schema: 'a', name: 'b c' },
      { schema: 'a', name: 'b/c' },
    ];
    expect(() => topicsOf('p', tables)).toThrow('tables a.b c and a.b/c both map to topic p.a.b_c');
    expect(topicsOf('p', tables.slice(1)).get('p.a.b_c')).toBe(tables[1]);
  });

  it('a topic too long for Kafka is refused', () => {
    const name = 'x'.repeat(63);
    expect(() => topicsOf('p'.repeat(200), [{ schema: 's', name }])).toThrow('Kafka takes 249');
  });

  it.each([
    ['id', 'id'],
    ['id-1', 'id_1'],
    ['1st col', '_1st_col'],
    ['naïve', 'na_ve'],
    ['a.b', 'a_b'],
    ['$x', '_x'],
  ])('column %j is field %s', (column, field) => {
    expect(avroFieldName(column)).toBe(field);
  });

  it('every part of a namespace is a name of its own', () => {
    expect(avroNamespace('golden', 'public', 'Odd-Näme 1')).toBe('golden.public.Odd_N_me_1');
    expect(avroNamespace('my-app', 'public', '2fa')).toBe('my_app.public._2fa');
  });
});
