"""A bridge for tests of calls: frames on real sockets, answered as a test says."""

import asyncio
import socket
import threading

import torch

from python_shim.wire.frames import FrameReader, pack


class Client:
    """The link, as far as calls use it."""

    connected = True

    def __init__(self):
        self.loop, self.told = asyncio.new_event_loop(), []
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()

    def notify(self, method, params):
        self.told.append((method, params))

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


class Bridge:
    """Takes connections of the call path; `on_call(link, header, body)` answers. With `straight`, a worker's own socket."""

    def __init__(self, path, on_call, straight=False):
        self.connection = {"socket": str(path), "port": 0, "token": "t", "segments": None}
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self.on_call, self._straight, self.links, self.headers = on_call, straight, [], []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                link = self._listener.accept()[0]
            except OSError:
                return
            self.links.append(link)
            threading.Thread(target=self._serve, args=(link,), daemon=True).start()

    def _serve(self, link):
        asked, reader = b"", FrameReader()
        try:
            while not self._straight and not asked.endswith(b"\r\n\r\n"):
                asked += link.recv(1)
            if not self._straight:
                link.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
            while data := link.recv(1 << 16):
                for header, body in reader.feed(data):
                    self.headers.append(header)
                    if "call" in header:
                        self.on_call(link, header, body)
        except OSError:
            return

    def close(self):
        with_all = [self._listener, *self.links]
        for each in with_all:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            each.close()


def answer(link, header, body=b"null", **more):
    link.sendall(pack({"id": header["id"], **more}, body))


def leased(calls):
    return calls.pool.usage()[0]


def call(calls, kwargs=None, method="FUNCTION", prompt="p", timeout=None):
    return calls.run("pack", "Node", method, "1", prompt, kwargs or {"image": torch.ones(1 << 20)}, timeout)


def until(condition, seconds=5.0):
    for _ in range(int(seconds / 0.01)):
        if condition():
            return True
        threading.Event().wait(0.01)
    return False
