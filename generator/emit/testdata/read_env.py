"""Reads a file as systemd's EnvironmentFile= does, with systemd's own reader.

usage: read_env.py LIBSYSTEMD_SHARED FILE; prints KEY=value, each with a NUL.
"""

import ctypes
import sys

lib = ctypes.CDLL(sys.argv[1])
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
name = sys.argv[2].encode()
stream = ctypes.c_void_p(libc.fopen(name, b"r"))
pairs = ctypes.POINTER(ctypes.c_char_p)()
status = lib.load_env_file(stream, name, ctypes.byref(pairs))
if status < 0:
    sys.exit(f"load_env_file: {status}")
i = 0
while pairs and pairs[i]:
    sys.stdout.buffer.write(pairs[i] + b"\0")
    i += 1
