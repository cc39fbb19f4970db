"""TensorBoard in this process, with a page to begin with that sets what its links have no place for."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

START = "/start"
# A day is no step of noise to be smoothed away, and the newest is no outlier to be cut off.
_FIRST_PAGE = "/#custom_scalars&_smoothingWeight=0"
_KEPT = {"_ignoreYOutliers": "false"}  # of the pages Custom Scalars and Scalars, in the browser's storage
_SETTINGS, _TIME_SERIES = "_tb_global_settings", {"ignoreOutliers": False, "scalarSmoothing": 0}
# TensorBoard keeps 10 texts and 1,000 scalars of each tag, and throws the others away: here each is a day.
_SAMPLES = "text=1000,scalars=100000,histograms=1000"

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_PAGE = f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>TensorBoard: the days</title></head>
<body><p><a href="{_FIRST_PAGE}">The days</a></p>
<script>
try {{
  for (const [name, value] of Object.entries({json.dumps(_KEPT)})) localStorage.setItem(name, value);
  const settings = JSON.parse(localStorage.getItem("{_SETTINGS}") || "{{}}");
  localStorage.setItem("{_SETTINGS}", JSON.stringify({{...settings, ...{json.dumps(_TIME_SERIES)}}}));
}} catch (error) {{ console.warn(error); }}
location.replace("{_FIRST_PAGE}");
</script></body></html>
""".encode()


class PortError(ValueError):
    """The port can't be had; the message says why."""


def launch(logs: Path, host: str, port: int) -> str:
    """Serves what is under `logs` from a thread that ends with the process; returns the page to begin with.

    Raises:
      PortError: `port` is taken.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of third parties, which nobody who looks at curves can help
        from tensorboard import program

        board = program.TensorBoard(server_class=_serve)
        options = {"logdir": str(logs), "host": host, "port": str(port), "samples_per_plugin": _SAMPLES}
        board.configure(argv=("tensorboard", *(f"--{name}={value}" for name, value in options.items())))
        try:
            board.launch()
        except program.TensorBoardServerException as error:
            raise PortError(str(error)) from None
    return f"http://{host}:{port}{START}"


def _serve(app: Wsgi, flags: Any) -> Any:
    from tensorboard import program

    return program.WerkzeugServer(with_start(app), flags)


def with_start(app: Wsgi) -> Wsgi:
    """`app` with the page `START` beside its own."""

    def answer(request: Mapping[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if request.get("PATH_INFO") != START:
            return app(dict(request), start_response)
        start_response("200 OK", [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(_PAGE)))])
        return [_PAGE]

    return answer
