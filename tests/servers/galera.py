"""Three MariaDB servers that replicate to one another with Galera, all on 127.0.0.1, for a run of tools/galera.

The first node makes the cluster; the others join it and get its data by rsync. A node that was killed joins again
when it is started. Needs the packages mariadb-server, galera-4 and rsync.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pymysql

from servers import mariadb
from servers.process import HOST, Server, find, free_port, private_directory

INSTALL = "no Galera: apt install mariadb-server galera-4 rsync"
NODES = 3
_PROVIDER = Path("/usr/lib/galera/libgalera_smm.so")


class NotInstalledError(RuntimeError):
    """A program or library of the cluster is not there."""


@dataclass(frozen=True)
class Node:
    """Where one node keeps its data, and where it listens: for clients, the group, and the two ways to its state."""

    directory: Path
    port: int = field(default_factory=free_port)
    group_port: int = field(default_factory=free_port)
    increments_port: int = field(default_factory=free_port)
    snapshot_port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        return f"mysql://root@{HOST}:{self.port}/test"

    def is_synced(self) -> bool:
        """Whether the node has what the cluster has, and answers."""
        with suppress(pymysql.MySQLError), closing(pymysql.connect(host=HOST, port=self.port, user="root")) as asked:
            cursor = asked.cursor()
            cursor.execute("SHOW STATUS LIKE 'wsrep_local_state_comment'")
            return cursor.fetchone() == ("wsrep_local_state_comment", "Synced")
        return False


@contextmanager
def cluster() -> Iterator[list[tuple[Server, str]]]:
    """The nodes, up and synced, and the URL of each; the test may kill one and start it again."""
    program = find("mariadbd", also_in=mariadb.PROGRAMS)
    if program is None or not _PROVIDER.exists() or find("rsync") is None:
        raise NotInstalledError(INSTALL)
    with private_directory("galera", mariadb.USER) as top, ExitStack() as running:
        nodes = [Node(top / str(number)) for number in range(NODES)]
        for each in (path for node in nodes for path in (node.directory, node.directory / "data")):
            each.mkdir()
            if os.geteuid() == 0:
                shutil.chown(each, mariadb.USER, mariadb.USER)
        mariadb.install(nodes[0].directory / "data", mariadb.USER)
        first = _server(program, nodes[0], nodes, "--wsrep-new-cluster")
        servers = [first, *(_server(program, node, nodes) for node in nodes[1:])]
        for server in servers:
            running.callback(server.kill)
            server.start()
        yield [(server, node.url) for server, node in zip(servers, nodes, strict=True)]


def _server(program: str, node: Node, nodes: Sequence[Node], *more: str) -> Server:
    group = f"{HOST}:{node.group_port}"
    provider = {
        "gmcast.listen_addr": f"tcp://{group}",
        "ist.recv_addr": f"{HOST}:{node.increments_port}",
        "ist.recv_bind": HOST,
        "gcache.size": "16M",
        "pc.recovery": "false",
    }
    settings = mariadb.settings(node.directory, node.port) | {
        "binlog-format": "ROW",
        "innodb-autoinc-lock-mode": 2,
        "wsrep-on": "ON",
        "wsrep-provider": _PROVIDER,
        "wsrep-cluster-name": "fsstore",
        "wsrep-cluster-address": "gcomm://" + ",".join(f"{HOST}:{each.group_port}" for each in nodes),
        "wsrep-node-address": group,
        "wsrep-sst-method": "rsync",
        "wsrep-sst-receive-address": f"{HOST}:{node.snapshot_port}",
        "wsrep-provider-options": ";".join(f"{name}={value}" for name, value in provider.items()),
    }
    flags = [f"--{name}={value}" for name, value in settings.items()]
    command = [program, "--no-defaults", *flags, *more]
    return Server(command, node.port, node.directory / "log", ready=node.is_synced, user=mariadb.USER)
