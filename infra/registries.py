"""Connects to the registries that `make setup` installs from, and prints a line for each that cannot be reached.

Run as a program, with what is to be installed as arguments, it exits with 1 after such a line. With `failed` before
them it prints a line for each registry from which nothing could be installed. With `uv` it prints the shell's exports
that give uv the settings of pip, which uv does not read.
"""

import ast
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from threading import Thread
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

_SECONDS: Final = 4
"""For each address of a registry. A connection takes a fraction of one."""
_LONGEST: Final = 10
"""Seconds for all addresses, and for their names."""
_OTHER_SOURCES: Final = {"extra-index-url", "find-links", "no-index"}
"""Settings of pip with which an index that cannot be reached may not be needed."""
_UV_NAMES: Final = {
    "index-url": "UV_DEFAULT_INDEX",
    "trusted-host": "UV_INSECURE_HOST",
    "proxy": "HTTPS_PROXY",
    "cert": "SSL_CERT_FILE",
}
"""The variables of uv, by the setting of pip that they correspond to."""
_PORTS: Final = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}


@dataclass(frozen=True)
class Registry:
    """A registry as a tool's settings name it."""

    name: str
    url: str
    proxy: str | None
    command: str
    """What sets the URL."""

    def __str__(self) -> str:
        """Return the name and the URL, without the password that it can have."""
        return f"{self.name}, {_shown(self.url)},"

    @property
    def advice(self) -> str:
        """Return which setting is to be looked at, in one sentence."""
        if self.proxy:
            return "Set the proxy with HTTPS_PROXY and NO_PROXY."
        return f"Behind a mirror, name it: {self.command}."


def registries(parts: set[str]) -> Iterator[Registry]:
    """Yield the registries of `.venv` and `node_modules` that have to be reached."""
    if ".venv" in parts and not _OTHER_SOURCES & (settings := pip_settings()).keys():
        url = settings.get("index-url", "https://pypi.org/simple")
        yield Registry("PyPI", url, settings.get("proxy") or _proxy(url), "`pip config set global.index-url URL`")
    if "node_modules" in parts:
        settings = npm_settings()
        url = settings["registry"]
        own = settings.get("https-proxy") or settings.get("proxy")
        yield Registry("npm's registry", url, own or _proxy(url), "`npm config set registry URL`")


def pip_settings() -> dict[str, str]:
    """Return the settings of pip that its files and variables state: a variable comes before a file."""
    answer = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    stated = dict(line.split("=", 1) for line in answer.splitlines() if "=" in line)
    return {
        name.removeprefix(section): str(ast.literal_eval(value))
        for section in ("global.", "install.", ":env:.")
        for name, value in stated.items()
        if name.startswith(section)
    }


def npm_settings() -> dict[str, str]:
    """Return the settings of npm."""
    npm = shutil.which("npm") or "npm"
    answer = subprocess.run([npm, "config", "list", "--json"], capture_output=True, text=True, check=True).stdout
    settings: dict[str, str] = json.loads(answer)
    return settings


def problem(registry: Registry) -> str | None:
    """Return why nothing can be installed from a registry, in one line; None where it can be reached."""
    target = urlsplit(registry.proxy or registry.url)
    if target.scheme not in _PORTS or not target.hostname:
        return None
    address = target.hostname, target.port or _PORTS[target.scheme]
    reasons = [f"no answer in {_LONGEST} seconds"]

    def connect() -> None:
        try:
            socket.create_connection(address, _SECONDS).close()
        except OSError as error:
            reasons[:] = [error.strerror or str(error)]
        else:
            reasons.clear()

    # A name is looked up without a time limit.
    thread = Thread(target=connect, daemon=True)
    thread.start()
    thread.join(_LONGEST)
    if not reasons:
        return None
    through = f" through the proxy {_shown(registry.proxy)}" if registry.proxy else ""
    return f"{registry} cannot be reached{through}: {reasons[0]}. {registry.advice}"


def uv_exports(settings: Mapping[str, str], variables: Mapping[str, str]) -> Iterator[str]:
    """Yield an export for each setting of pip that the variables do not state for uv."""
    for name, variable in _UV_NAMES.items():
        if name in settings and variable not in variables:
            yield f"export {variable}={shlex.quote(settings[name])}"


def _proxy(url: str) -> str | None:
    """Return the proxy that the environment names for a URL."""
    parts, proxies = urlsplit(url), getproxies()
    if proxy_bypass(parts.hostname or ""):
        return None
    return proxies.get(parts.scheme) or proxies.get("all")


def _shown(url: str) -> str:
    """Return a URL without the password that it can have."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def main() -> int:
    """Run the program and return its exit status."""
    arguments = {*sys.argv[1:]}
    if "uv" in arguments:
        sys.stdout.write("\n".join(uv_exports(pip_settings(), os.environ)))
        return 0
    if "failed" in arguments:
        lines = [
            f"{each} answers, and the installation from it failed: {each.advice}" for each in registries(arguments)
        ]
    else:
        lines = [line for each in registries(arguments) if (line := problem(each))]
    sys.stderr.write("".join(f"{line}\n" for line in lines))
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
