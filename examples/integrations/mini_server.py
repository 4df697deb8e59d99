"""A server of chat completions with the mini model, one answer at a time.

usage: python examples/integrations/mini_server.py [PORT]
"""

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import torch

from rlef.engines.load import load_model, load_tokenizer
from rlef.environment import ChatFormat


class Handler(BaseHTTPRequestHandler):
    model, chat, lock = (
        load_model("mini", "cpu"),
        ChatFormat(load_tokenizer("mini")),
        threading.Lock(),
    )

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        messages = [{"role": m["role"], "content": str(m["content"])} for m in asked["messages"]]
        prompt = torch.tensor([self.chat.rendered_ids(messages)])
        heat = asked.get("temperature", 1.0)
        with self.lock:
            torch.manual_seed(len(prompt[0]))
            words = {"do_sample": True, "temperature": heat} if heat else {"do_sample": False}
            out = self.model.generate(prompt, max_new_tokens=96, **words)[0, len(prompt[0]) :]
        text = self.chat.answer_text(out.tolist())
        used = {"prompt_tokens": len(prompt[0]), "completion_tokens": len(out)}
        used["total_tokens"] = sum(used.values())
        choice = {"index": 0, "message": {"role": "assistant", "content": text}}
        choice["finish_reason"] = "stop"
        self.reply(
            {"id": "1", "object": "chat.completion", "created": 0, "model": asked["model"]}
            | {"choices": [choice], "usage": used}
        )

    def do_GET(self) -> None:
        self.reply({"object": "list", "data": [{"id": "mini", "object": "model"}]})

    def reply(self, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def serving(port: int = 0) -> Iterator[str]:
    """Yields the server's URL."""
    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        server.shutdown()


if __name__ == "__main__":
    with serving(int(sys.argv[1]) if sys.argv[1:] else 8411) as url:
        print(url, flush=True)
        threading.Event().wait()
