"""Faults on purpose. Every suite prints its seed; `TESTIMONY_FAULT_SEED=…` repeats it. See README.md."""

import ctypes.util
import shutil
import subprocess

import pytest
import rig


def pytest_report_header():
    return f"TESTIMONY_FAULT_SEED={rig.SEED}"


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """The scripted model server."""
    log = tmp_path_factory.mktemp("model") / "model.log"
    process = rig.end_to_end.Process(["scripted-model"], r"(http://\S+)\n", log)
    yield process.match.group(1)
    process.kill()


@pytest.fixture(scope="session")
def nearly_sealed(model, tmp_path_factory):
    """The directory of a stopped log that seals its first segment with the next calls."""
    folder = tmp_path_factory.mktemp("nearly-sealed")
    config = rig.configured(folder / "testimony.toml", 4 << 20)
    server = rig.Server(folder / "data", model, config)
    rig.fill_segment(server, rig.SEGMENT_RECORDS // 2 - 2)
    assert server.stop() == 0
    return folder / "data"


@pytest.fixture(autouse=True)
def nothing_stays_behind():
    yield
    rig.kill_all()


@pytest.fixture(scope="module")
def can_trace():
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    if subprocess.run([*rig.STRACE, "-o", "/dev/null", "-e", "inject=openat:error=EIO:when=99", "true"]).returncode:
        pytest.skip("this user may not trace processes")


@pytest.fixture(scope="module")
def eatmydata():
    if ctypes.util.find_library("eatmydata") is None:
        pytest.skip("eatmydata is not installed")
    return ["env", "LD_PRELOAD=libeatmydata.so"]


@pytest.fixture
def device(tmp_path):
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("mkfs.ext4 is not installed")
    device = rig.Device(tmp_path)
    if not device.attach():
        pytest.skip("this user may not mount a file system")
    yield device
    rig.kill_all()
    device.detach()


def pytest_sessionfinish():
    # A fixture that failed may have left a server.
    rig.kill_all()
