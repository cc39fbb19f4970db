"""`python -m serving`: the embedded server with the flags of `tensorflow_model_server` that it knows."""

from __future__ import annotations

import argparse
import logging
import sys

from serving.server.admission_control import MAX_BODY_BYTES
from serving.server.flags import batching_option
from serving.server.rest_server import DEFAULT_PORT, RestServer
from serving.tfs_config.monitoring_config import monitoring_option
from serving.tfs_config.text_format import ServerConfigError


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
    parser.add_argument("--rest_api_max_body_bytes", type=int, default=MAX_BODY_BYTES, help="larger is 413")
    parser.add_argument("--file_system_poll_wait_seconds", type=float, default=1.0)
    parser.add_argument("--batching_parameters_file", help="with --enable_batching")
    parser.add_argument("--monitoring_config_file", help="whether and where Prometheus finds the metrics")
    # As TF Serving writes them: `--enable_batching`, `--enable_batching=true`, `--enable_batching=false`.
    for name in ("--enable_batching", "--rest_api_enable_cors_support"):
        parser.add_argument(name, type=_flag, nargs="?", const=True, default=False, metavar="BOOL")
    parser.add_argument(
        "--allow_version_labels_for_unavailable_models", type=_flag, nargs="?", metavar="BOOL", help="always so here"
    )
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
            max_body_bytes=args.rest_api_max_body_bytes,
            timeout_seconds=args.rest_api_timeout_in_ms / 1000,
            cors=args.rest_api_enable_cors_support,
            metrics_path=monitoring_option(args.monitoring_config_file),
            batching=batching_option(args.enable_batching, args.batching_parameters_file),
        ).serve_forever()
    except (ServerConfigError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _flag(text: str) -> bool:
    known = {"true": True, "1": True, "false": False, "0": False}
    if text.lower() not in known:
        raise argparse.ArgumentTypeError(f"must be true or false. Received: {text!r}.")
    return known[text.lower()]


if __name__ == "__main__":
    sys.exit(main())
