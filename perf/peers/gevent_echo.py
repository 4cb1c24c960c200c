"""Peer: an echo server in Python with gevent, a greenlet per connection.

Run:  gevent_echo.py --port 7000       then connect anything to 127.0.0.1:7000
"""

import argparse
import os
import signal
import socket

import gevent
from gevent import server
from gevent import socket as gevent_socket


def echo(peer, _):
    buffer = bytearray(65536)
    view = memoryview(buffer)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        while count := peer.recv_into(buffer):
            peer.sendall(view[:count])
    except OSError:
        pass


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, os._exit, 0)
    listener = gevent_socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", options.port))
    listener.listen(4096)
    print(f"listening 127.0.0.1:{listener.getsockname()[1]}", flush=True)
    server.StreamServer(listener, echo).serve_forever()


main()
