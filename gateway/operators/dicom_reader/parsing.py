"""The fence around pydicom: what it raises on unsound bytes becomes a refusal by name."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

from pydicom.errors import BytesLengthException

from gateway.operators.dicom_reader.codes import refused

_UNSOUND = (
    ValueError,
    TypeError,
    AttributeError,
    KeyError,
    IndexError,
    EOFError,
    OverflowError,
    RuntimeError,
    BytesLengthException,
    struct.error,
    zlib.error,
)


@contextmanager
def refusing(code: StrEnum, message: str) -> Iterator[None]:
    """Run pydicom or a decoder; refuse with `code` what they choke on.

    Their warnings are dropped. A failing disk is not the file's fault and passes through: unlike
    pydicom's own `OSError` it carries an error number. Not for several threads at once.

    Raises:
        InputRefusedError: `code`.
        OSError: the file cannot be read.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except OSError as error:
            if error.errno is not None:
                raise
            raise refused(code, message) from None
        except _UNSOUND:
            raise refused(code, message) from None
