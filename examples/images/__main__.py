"""
python -m examples.images: migrate, work, serve, or start it all.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import Callable, Mapping
from uuid import UUID

import psycopg

from examples.images import schema
from examples.images.migrate import MigrationError
from examples.images.seldom import Seldom
from examples.images.settings import Settings, SettingsError, read_settings

# What only some commands need is imported in them: the SDK and the web server take longer than all migrations together.

# Seconds.
_SELDOM = 60.0

_LOG_FORMAT = "%(asctime)s %(levelname)-7s %(message)s"


def migrate(settings: Settings, arguments: argparse.Namespace) -> int:
    """
    Bring the database up to date, or say what is to be done.
    """
    migrator = schema.migrator_of(settings.database_url, lambda line: print(f"  {line}", flush=True))
    if arguments.status:
        for status in migrator.status():
            print(f"  {status.state:<8} {status.label}")
        return 0
    done = migrator.up(arguments.to, dry_run=arguments.dry_run)
    print(f"  {len(done)} migrations {'to be run' if arguments.dry_run else 'run'}")
    return 0


def worker(settings: Settings, arguments: argparse.Namespace) -> int:
    """
    Draw the images of queued jobs, until told to stop.
    """
    from examples.images import bootstrap
    from examples.images.worker.signals import stop_at_signals

    async def work() -> None:
        async with bootstrap.worker_of(settings) as one:
            with stop_at_signals() as stop:
                await one.run(stop)

    asyncio.run(work())
    return 0


def api(settings: Settings, arguments: argparse.Namespace) -> int:
    """
    Serve the API and the page.
    """
    import uvicorn

    from examples.images import bootstrap

    config = uvicorn.Config(
        bootstrap.api_of(settings),
        host=settings.images_host,
        port=settings.images_port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=5,
    )
    # When all has been answered, uvicorn raises again what has ended it.
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run()
    return 0


def requeue(settings: Settings, arguments: argparse.Namespace) -> int:
    """
    Take a dead letter out, to be tried again.
    """
    from examples.images import bootstrap

    async def take_out() -> bool:
        async with bootstrap.operator_queue_of(settings) as jobs:
            return await jobs.requeue(arguments.job)

    if asyncio.run(take_out()):
        print(f"  job {arguments.job} is queued again")
        return 0
    return _failed(f"{arguments.job} is no dead letter; only what has failed for good can be queued again")


# As a shell tells it: 128 and the number of the signal.
_INTERRUPTED = 130

Command = Callable[[Settings, argparse.Namespace], int]

_COMMANDS: Mapping[str, Command] = {"migrate": migrate, "worker": worker, "api": api, "requeue": requeue}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m examples.images", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("start", help="start it all on this machine, with a database and a provider if none are set")
    for name, command in _COMMANDS.items():
        one = commands.add_parser(name, help=(command.__doc__ or "").strip())
        if name == "migrate":
            one.add_argument("--to", metavar="COMPONENT/NUMBER", help="the last one to run, such as frames/0003")
            one.add_argument("--dry-run", action="store_true", help="say what would be run, and change nothing")
            one.add_argument("--status", action="store_true", help="say how it stands with each")
        if name == "requeue":
            one.add_argument("job", type=UUID, help="the id of a dead letter")
    return parser


def main() -> int:
    arguments = _parser().parse_args()
    if arguments.command == "start":
        from examples.images.start.run import main as start

        return start()
    try:
        settings = read_settings(os.environ)
        logging.basicConfig(level=settings.images_log_level, format=_LOG_FORMAT)
        # Each request of each client is a line of theirs.
        logging.getLogger("httpx2").setLevel(logging.WARNING)
        # In an outage three lines a second. Nobody else knows why there is no connection, such as by a wrong password.
        logging.getLogger("psycopg.pool").addFilter(Seldom(_SELDOM))
        return _COMMANDS[arguments.command](settings, arguments)
    except (SettingsError, MigrationError) as error:
        return _failed(str(error))
    except psycopg.errors.UndefinedTable:
        return _failed("the database has not been migrated: run `python -m examples.images migrate`")
    # Such as a server that cannot be reached, a role that may not do this, a replica that takes no writes.
    except psycopg.Error as error:
        return _failed(" ".join(str(error).split()))
    except KeyboardInterrupt:
        _failed("interrupted; what was done stays done, and the same command goes on from there")
        return _INTERRUPTED


def _failed(why: str) -> int:
    for line in why.splitlines():
        print(f"error: {line}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
