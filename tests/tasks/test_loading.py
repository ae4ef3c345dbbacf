"""The loading of TensorFlow, in a process of its own and with stand-ins that load at once."""

import subprocess
import sys

import pytest

SEQIO = """
import os, signal, time
os.write(2, b"noise of a library\\n")
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.1)
except KeyboardInterrupt:
    print("swallowed")
{then}
print("loaded")
"""
TENSORFLOW = """
class config:
    set_visible_devices = staticmethod(lambda devices, kind: None)
"""
MAIN = """
{before}
try:
    import teacherlm_jax.tasks
except KeyboardInterrupt:
    print("interrupted")
else:
    print("not interrupted")
"""


def told(folder, before="", then=""):
    """What a process says that is interrupted while it loads TensorFlow: output and errors."""
    (folder / "seqio.py").write_text(SEQIO.format(then=then))
    (folder / "tensorflow.py").write_text(TENSORFLOW)
    code = f"import sys; sys.path.insert(0, {str(folder)!r})\n" + MAIN.format(before=before)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.split("\n")[:-1], done.stderr


def test_ctrl_c_waits_for_tensorflow_and_nothing_is_said_of_its_loading(tmp_path):
    assert told(tmp_path) == (["loaded", "interrupted"], "")


@pytest.mark.parametrize("handler", ["signal.SIG_IGN", "lambda number, frame: print('handled')"])
def test_a_signal_that_is_handled_otherwise_still_is(tmp_path, handler):
    output, _ = told(tmp_path, f"import signal; signal.signal(signal.SIGINT, {handler})")
    handled = ["handled"] if "handled" in handler else []
    assert output == ["loaded", *handled, "not interrupted"]


def test_what_is_written_while_loading_fails_is_shown(tmp_path):
    _, errors = told(tmp_path, then="raise ImportError('no such library')")
    assert errors.startswith("noise of a library\n")
    assert errors.endswith("ImportError: no such library\n")


def test_another_thread_than_the_first_can_load_it(tmp_path):
    (tmp_path / "seqio.py").write_text("")
    (tmp_path / "tensorflow.py").write_text(TENSORFLOW)
    code = (
        f"import sys, threading; sys.path.insert(0, {str(tmp_path)!r})\n"
        "thread = threading.Thread(target=lambda: __import__('teacherlm_jax.tasks'))\n"
        "thread.start(); thread.join()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
