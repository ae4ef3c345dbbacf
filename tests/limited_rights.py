"""A block in which the rights of files count, also if the tests run as root."""

import contextlib
import ctypes

_VERSION = 0x20080522  # of the structures of Linux
_IGNORES_RIGHTS = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH


def _call(name, header, data):
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(header, data) != 0:
        raise OSError(ctypes.get_errno(), name)


@contextlib.contextmanager
def limited_rights():
    """Take away the right of this thread to read and write whatever it wants."""
    header = (ctypes.c_uint32 * 2)(_VERSION, 0)
    data = (ctypes.c_uint32 * 6)()  # effective, permitted and inheritable rights, twice
    _call("capget", header, data)
    before = data[0]
    data[0] = before & ~_IGNORES_RIGHTS
    _call("capset", header, data)
    try:
        yield
    finally:
        data[0] = before
        _call("capset", header, data)
