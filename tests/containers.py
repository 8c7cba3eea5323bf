"""Containers for jobs, and code to run in them."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from described import described

from lingotune.launch.render.request import to_request
from lingotune.launch.simulator.container import Container, host_names, lay_out

TORCHRUN = ("cluster=p3_16xl",)


PLAIN = ("cluster=p3_2xl", "cluster.distribution=none")


def packed(**files: str) -> bytes:
    """A code archive; `train` stands for train.py."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for name, text in files.items():
            ending = ".txt" if name == "requirements" else ".py"
            member = tarfile.TarInfo(name + ending)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return archive.getvalue()


def containers(
    folder: Path, overrides: tuple[str, ...], code: bytes, job: bytes = b"job"
) -> list[Container]:
    """A container for each host of the job of overrides."""
    described_job = described(*overrides)
    request = to_request(described_job)
    channel = dict(described_job.channels)["config"]
    objects = {described_job.code_uri: code, f"{channel}job.yaml": job}
    hosts = host_names(request)
    return [
        lay_out(request, objects, folder / name, hosts=hosts, current_host=name) for name in hosts
    ]


STUBBORN = """
import os, signal, subprocess, sys, time
from pathlib import Path
signal.signal(signal.SIGTERM, lambda *_: Path(os.environ["SM_MODEL_DIR"], "told").touch())
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"], start_new_session=True)
os.write(1, f"at work: {os.getpid()}\\n".encode())  # one write: lines of two ranks stay two
while True:
    time.sleep(1)
"""
