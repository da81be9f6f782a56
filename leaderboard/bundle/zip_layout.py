"""The one zip that a bundle makes: stored entries in the order of their names, one after the other, no date, no extras.

PKWARE APPNOTE 6.3.10, sections 4.3.7 (local header), 4.3.12 (central directory) and 4.3.16 (its end). Every byte of
the headers follows from the entries' names, sizes and checksums, so a reader can ask for exactly these bytes.
"""

from __future__ import annotations

import struct
from typing import Final


LOCAL: Final = struct.Struct("<4s5H3I2H")
CENTRAL: Final = struct.Struct("<4s6H3I5H2I")
END: Final = struct.Struct("<4s4H2IH")
LOCAL_MAGIC: Final = b"PK\x03\x04"
CENTRAL_MAGIC: Final = b"PK\x01\x02"
END_MAGIC: Final = b"PK\x05\x06"
LARGEST: Final = 2**32 - 2  # sizes and offsets above need zip64, which bundles do not
MOST: Final = 2**16 - 2

_VERSION = 20
_MADE_BY = (3 << 8) | _VERSION  # Unix, so that the attributes hold a mode
_DATE = (0 << 9) | (1 << 5) | 1  # 1980-01-01
_MODE = 0o100644 << 16


def local_header(name: str, size: int, checksum: int) -> bytes:
    """What stands before an entry's bytes. checksum: CRC-32."""
    encoded = name.encode("ascii")
    return LOCAL.pack(LOCAL_MAGIC, _VERSION, 0, 0, 0, _DATE, checksum, size, size, len(encoded), 0) + encoded


def central_header(name: str, size: int, checksum: int, offset: int) -> bytes:
    """An entry's line in the directory. offset: of its local header."""
    encoded = name.encode("ascii")
    fixed = CENTRAL.pack(
        CENTRAL_MAGIC, _MADE_BY, _VERSION, 0, 0, 0, _DATE, checksum, size, size, len(encoded), 0, 0, 0, 0, _MODE, offset
    )
    return fixed + encoded


def end_record(count: int, size: int, offset: int) -> bytes:
    """What ends the file: number of entries, size and offset of the directory."""
    return END.pack(END_MAGIC, 0, 0, count, count, size, offset, 0)
