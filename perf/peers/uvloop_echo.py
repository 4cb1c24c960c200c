"""Peer: an echo server in Python's asyncio on uvloop, with a protocol object per connection.

Run:  uvloop_echo.py --port 7000       then connect anything to 127.0.0.1:7000

A peer that does not read is not read from either.
"""

import argparse
import asyncio
import os
import signal

import uvloop


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport  # TCP_NODELAY is uvloop's default

    def data_received(self, data):
        self.transport.write(data)

    def pause_writing(self):
        self.transport.pause_reading()

    def resume_writing(self):
        self.transport.resume_reading()


async def serve(port):
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, os._exit, 0)
    server = await loop.create_server(Echo, "127.0.0.1", port, backlog=4096)
    print(f"listening 127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(serve(options.port))


main()
