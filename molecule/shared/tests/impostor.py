"""A program of the application's user that stands in for its PM2: `impostor.py PM2_HOME MODE [APP PID PROGRAM]`.

It listens on PM2's socket. `rubbish` answers the first question that comes as this user with rubbish and takes the
socket away, so that a `pm2` command that is called for want of an answer finds no daemon and starts one. `names` says
that APP is one process, PID, which may be anybody's.
"""

import json
import os
import socket
import struct
import sys
from pathlib import Path

home, mode = sys.argv[1:3]
path = f"{home}/rpc.sock"


def frame(*arguments: bytes) -> bytes:
    return bytes([1 << 4 | len(arguments)]) + b"".join(struct.pack(">I", len(item)) + item for item in arguments)


def asker(connection: socket.socket) -> int:
    """Whose question it is."""
    return struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]


def processes() -> bytes:
    app, pid, program = sys.argv[3:6]
    env = {
        "name": app,
        "status": "online",
        "pm_id": 0,
        "exec_mode": "fork_mode",
        "pm_exec_path": program,
        "restart_time": 0,
        "unstable_restarts": 0,
        "pm_uptime": 1,
    }
    listed = [{"name": app, "pid": int(pid), "pm_id": 0, "monit": {"memory": 1 << 20, "cpu": 0}, "pm2_env": env}]
    return frame(b"j:" + json.dumps({"args": [listed]}).encode(), b"s:1:0")


server = socket.socket(socket.AF_UNIX)
server.bind(f"{path}.new")
server.listen(16)
Path(f"{path}.new").rename(path)
while True:
    connection, _ = server.accept()
    connection.settimeout(1)
    try:
        connection.recv(65536)
        if mode == "names":
            connection.sendall(processes())
        else:
            connection.sendall(b"\xffrubbish")
            if asker(connection) == os.getuid():
                Path(path).unlink()
                connection.close()
                break
    except OSError:
        pass
    connection.close()
