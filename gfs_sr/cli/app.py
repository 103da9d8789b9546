"""The commands joined to one program, and how it ends."""

import signal
import sys
import warnings
from types import FrameType

import typer

from gfs_sr.cli.build_dataset import build_dataset
from gfs_sr.cli.coarsen import coarsen
from gfs_sr.cli.console import fail, fail_otherwise
from gfs_sr.cli.demo import demo
from gfs_sr.cli.evaluate import evaluate
from gfs_sr.cli.inspect import inspect
from gfs_sr.cli.models import models
from gfs_sr.cli.sweep import sweep
from gfs_sr.cli.train import train
from gfs_sr.cli.upscale import upscale
from gfs_sr.cli.verify import verify
from gfs_sr.errors import Interrupted, UsageError

app = typer.Typer(
    name="gfs-sr",
    help="Super-resolution of weather-forecast fields: whole forecasts, without seams.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (upscale, inspect, verify, models, coarsen, build_dataset, evaluate, demo):
    app.command()(command)
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(sweep)
# its options are those of the configuration, which Lightning's own parser reads
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, add_help_option=False)(train)


def main() -> None:
    """The console script."""
    signal.signal(signal.SIGTERM, _interrupt)
    warnings.showwarning = _show_warning
    debug = "--debug" in sys.argv
    as_json = "--json" in sys.argv
    try:
        code = app(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except typer.Exit as ended:
        sys.exit(ended.exit_code)
    except SystemExit:
        raise
    except KeyboardInterrupt:
        fail(Interrupted("stopped by the user", "gfs-sr", "run the command again"), as_json=as_json)
    except Exception as error:
        usage = _as_usage_error(error)
        if usage is None:
            fail_otherwise(error, as_json=as_json, debug=debug)
        else:
            fail(usage, as_json=as_json)


def _show_warning(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    """One line on stderr, without the place in our code."""
    print(f"warning: {message}", file=sys.stderr)


def _as_usage_error(error: Exception) -> UsageError | None:
    """Typer's own complaint about the command line, in our form; None for anything else."""
    describe = getattr(error, "format_message", None)
    if describe is None:
        return None
    context = getattr(error, "ctx", None)
    command = "gfs-sr" if context is None else context.command_path
    return UsageError(describe() or "no command was given", command, f"see `{command} --help`")


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
