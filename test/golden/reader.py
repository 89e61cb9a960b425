"""A second reader of the formats, written from docs/formats alone: no line of it is shared with the library.

    python3 reader.py DIRECTORY     the state of a space, as JSON: object files with the log laid over them
    python3 reader.py FILE.twz      one object file
    python3 reader.py --hashes DIRECTORY    of each object, SHA-256 over all but version and checksum

It checks all that the documents say a reader checks, and stops with a message at the first thing that does not hold.
"""

import hashlib
import json
import os
import struct
import sys

PAGE = 4096
SIZE_MAX = 1 << 30
CLASSES = [8, 16, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 1024, 1360, 2048]
KINDS = {1: "owned", 2: "immutable", 3: "volatile", 4: "shared", 5: "append-only", 6: "progressive"}
NUMBERS = {"u8": "<B", "i8": "<b", "u16": "<H", "i16": "<h", "u32": "<I", "i32": "<i", "u64": "<Q", "i64": "<q", "f32": "<f", "f64": "<d"}

TABLE = []
for n in range(256):
    c = n
    for _ in range(8):
        c = (c >> 1) ^ 0x82F63B78 if c & 1 else c >> 1
    TABLE.append(c)


def crc32c(data, seed=0):
    c = seed ^ 0xFFFFFFFF
    for byte in data:
        c = TABLE[(c ^ byte) & 255] ^ (c >> 8)
    return c ^ 0xFFFFFFFF


def need(condition, message):
    if not condition:
        raise SystemExit(f"reader.py: {message}")


def u16(data, at):
    return struct.unpack_from("<H", data, at)[0]


def u32(data, at):
    return struct.unpack_from("<I", data, at)[0]


def u64(data, at):
    return struct.unpack_from("<Q", data, at)[0]


def fold(digest):
    return bytes(a ^ b for a, b in zip(digest[:16], digest[16:]))


def derive(nonce, key, rights, kind):
    return fold(hashlib.sha256(nonce + key + struct.pack("<II8x", rights, kind)).digest())


