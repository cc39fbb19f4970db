"""`python -m serving`: the embedded server with the flags of `tensorflow_model_server` that it knows."""

from __future__ import annotations

import argparse
import logging
import sys

from serving.metrics import PROMETHEUS_PATH
from serving.model_config import ModelConfigError
from serving.rest_server import DEFAULT_PORT, RestServer


def main() -> int:
    """Runs the server until SIGINT or SIGTERM. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m serving", description=__doc__)
    parser.add_argument("--model_config_file", help="a models.config; read again when it changes")
    parser.add_argument("--model_name", default="default", help="with --model_base_path")
    parser.add_argument("--model_base_path", help="the folder that holds a folder a version")
    parser.add_argument("--rest_api_port", type=int, default=DEFAULT_PORT)
    parser.add_argument("--rest_api_host", default="127.0.0.1")
    parser.add_argument("--rest_api_timeout_in_ms", type=int, default=30_000)
    parser.add_argument("--rest_api_num_threads", type=int)
    parser.add_argument("--rest_api_enable_cors_support", action="store_true")
    parser.add_argument("--file_system_poll_wait_seconds", type=float, default=1.0)
    parser.add_argument("--no_metrics", action="store_true", help="no Prometheus page")
    args = parser.parse_args()
    if bool(args.model_config_file) == bool(args.model_base_path):
        parser.error("give --model_config_file or --model_base_path")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        RestServer(
            args.model_config_file or {args.model_name: args.model_base_path},
            args.rest_api_host,
            args.rest_api_port,
            poll_seconds=args.file_system_poll_wait_seconds,
            threads=args.rest_api_num_threads,
            timeout_seconds=args.rest_api_timeout_in_ms / 1000,
            cors=args.rest_api_enable_cors_support,
            metrics_path=None if args.no_metrics else PROMETHEUS_PATH,
        ).serve_forever()
    except (ModelConfigError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
