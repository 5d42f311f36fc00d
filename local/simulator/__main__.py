"""`python -m local.simulator`: serves until SIGTERM or SIGINT, then removes its files."""

import argparse
import signal
import threading
from pathlib import Path
from types import FrameType

from .engine import Engine
from .server import Server, tls_context
from .settings import Settings
from .world import World


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m local.simulator", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--batch-seconds", type=float, default=5.0, help="how long a batch takes")
    parser.add_argument("--seed", type=int, default=0, help="for the order of results")
    parser.add_argument("--journal", type=Path, help="appends a JSON line for each call")
    parser.add_argument("--certfile", type=Path, help="serves over TLS with this certificate")
    parser.add_argument("--keyfile", type=Path, help="its key, if not in the same file")
    return parser.parse_args()


def main() -> None:
    arguments = _arguments()
    settings = Settings(batch_seconds=arguments.batch_seconds, seed=arguments.seed)
    tls = tls_context(arguments.certfile, arguments.keyfile) if arguments.certfile else None
    engine = Engine(settings, arguments.journal)
    try:
        server = Server((arguments.host, arguments.port), World(engine), tls)
        stop = threading.Event()

        def finish(number: int, frame: FrameType | None) -> None:
            stop.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, finish)
        threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
        print(f"simulator listening on {server.url}", flush=True)
        stop.wait()
        server.shutdown()
        server.server_close()
    finally:
        engine.close()


if __name__ == "__main__":
    main()
