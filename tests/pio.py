# SPDX-License-Identifier: Apache-2.0
"""PlatformIO without a network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tinygen import platformio
from tinygen.files import write_files

QUIET = {"PLATFORMIO_SETTING_ENABLE_TELEMETRY": "no", "PLATFORMIO_DISABLE_UPGRADE_CHECK": "true"}
#: An address at which nothing answers: no network is there for PlatformIO.
OFFLINE = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}


def offline(folder: Path, build: Path) -> dict[str, str]:
    """The environment of a PlatformIO in `folder`, whose build tool the script of a project around `build` has made."""
    environment = {**os.environ, **QUIET, **OFFLINE, "PLATFORMIO_CORE_DIR": str(folder / "core")}
    write_files(folder / "project", platformio.project(build))
    script = folder / "project" / "platform" / "tools" / "offline.py"
    for said in ("made", "there already"):
        done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=True)
        assert said in done.stdout
    return environment


def pio(folder: Path, environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """What ``pio`` does with `words` in `folder`."""
    command = [sys.executable, "-m", "platformio", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