def chunk_of(q, first):
    k = (q // first + 1).bit_length() - 1
    return k, q - first * (2**k - 1)


def fnv64(text):
    h = 0xCBF29CE484222325
    for byte in text.encode():
        h = (h ^ byte) * 0x100000001B3 % 2**64
    return h


class Object:
    """An object's bytes, read by docs/formats/object.md. A file has a stamped header; what the log was laid over has not."""

    def __init__(self, data, name, stamped):
        self.data = data
        self.id = data[8:24].hex()
        need(len(data) % PAGE == 0 and 2 * PAGE <= len(data) <= SIZE_MAX, f"{name}: {len(data)} bytes")
        need(data[:4] == b"TWO1" and u32(data, 4) == 1, f"{name}: magic or format")
        if stamped:
            need(crc32c(data[:112] + bytes(4) + data[116:PAGE]) == u32(data, 112), f"{name}: checksum")
        need(u32(data, 64) == len(data), f"{name}: the header says {u32(data, 64)} bytes, there are {len(data)}")
        need(self.id == name, f"{name}: holds object {self.id}")
        nonce, key, self.rights, self.kind = data[24:40], data[40:56], u32(data, 56), u32(data, 60)
        need(derive(nonce, key, self.rights, self.kind).hex() == self.id, f"{name}: the ID does not follow")
        if self.kind == 2:
            page = bytearray(data[:PAGE])
            for start, end in ((8, 40), (72, 80), (112, 116)):
                page[start:end] = bytes(end - start)
            need(fold(hashlib.sha256(bytes(page) + data[PAGE:]).digest()) == nonce, f"{name}: the content does not have the hash that names it")
        self.check_blocks()

    # --- pages and blocks

    def page_entry(self, page):
        if page < 1024:
            return u16(self.data, 2048 + 2 * page)
        k, n = chunk_of(page - 1024, 2048)
        chunk = u32(self.data, 224 + 4 * k)
        return 0 if chunk == 0 else u16(self.data, chunk * PAGE + 2 * n)

    def check_blocks(self):
        need(self.page_entry(0) == 1, f"{self.id}: page 0 is of kind {self.page_entry(0)}")
        for c, size in enumerate(CLASSES):
            free, bump, end, live = struct.unpack_from("<IIII", self.data, 512 + 16 * c)
            pages = [page for page in range(1, len(self.data) // PAGE) if self.page_entry(page) == 2 | c << 4]
            cut = sum(PAGE // size for _ in pages) - ((end - bump) // size if bump else 0)
            seen = set()
            while free != 0:
                need(free not in seen and free // PAGE in pages and free % PAGE % size == 0, f"{self.id}: free list of class {size} at {free}")
                seen.add(free)
                free = u32(self.data, free)
            need(live + len(seen) == cut, f"{self.id}: class {size}: {live} in use and {len(seen)} free of {cut}")

    # --- foreign object table

    def fot(self):
        entries = {}
        for index in range(1, u32(self.data, 96)):
            if index < 16:
                at = 1024 + 32 * index
            else:
                k, n = chunk_of(index - 16, 128)
                at = u32(self.data, 128 + 4 * k) * PAGE + 32 * n
            flags, count = u32(self.data, at + 20), u32(self.data, at + 24)
            if flags & 1 == 0:
                continue
            if flags & 2 == 0:
                entries[index] = {"id": self.data[at : at + 16].hex(), "count": count}
            else:
                resolver = u32(self.data, at + 16)
                entries[index] = {"path": self.name_at(u32(self.data, at)), "resolver": self.name_at(resolver) if resolver else "", "count": count}
        return entries

    def name_at(self, at):
        return self.data[at + 4 : at + 4 + u32(self.data, at)].decode()

    def pointer(self, at):
        low, high = u32(self.data, at), u32(self.data, at + 4)
        need(high & 255 == 0 and (low == 0 or low >= PAGE), f"{self.id} at {at}: corrupt pointer")
        return high >> 8, low

    # --- types

    def schema(self):
        at = u32(self.data, 108)
        return json.loads(self.name_at(at)) if at else None

    def signature(self, types, shape):
        kind = shape["kind"]
        if kind == "struct":
            return self.struct_signature(types, shape["type"])
        if kind == "ref":
            return f"ref({shape['type']})"
        if kind == "optional":
            return f"optional({self.signature(types, shape['of'])})"
        if kind == "array":
            return f"array({self.signature(types, shape['of'])},{shape['length']})"
        if kind == "oneOf":
            return f"oneOf({'|'.join(json.dumps(v, ensure_ascii=False) for v in shape['values'])})"
        return shape["type"]

    def struct_signature(self, types, name):
        fields = ";".join(f"{f['name']}:{self.signature(types, f['shape'])}" for f in types[name]["fields"])
        return f"{name}@{types[name]['version']}{{{fields}}}"

    def value(self, types, shape, at, places):
        kind = shape["kind"]
        if kind in ("number", "bigint"):
            value = struct.unpack_from(NUMBERS[shape["type"]], self.data, at)[0]
            return str(value) if kind == "bigint" else value
        if kind == "bool":
            return self.data[at] == 1
        if kind == "oneOf":
            return shape["values"][self.data[at] if len(shape["values"]) <= 256 else u16(self.data, at)]
        if kind in ("text", "bytes"):
            start, length = u32(self.data, at), u32(self.data, at + 4)
            block = self.data[start : start + length]
            return block.decode() if kind == "text" else block.hex()
        if kind == "optional":
            return self.value(types, shape["of"], at + shape["at"], places) if self.data[at] == 1 else None
        if kind == "array":
            return [self.value(types, shape["of"], at + i * shape["stride"], places) for i in range(shape["length"])]
        if kind == "struct":
            return self.struct(types, shape["type"], at, places)
        if kind == "collection":
            return self.log(types, shape, at, places)
        index, offset = self.pointer(at)
        if index == 0 and offset == 0:
            return None
        if index == 0 and kind == "ref":
            places.append((shape["type"], offset))
            return {"at": offset}
        if index == 0:
            return {"to": self.id}
        entry = self.fot()[index]
        to = {"to": entry["id"]} if "id" in entry else {"late": entry["path"]}
        return {**to, "at": offset} if offset else to

    def block(self, address):
        need(address >> 22 == 0, f"{self.id}: this reader reads no parts of collections")
        return address << 4

    def log(self, types, shape, at, places):
        """Numbers, texts and bytes in the object itself."""
        need(shape["collection"] == "Log", f"{self.id} at {at}: this reader reads no {shape['collection']}")
        element = shape["value"]
        plain = element["kind"] == "number"
        need(plain or element["kind"] in ("text", "bytes"), f"{self.id} at {at}: this reader reads no logs of {element['kind']}")
        stride = struct.calcsize(NUMBERS[element["type"]]) if plain else 4
        places_each = 128
        while places_each > 1 and places_each * stride > 2048:
            places_each //= 2
        first, following, directory, room = struct.unpack_from("<QQII", self.data, at)
        found, end = [], 0
        for n in range(first, following):
            chunk = self.block(u32(self.data, self.block(directory) + 4 * (n // places_each % room)))
            place = chunk + n % places_each * stride
            end = place + stride
            if plain:
                found.append(self.value(types, element, place, places))
                continue
            address = u32(self.data, place)
            start = self.block(address)
            block = self.data[start + 4 : start + 4 + u32(self.data, start)] if address else b""
            found.append(block.decode() if element["kind"] == "text" else block.hex())
        if self.kind == 5:
            need(u32(self.data, 864) == end and u32(self.data, 868) == self.block(directory), f"{self.id}: what it says of its log")
        return {"first": first, "elements": found}

    def struct(self, types, name, at, places):
        need(PAGE <= at and at + types[name]["size"] <= len(self.data), f"{self.id}: a {name} at {at} lies outside")
        return {f["name"]: self.value(types, f["shape"], at + f["offset"], places) for f in types[name]["fields"]}

    def typed(self):
        """The root and all that references lead to in this object, by offset."""
        schema = self.schema()
        if schema is None:
            return None
        types, root = schema["types"], u32(self.data, 80)
        need(u64(self.data, 84) == fnv64(self.struct_signature(types, schema["root"])), f"{self.id}: the schema does not have the type's fingerprint")
        places, found = [(schema["root"], root)], {}
        for name, at in places:
            if str(at) not in found:
                found[str(at)] = {name: self.struct(types, name, at, places)}
        return {"root": root, "structs": found}

    def json(self):
        flags, ties = u32(self.data, 68), u32(self.data, 104)
        return {
            "kind": KINDS[self.kind],
            "rights": self.rights,
            "size": len(self.data),
            "flags": [name for bit, name in ((1, "deleted"), (2, "counted"), (4, "raw")) if flags & bit],
            "ties": [self.data[288 + 16 * i : 304 + 16 * i].hex() for i in range(ties)],
            "fot": {str(index): entry for index, entry in self.fot().items()},
            "typed": self.typed(),
            **({"merge": self.data[880:896].hex()} if self.kind == 6 else {}),
        }


# --- the space


def read_control(path):
    data = open(path, "rb").read()
    need(len(data) == 8192, f"space.twz has {len(data)} bytes")
    best = None
    for slot in (data[:PAGE], data[PAGE:]):
        if slot[:4] != b"TWZS" or crc32c(slot[:64]) != u32(slot, 64):
            continue
        need(u32(slot, 4) == 1, "space.twz: format")
        control = {"generation": u64(slot, 8), "space": slot[16:32].hex(), "lsn": u64(slot, 32), "chain": u32(slot, 40), "segmentSize": u32(slot, 44)}
        if best is None or control["generation"] > best["generation"]:
            best = control
    need(best is not None, "space.twz: no slot holds")
    return best


class Log:
    """Frames of the log from where the control file says, by docs/formats/log.md."""

    def __init__(self, directory, control):
        self.directory = directory
        self.segment = control["segmentSize"]
        self.space = control["space"]
        self.lsn = control["lsn"]
        self.chain = control["chain"]
        self.transactions = []
        self.open = []
        self.committed = self.lsn
        self.segments()
        self.in_segments = len(self.transactions)
        self.tail()

    def take(self, data, at):
        """The frame at `at` if it continues the log."""
        if at + 32 > len(data):
            return False
        length, checksum, lsn = struct.unpack_from("<IIQ", data, at)
        if length < 32 or length > 1 << 20 or length % 8 or at + length > len(data):
            return False
        if lsn not in (self.lsn, (self.lsn // self.segment + 1) * self.segment + PAGE):
            return False
        frame = data[at : at + length]
        if crc32c(frame[8:], self.chain) != checksum:
            return False
        self.lsn, self.chain = lsn + length, checksum
        self.open.append(frame)
        if u32(frame, 20) & 1:
            self.transactions.append(self.open)
            self.open = []
            self.committed = self.lsn
        return True

    def segments(self):
        number, at = self.lsn // self.segment, self.lsn % self.segment
        while True:
            path = f"{self.directory}/log/{number:08d}.log"
            if not os.path.exists(path):
                return
            data = open(path, "rb").read()
            need(data[:4] == b"TWZL" and u32(data, 4) == 1 and u32(data, 8) == number and u32(data, 12) == self.segment == len(data), f"{path}: header")
            need(data[16:32].hex() == self.space and u32(data, 32) == crc32c(data[:32]), f"{path}: header")
            first = at
            while self.take(data, at):
                at += u32(data, at)
            if at == first == PAGE and number > self.lsn // self.segment:
                return
            number, at = number + 1, PAGE

    def tail(self):
        path = f"{self.directory}/log/tail"
        if not os.path.exists(path):
            return
        data, at = open(path, "rb").read(), 0
        while at + 32 <= len(data):
            length = u32(data, at)
            if length < 32 or length > 1 << 20 or length % 8 or at + length > len(data):
                return
            if u64(data, at + 8) >= self.lsn and not self.take(data, at):
                return
            at += length


def sections(frame):
    at = 32
    for _ in range(u32(frame, 24)):
        operation, size = u32(frame, at + 16), u32(frame, at + 20)
        name, version, lines = frame[at : at + 16].hex(), u64(frame, at + 24), u32(frame, at + 32)
        at += 40
        words = []
        while lines > 0:
            head = u32(frame, at)
            at += 4
            if head >> 24 == 0:
                run = u32(frame, at)
                words.append((head * 64, frame[at + 4 : at + 4 + run * 64]))
                at += 4 + run * 64
                lines -= run
                continue
            lines -= 1
            for bit in range(8):
                if head >> 24 >> bit & 1:
                    words.append(((head & 0xFFFFFF) * 64 + bit * 8, frame[at : at + 8]))
                    at += 8
        yield name, operation, size, version, words
    need(len(frame) - at in (0, 4), f"a frame of {len(frame)} bytes ends at {at}")


def objects_of(directory):
    """All objects as the log leaves them, their versions, and what else was learned on the way."""
    control = read_control(f"{directory}/space.twz")
    log = Log(directory, control)
    state, versions, stamped = {}, {}, set()

    def load(name, end=".twz"):
        path = f"{directory}/objects/{name[:2]}/{name}{end}"
        return bytearray(open(path, "rb").read()) if os.path.exists(path) else None

    for part in sorted(os.listdir(f"{directory}/objects")):
        for file in sorted(os.listdir(f"{directory}/objects/{part}")):
            if not file.endswith(".twz"):
                continue
            name = file.removesuffix(".twz")
            state[name] = load(name)
            versions[name] = u64(state[name], 72) if len(state[name]) >= PAGE else 0
            stamped.add(name)
    for transaction in log.transactions:
        for frame in transaction:
            for name, operation, size, version, words in sections(frame):
                stamped.discard(name)
                if operation == 3:
                    state.pop(name, None)
                    continue
                need(operation in (1, 2, 4), f"operation {operation}")
                if operation == 4:
                    state[name] = load(name, ".draft") or load(name)
                if operation == 2:
                    state[name] = bytearray(size)
                need(name in state, f"the log changes object {name}, which has no file")
                data = state[name]
                data.extend(bytes(max(0, size - len(data))))
                del data[size:]
                for at, word in words:
                    data[at : at + len(word)] = word
                versions[name] = version
    objects = {name: Object(bytes(data), name, name in stamped) for name, data in sorted(state.items())}
    return control, log, objects, versions


def hashes(directory):
    _, log, objects, _ = objects_of(directory)
    plain = {name: each.data[:72] + bytes(8) + each.data[80:112] + bytes(4) + each.data[116:] for name, each in objects.items()}
    return {"transactions": len(log.transactions), "objects": {name: hashlib.sha256(data).hexdigest() for name, data in plain.items()}}


def read_space(directory):
    control, log, objects, versions = objects_of(directory)
    known = {n: derive(bytes.fromhex(control["space"])[:15] + bytes([bytes.fromhex(control["space"])[15] ^ n]), bytes(16), 7, 1).hex() for n in (1, 2)}
    return {
        "control": control,
        "log": {"transactions": len(log.transactions), "onlyInTail": len(log.transactions) - log.in_segments, "end": log.committed},
        "objects": {name: {"version": versions[name], **each.json()} for name, each in objects.items()},
        "deleted": deleted(objects.get(known[1])),
        "names": names(objects, known[2]),
    }


def deleted(each):
    if each is None:
        return []
    at = u32(each.data, 80)
    count = min(1024, u32(each.data, at))
    return [each.data[at + 16 + 16 * i : at + 32 + 16 * i].hex() for i in range(count)]


def names(objects, name, prefix=""):
    """All names below a namespace, by docs/formats/naming.md."""
    each = objects.get(name)
    if each is None:
        return {}
    data, found = each.data, {}
    count, buckets, table = struct.unpack_from("<III", data, u32(data, 80))
    for bucket in range(buckets):
        at = u32(data, table + 4 * bucket)
        while at != 0:
            text = data[u32(data, at) : u32(data, at) + u32(data, at + 4)].decode()
            need(name_hash(text) == u32(data, at + 8) and u32(data, at + 8) % buckets == bucket, f"{text}: hash")
            kind, owns, (index, _) = data[at + 12], data[at + 13], each.pointer(at + 16)
            path = f"{prefix}/{text}"
            if kind == 2:
                found[path] = {"link": data[u32(data, at + 24) : u32(data, at + 24) + u32(data, at + 28)].decode()}
            else:
                target = each.fot()[index]["id"]
                found[path] = {"object" if kind == 0 else "namespace": target, "owns": owns == 1}
                if kind == 1:
                    found.update(names(objects, target, path))
            count -= 1
            at = each.pointer(at + 32)[1]
    need(count == 0, f"{prefix}/: count of names")
    return found


def name_hash(text):
    h = 0x811C9DC5
    units = text.encode("utf-16-le")
    for i in range(0, len(units), 2):
        h = (h ^ u16(units, i)) * 0x01000193 % 2**32
    return h ^ h >> 15


def main(path):
    if path == "--hashes":
        result = hashes(sys.argv[2])
    elif os.path.isdir(path):
        result = read_space(path)
    else:
        data = open(path, "rb").read()
        each = Object(data, data[8:24].hex(), True)
        result = {"id": each.id, "version": u64(data, 72), **each.json()}
    json.dump(result, sys.stdout, indent=1, ensure_ascii=False)
    print()


main(sys.argv[1])
