"""Reads a topic with Confluent's own client and Avro deserialiser; prints a JSON line for each record.

usage: read_avro.py BROKERS REGISTRY TOPIC COUNT
"""
import json
import sys

from confluent_kafka import Consumer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

brokers, registry, topic, count = sys.argv[1:]
client = SchemaRegistryClient({"url": registry})
decode = AvroDeserializer(client)
consumer = Consumer(
    {"bootstrap.servers": brokers, "group.id": "peer", "auto.offset.reset": "earliest"}
)
consumer.subscribe([topic])
seen = 0
while seen < int(count):
    message = consumer.poll(30.0)
    if message is None:
        sys.exit(f"only {seen} records came")
    if message.error():
        sys.exit(str(message.error()))
    key, value = (
        decode(content, SerializationContext(topic, field))
        for content, field in (
            (message.key(), MessageField.KEY),
            (message.value(), MessageField.VALUE),
        )
    )
    print(json.dumps({"key": key, "value": value}, default=str), flush=True)
    seen += 1
consumer.close()
