"""Others whom the broker tells things over HTTP: they keep what they are posted, and answer as told."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECONDS_MAX = 60


class Receiver:
    """A server on a free port that keeps each request; `statuses` are its next answers, then 200."""

    def __init__(self):
        self.requests, self.statuses = [], []
        self.arrived = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with receiver.arrived:
                    status = receiver.statuses.pop(0) if receiver.statuses else 200
                    receiver.requests.append((self.path, dict(self.headers.items()), body, status))
                    receiver.arrived.notify_all()
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    def accepted(self):
        """The bodies that were answered with 200."""
        return [body for _, _, body, status in self.requests if status == 200]

    def wait_for(self, look):
        """What `look` says, once it says anything."""
        deadline = time.monotonic() + SECONDS_MAX
        with self.arrived:
            while not (seen := look()):
                left = deadline - time.monotonic()
                assert left > 0, f"it did not come; {len(self.requests)} requests did"
                self.arrived.wait(left)
        return seen

    def jsons(self):
        return [json.loads(body) for body in self.accepted()]

    def close(self):
        self.server.shutdown()
        self.server.server_close()
