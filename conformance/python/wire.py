"""The bytes of AMQP 0-9-1, written by hand so that tests can also write them wrongly.

Only what a test client needs: every method by name, field values as tables need them, frames.
A table is given as a dict (str, int, bool, bytes, dict, list, None choose their usual type) or, to
the byte, as `Raw(payload)`.
"""

import struct
from dataclasses import dataclass, field

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
FRAME_END = 0xCE

# name: (class id, method id, fields); a field is name:type, and adjacent bits share one octet.
_METHODS = """
connection.start          10 10  version_major:octet version_minor:octet server_properties:table mechanisms:long locales:long
connection.start-ok       10 11  client_properties:table mechanism:short response:long locale:short
connection.secure         10 20  challenge:long
connection.secure-ok      10 21  response:long
connection.tune           10 30  channel_max:u16 frame_max:u32 heartbeat:u16
connection.tune-ok        10 31  channel_max:u16 frame_max:u32 heartbeat:u16
connection.open           10 40  virtual_host:short reserved_1:short reserved_2:bit
connection.open-ok        10 41  reserved_1:short
connection.close          10 50  reply_code:u16 reply_text:short class_id:u16 method_id:u16
connection.close-ok       10 51
connection.blocked        10 60  reason:short
connection.unblocked      10 61
connection.update-secret  10 70  new_secret:long reason:short
connection.update-secret-ok 10 71
channel.open              20 10  reserved_1:short
channel.open-ok           20 11  reserved_1:long
channel.flow              20 20  active:bit
channel.flow-ok           20 21  active:bit
channel.close             20 40  reply_code:u16 reply_text:short class_id:u16 method_id:u16
channel.close-ok          20 41
exchange.declare          40 10  reserved_1:u16 exchange:short type:short passive:bit durable:bit auto_delete:bit internal:bit no_wait:bit arguments:table
exchange.declare-ok       40 11
exchange.delete           40 20  reserved_1:u16 exchange:short if_unused:bit no_wait:bit
exchange.delete-ok        40 21
exchange.bind             40 30  reserved_1:u16 destination:short source:short routing_key:short no_wait:bit arguments:table
exchange.bind-ok          40 31
exchange.unbind           40 40  reserved_1:u16 destination:short source:short routing_key:short no_wait:bit arguments:table
exchange.unbind-ok        40 51
queue.declare             50 10  reserved_1:u16 queue:short passive:bit durable:bit exclusive:bit auto_delete:bit no_wait:bit arguments:table
queue.declare-ok          50 11  queue:short message_count:u32 consumer_count:u32
queue.bind                50 20  reserved_1:u16 queue:short exchange:short routing_key:short no_wait:bit arguments:table
queue.bind-ok             50 21
queue.purge               50 30  reserved_1:u16 queue:short no_wait:bit
queue.purge-ok            50 31  message_count:u32
queue.delete              50 40  reserved_1:u16 queue:short if_unused:bit if_empty:bit no_wait:bit
queue.delete-ok           50 41  message_count:u32
queue.unbind              50 50  reserved_1:u16 queue:short exchange:short routing_key:short arguments:table
queue.unbind-ok           50 51
basic.qos                 60 10  prefetch_size:u32 prefetch_count:u16 global_:bit
basic.qos-ok              60 11
basic.consume             60 20  reserved_1:u16 queue:short consumer_tag:short no_local:bit no_ack:bit exclusive:bit no_wait:bit arguments:table
basic.consume-ok          60 21  consumer_tag:short
basic.cancel              60 30  consumer_tag:short no_wait:bit
basic.cancel-ok           60 31  consumer_tag:short
basic.publish             60 40  reserved_1:u16 exchange:short routing_key:short mandatory:bit immediate:bit
basic.return              60 50  reply_code:u16 reply_text:short exchange:short routing_key:short
basic.deliver             60 60  consumer_tag:short delivery_tag:u64 redelivered:bit exchange:short routing_key:short
basic.get                 60 70  reserved_1:u16 queue:short no_ack:bit
basic.get-ok              60 71  delivery_tag:u64 redelivered:bit exchange:short routing_key:short message_count:u32
basic.get-empty           60 72  reserved_1:short
basic.ack                 60 80  delivery_tag:u64 multiple:bit
basic.reject              60 90  delivery_tag:u64 requeue:bit
basic.recover-async       60 100 requeue:bit
basic.recover             60 110 requeue:bit
basic.recover-ok          60 111
basic.nack                60 120 delivery_tag:u64 multiple:bit requeue:bit
confirm.select            85 10  no_wait:bit
confirm.select-ok         85 11
tx.select                 90 10
tx.select-ok              90 11
tx.commit                 90 20
tx.commit-ok              90 21
tx.rollback               90 30
tx.rollback-ok            90 31
"""

