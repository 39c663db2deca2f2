"""Settings that all tests share. Tests that need real data skip without MIALAB_DATA."""

import os
import signal

import pytest

# A shell that runs tests in the background has interrupts ignored, in all that it starts; tests send some.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Toys are computed in this process, where tests patch them; tests of processes say how many they want.
os.environ.setdefault("MIALAB_CORES", "1")


@pytest.fixture(scope="session", autouse=True)
def state(tmp_path_factory):
    """Where executed chapters and trained models go: the Makefile's folder, else a temporary one."""
    folder = os.environ.setdefault("MIALAB_STATE", str(tmp_path_factory.mktemp("state")))
    os.environ.setdefault("MIALAB_STORE", f"{folder}/store")
    return folder
