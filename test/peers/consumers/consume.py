"""Reads topics to their end with Confluent's own client and deserialiser; one JSON line a record."""

import json
import sys
from decimal import Decimal

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

brokers, registry, *topics = sys.argv[1:]
deserialize = AvroDeserializer(SchemaRegistryClient({"url": registry}))
consumer = Consumer(
    {"bootstrap.servers": brokers, "group.id": "confluent", "enable.auto.commit": False}
)


def plain(value):
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat()


for topic in topics:
    partitions = consumer.list_topics(topic).topics[topic].partitions
    for number in partitions:
        start, end = consumer.get_watermark_offsets(TopicPartition(topic, number))
        consumer.assign([TopicPartition(topic, number, start)])
        position = start
        while position < end:
            message = consumer.poll(10)
            if message is None or message.error():
                sys.exit(f"nothing came of {topic}/{number}: {message and message.error()}")
            position = message.offset() + 1
            context = SerializationContext(topic, MessageField.VALUE)
            key_context = SerializationContext(topic, MessageField.KEY)
            print(
                json.dumps(
                    {
                        "topic": topic,
                        "key": deserialize(message.key(), key_context),
                        "value": deserialize(message.value(), context),
                    },
                    default=plain,
                )
            )
consumer.close()