SIGNATURES = {}
NAMES = {}
for _line in _METHODS.strip().splitlines():
    _name, _class, _method, *_fields = _line.split()
    SIGNATURES[_name] = (int(_class), int(_method), [f.split(":") for f in _fields])
    NAMES[int(_class), int(_method)] = _name

WITH_CONTENT = {"basic.publish", "basic.return", "basic.deliver", "basic.get-ok"}

_FIXED = {"octet": ">B", "u16": ">H", "u32": ">I", "u64": ">Q"}


@dataclass(frozen=True)
class Raw:
    """The payload of a table, without its length, exactly as it shall go out."""

    payload: bytes


@dataclass
class Method:
    """A method that arrived, with its content where it has one."""

    name: str
    channel: int
    fields: dict
    properties: bytes = b""
    body: bytes = b""
    body_frames: list = field(default_factory=list)

    def __getattr__(self, name):
        try:
            return self.__dict__["fields"][name]
        except KeyError:
            raise AttributeError(f"{self.__dict__.get('name')} has no field {name}") from None


def short_string(text):
    data = text.encode() if isinstance(text, str) else text
    return bytes([len(data)]) + data


def long_string(text):
    data = text.encode() if isinstance(text, str) else text
    return struct.pack(">I", len(data)) + data


def value(item):
    """One tagged field value."""
    if isinstance(item, Raw):
        return item.payload
    if isinstance(item, bool):
        return b"t" + bytes([item])
    if isinstance(item, int):
        return (
            b"I" + struct.pack(">i", item) if abs(item) < 2**31 else b"l" + struct.pack(">q", item)
        )
    if isinstance(item, float):
        return b"d" + struct.pack(">d", item)
    if isinstance(item, str):
        return b"S" + long_string(item)
    if isinstance(item, bytes):
        return b"x" + long_string(item)
    if isinstance(item, dict):
        return b"F" + table(item)
    if isinstance(item, list):
        return b"A" + long_string(b"".join(value(each) for each in item))
    if item is None:
        return b"V"
    raise TypeError(f"no field type for {item!r}")


def table(entries):
    if isinstance(entries, Raw):
        return long_string(entries.payload)
    return long_string(b"".join(short_string(key) + value(item) for key, item in entries.items()))


def encode_method(name, **given):
    class_id, method_id, fields = SIGNATURES[name]
    out = bytearray(struct.pack(">HH", class_id, method_id))
    bits = []

    def flush_bits():
        if bits:
            out.append(sum(bool(bit) << place for place, bit in enumerate(bits)))
            bits.clear()

    for field_name, kind in fields:
        if kind == "bit":
            bits.append(given.pop(field_name, False))
            continue
        flush_bits()
        if kind in _FIXED:
            out += struct.pack(_FIXED[kind], given.pop(field_name, 0))
        elif kind == "short":
            out += short_string(given.pop(field_name, ""))
        elif kind == "long":
            out += long_string(given.pop(field_name, b""))
        else:
            out += table(given.pop(field_name, {}))
    flush_bits()
    if given:
        raise TypeError(f"{name} has no field {', '.join(given)}")
    return bytes(out)


