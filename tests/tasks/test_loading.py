"""Import of TensorFlow, tested in a new process with stubs of the libraries."""

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
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job inherits SIG_IGN
{before}
try:
    import teacherlm_jax.tasks
except KeyboardInterrupt:
    print("interrupted")
else:
    print("not interrupted")
"""


def import_interrupted(folder, before="", then=""):
    """Interrupt a process while it imports TensorFlow; return its output lines and errors."""
    (folder / "seqio.py").write_text(SEQIO.format(then=then))
    (folder / "tensorflow.py").write_text(TENSORFLOW)
    code = f"import sys; sys.path.insert(0, {str(folder)!r})\n" + MAIN.format(before=before)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.split("\n")[:-1], done.stderr


def test_ctrl_c_takes_effect_after_a_silent_import_of_tensorflow(tmp_path):
    assert import_interrupted(tmp_path) == (["loaded", "interrupted"], "")


@pytest.mark.parametrize("handler", ["signal.SIG_IGN", "lambda number, frame: print('handled')"])
def test_another_handler_of_the_signal_is_called_after_the_import(tmp_path, handler):
    output, _ = import_interrupted(tmp_path, f"signal.signal(signal.SIGINT, {handler})")
    handled = ["handled"] if "handled" in handler else []
    assert output == ["loaded", *handled, "not interrupted"]


def test_standard_error_is_shown_if_the_import_fails(tmp_path):
    _, errors = import_interrupted(tmp_path, then="raise ImportError('no such library')")
    assert errors.startswith("noise of a library\n")
    assert errors.endswith("ImportError: no such library\n")


def test_tensorflow_can_be_imported_in_a_thread(tmp_path):
    (tmp_path / "seqio.py").write_text("")
    (tmp_path / "tensorflow.py").write_text(TENSORFLOW)
    code = (
        f"import sys, threading; sys.path.insert(0, {str(tmp_path)!r})\n"
        "thread = threading.Thread(target=lambda: __import__('teacherlm_jax.tasks'))\n"
        "thread.start(); thread.join()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
