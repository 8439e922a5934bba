"""Damage done to files on purpose, the same for the same seed."""

import io
import random
import zipfile

_STRIKING = (
    b"\x00",
    b"\xff",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\xff",
    b"\x80\x00\x00\x00",
    b"<",
    b"&",
    b"{",
    b"}",
    b"\\",
    b"\n",
)


def mutated(data: bytes, seed: int, others: tuple[bytes, ...] = ()) -> bytes:
    """The file with one to eight kinds of damage; in half of the cases the damage goes inside a zip-based file.

    `others` are files that pieces may come from.
    """
    chance = random.Random(seed)
    if data.startswith(b"PK\x03\x04") and chance.random() < 0.6:
        try:
            return _inside(data, chance, others)
        except (zipfile.BadZipFile, OSError, ValueError):
            return _damaged(data, chance, others)
    return _damaged(data, chance, others)


def _damaged(data: bytes, chance: random.Random, others: tuple[bytes, ...]) -> bytes:
    for _ in range(chance.choice((1, 1, 1, 2, 3, 5, 8))):
        if not data:
            return data
        at = chance.randrange(len(data))
        length = chance.choice((1, 2, 4, 16, 64, 512))
        match chance.randrange(8):
            case 0:
                changed = bytearray(data)
                for _ in range(chance.choice((1, 4, 32))):
                    changed[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
                data = bytes(changed)
            case 1:
                data = data[:at]
            case 2:
                data = data[:at] + data[at + length :]
            case 3:
                data = data[:at] + data[at : at + length] * chance.choice((2, 3, 50)) + data[at + length :]
            case 4:
                striking = chance.choice(_STRIKING)
                data = data[:at] + striking + data[at + len(striking) :]
            case 5:
                data = data[:at] + chance.randbytes(length) + data[at + length :]
            case 6:
                other = chance.choice((*others, data))
                start = chance.randrange(len(other) or 1)
                data = data[:at] + other[start : start + 8 * length] + data[at + 8 * length :]
            case 7:
                there = chance.randrange(len(data))
                data = data[:at] + data[there : there + length] + data[at + length :]
    return data


def _inside(data: bytes, chance: random.Random, others: tuple[bytes, ...]) -> bytes:
    """A zip file with one of its members damaged, missing, twice, empty or under another's name."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    names = list(members)
    victim = chance.choice(names)
    match chance.randrange(6):
        case 0:
            del members[victim]
        case 1:
            members[victim] = b""
        case 2:
            members[victim] = members[chance.choice(names)]
        case _:
            members[victim] = _damaged(members[victim], chance, others)
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return target.getvalue()
