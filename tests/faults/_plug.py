"""A network interface for a program in a network namespace of its own: `unshare -rn python _plug.py SWITCH ADDRESS COMMAND…`.

The interface is a TUN device; its other end, a file descriptor, goes to the switch of the test (`_switch.py`), and the program
takes this process's place.
"""

import fcntl
import os
import socket
import struct
import sys
from typing import Final

_TUNSETIFF: Final = 0x4004_54CA
_SIOCSIFADDR, _SIOCSIFNETMASK, _SIOCSIFFLAGS = 0x8916, 0x891C, 0x8914
_TUN_WITHOUT_HEADER: Final = 0x0001 | 0x1000
_UP: Final = 0x1 | 0x40


def main(switch: str, address: str, *command: str) -> None:
    """Does not return."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", b"wire", _TUN_WITHOUT_HEADER))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for request, ip in ((_SIOCSIFADDR, address), (_SIOCSIFNETMASK, "255.255.255.0")):
            name = struct.pack("=HH4s8x", socket.AF_INET, 0, socket.inet_aton(ip))
            fcntl.ioctl(control, request, struct.pack("16s16s8x", b"wire", name))
        for interface in (b"wire", b"lo"):
            fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH22x", interface, _UP))
    with socket.socket(socket.AF_UNIX) as switchboard:
        switchboard.connect(switch)
        socket.send_fds(switchboard, [socket.inet_aton(address)], [device])
        switchboard.recv(1)  # plugged in
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(*sys.argv[1:])