class Reader:
    """Takes fields off the front of a payload."""

    def __init__(self, data):
        self.data = data
        self.at = 0

    def take(self, count):
        piece = self.data[self.at : self.at + count]
        assert len(piece) == count, "the payload ends early"
        self.at += count
        return piece

    def fixed(self, layout):
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def short(self):
        return self.take(self.fixed(">B"))

    def long(self):
        return self.take(self.fixed(">I"))

    def table(self):
        inner, entries = Reader(self.long()), {}
        while inner.at < len(inner.data):
            key = inner.short().decode()
            entries[key] = inner.value()
        return entries

    def value(self):
        kind = self.take(1)
        layouts = {
            b"b": ">b",
            b"B": ">B",
            b"s": ">h",
            b"u": ">H",
            b"I": ">i",
            b"i": ">I",
            b"l": ">q",
            b"L": ">q",
            b"f": ">f",
            b"d": ">d",
            b"T": ">Q",
        }
        if kind in layouts:
            return self.fixed(layouts[kind])
        if kind == b"t":
            return bool(self.fixed(">B"))
        if kind == b"D":
            return (self.fixed(">B"), self.fixed(">I"))
        if kind == b"S":
            return self.long().decode(errors="replace")
        if kind == b"x":
            return self.long()
        if kind == b"V":
            return None
        if kind == b"F":
            return self.table()
        if kind == b"A":
            inner, items = Reader(self.long()), []
            while inner.at < len(inner.data):
                items.append(inner.value())
            return items
        raise AssertionError(f"unknown field type {kind!r}")


def decode_method(channel, payload):
    reader = Reader(payload)
    name = NAMES[reader.fixed(">H"), reader.fixed(">H")]
    fields, bit, octet = {}, 8, 0
    for field_name, kind in SIGNATURES[name][2]:
        if kind == "bit":
            if bit == 8:
                bit, octet = 0, reader.fixed(">B")
            fields[field_name] = bool(octet >> bit & 1)
            bit += 1
            continue
        bit = 8
        if kind in _FIXED:
            fields[field_name] = reader.fixed(_FIXED[kind])
        elif kind == "short":
            fields[field_name] = reader.short().decode()
        elif kind == "long":
            fields[field_name] = reader.long()
        else:
            fields[field_name] = reader.table()
    assert reader.at == len(payload), f"{name} carries {len(payload) - reader.at} bytes too many"
    return Method(name, channel, fields)


def frame(kind, channel, payload=b"", end=FRAME_END):
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + bytes([end])


def method_frame(channel, name, **fields):
    return frame(METHOD, channel, encode_method(name, **fields))


def header_frame(channel, size, properties=b"\0\0", class_id=60):
    """A content header; `properties` begins with the flags."""
    return frame(HEADER, channel, struct.pack(">HHQ", class_id, 0, size) + properties)


# The fourteen properties, in the order of their flags from bit 15 down.
PROPERTIES = [
    ("content_type", "short"),
    ("content_encoding", "short"),
    ("headers", "table"),
    ("delivery_mode", "octet"),
    ("priority", "octet"),
    ("correlation_id", "short"),
    ("reply_to", "short"),
    ("expiration", "short"),
    ("message_id", "short"),
    ("timestamp", "u64"),
    ("type", "short"),
    ("user_id", "short"),
    ("app_id", "short"),
    ("cluster_id", "short"),
]


def properties(**given):
    """Flags and values of the properties given, for `header_frame`."""
    flags, out = 0, b""
    for place, (name, kind) in enumerate(PROPERTIES):
        if name not in given:
            continue
        flags |= 1 << (15 - place)
        item = given.pop(name)
        if kind == "short":
            out += short_string(item)
        elif kind == "table":
            out += table(item)
        else:
            out += struct.pack(_FIXED[kind], item)
    assert not given, f"no such property: {given}"
    return struct.pack(">H", flags) + out
