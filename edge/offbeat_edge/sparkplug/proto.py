"""The Sparkplug B payload as protobuf messages, made when they are first needed.

Rules: names and numbers of fields are the specification's (payload.proto of
Sparkplug B, proto2); parts that no number comes from (data sets, templates,
metadata) are left out and skipped as unknown fields.  A pool of our own, so
that nobody else's definition of the same messages is in the way.

>>> payload = new_payload()
>>> payload.seq = 3
>>> parse(payload.SerializeToString()).seq
3
"""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf import (  # type: ignore[import-untyped]  # ships no types
    descriptor_pb2,
    descriptor_pool,
    message_factory,
)
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # nor here

from offbeat_edge.refusal import Refused

PACKAGE = "offbeat.sparkplug"
# Message → (field, number, type); a type with a capital is a message, "*" before it repeats.
FIELDS: dict[str, tuple[tuple[str, int, str], ...]] = {
    "Payload": (
        ("timestamp", 1, "uint64"), ("metrics", 2, "*Metric"), ("seq", 3, "uint64"),
        ("uuid", 4, "bytes"), ("body", 5, "bytes"),
    ),
    "Metric": (
        ("name", 1, "bytes"), ("alias", 2, "uint64"), ("timestamp", 3, "uint64"),
        ("datatype", 4, "uint32"), ("is_historical", 5, "bool"), ("is_null", 7, "bool"),
        ("properties", 9, "PropertySet"), ("int_value", 10, "uint32"),
        ("long_value", 11, "uint64"), ("float_value", 12, "float"), ("double_value", 13, "double"),
        ("boolean_value", 14, "bool"), ("string_value", 15, "bytes"),
    ),
    "PropertySet": (("keys", 1, "*bytes"), ("values", 2, "*PropertyValue")),
    "PropertyValue": (
        ("type", 1, "uint32"), ("is_null", 2, "bool"), ("int_value", 3, "uint32"),
        ("long_value", 4, "uint64"), ("string_value", 8, "bytes"),
    ),
}  # fmt: skip
# Text is declared as bytes: the same on the wire, and ours to refuse when it is no UTF-8.


@cache
def _payload_class() -> Any:  # noqa: ANN401 - made at run time
    file = descriptor_pb2.FileDescriptorProto(
        name="offbeat/sparkplug.proto", package=PACKAGE, syntax="proto2"
    )
    kinds = descriptor_pb2.FieldDescriptorProto
    for message, fields in FIELDS.items():
        made = file.message_type.add(name=message)
        for name, number, told in fields:
            plain = told.removeprefix("*")
            nested = plain[0].isupper()
            made.field.add(
                name=name,
                number=number,
                label=kinds.LABEL_REPEATED if told != plain else kinds.LABEL_OPTIONAL,
                type=kinds.TYPE_MESSAGE if nested else getattr(kinds, f"TYPE_{plain.upper()}"),
                type_name=f".{PACKAGE}.{plain}" if nested else None,
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.Payload"))


def new_payload() -> Any:  # noqa: ANN401 - made at run time
    """Return an empty payload."""
    return _payload_class()()


def parse(data: bytes) -> Any:  # noqa: ANN401 - made at run time
    """Read a payload; ``Refused`` when it is none."""
    payload = new_payload()
    try:
        payload.ParseFromString(data)
    except DecodeError as error:
        raise Refused("not_sparkplug", "expected a payload of Sparkplug B") from error
    if payload.uuid == b"SPBV1.0_COMPRESSED":
        raise Refused("not_sparkplug", "expected a payload that is not compressed")
    return payload
