"""The database of the sandbox's accounting: a private mariadbd, apart from any MySQL that is installed.

It has no port and no passwords. Its socket lies in a directory that is closed to everybody else, and
slurmdbd, which runs as the same user, is its only client.
"""

import subprocess
from pathlib import Path

from launcher.errors import MissingPart, SandboxError
from launcher.sandbox.unix_users import caller, program

_SYSTEM_TABLES = "mysql_system_tables.sql"


def command(directory: Path) -> list[str]:
    """The argument list of mariadbd, which runs in the foreground.

    Args:
        directory: Where all that is the database's lies.
    """
    return [
        program("mariadbd"),
        "--no-defaults",
        f"--datadir={directory / 'data'}",
        f"--user={caller().pw_name}",
        f"--socket={socket(directory)}",
        f"--pid-file={directory / 'pid'}",
        "--skip-networking",
        "--skip-grant-tables",
        "--skip-log-bin",
        # Nothing here need outlast this machine's next crash.
        "--innodb-flush-method=nosync",
        "--innodb-flush-log-at-trx-commit=0",
        "--innodb-log-file-size=8M",
    ]


def socket(directory: Path) -> Path:
    """The unix socket on which mariadbd listens."""
    return directory / "socket"


def make(directory: Path) -> None:
    """Make an empty database. Blocks for some 300 ms.

    Args:
        directory: A directory that is not there yet.

    Raises:
        MissingPart: The server's SQL files are not installed.
        SandboxError: mariadbd refused; the message holds the tail of what it said.
    """
    tables = _system_tables()
    directory.mkdir(mode=0o700)
    (directory / "data").mkdir(mode=0o700)
    # What mariadb-install-db does is of no use here: passwords, help texts, test tables.
    statements = f"CREATE DATABASE mysql;\nUSE mysql;\n{tables.read_text(encoding='utf-8')}"
    done = subprocess.run(
        [*command(directory), "--bootstrap"],
        check=False,
        input=statements,
        capture_output=True,
        text=True,
        start_new_session=True,
    )
    if done.returncode:
        raise SandboxError(
            "The database of Slurm's accounting could not be made.",
            why="\n".join(done.stderr.splitlines()[-10:]),
        )


def _system_tables() -> Path:
    share = Path(program("mariadbd")).resolve().parents[1] / "share"
    for name in ("mysql", "mariadb"):
        if (share / name / _SYSTEM_TABLES).is_file():
            return share / name / _SYSTEM_TABLES
    raise MissingPart(
        f"{_SYSTEM_TABLES} of MariaDB is not installed.",
        todo="On Debian: apt-get install mariadb-server-core",
    )
