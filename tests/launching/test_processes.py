import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from teacherlm_jax.launching import processes

LAUNCHER = """
import os, signal, sys
from pathlib import Path
from teacherlm_jax.launching import processes
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
environments = [{**os.environ, "NUMBER": str(number)} for number in range(2)]
command = [sys.executable, "-c", sys.argv[1]]
sys.exit(processes.run(processes.Job(command, environments, Path(sys.argv[2]), grace=5)))
"""
SAVES = """
import signal, sys, time
def save(number, frame):
    print("saved", flush=True)
    sys.exit(143)
signal.signal(signal.SIGTERM, save)
print("ready", flush=True)
time.sleep(60)
"""
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, lambda *_: print("no", flush=True))
print("ready", flush=True)
for _ in range(600): time.sleep(0.1)
"""


@pytest.fixture
def launch(tmp_path):
    def call(code, count=2, grace=5.0):
        environments = [{**os.environ, "NUMBER": str(number)} for number in range(count)]
        command = [sys.executable, "-c", f"import os, sys, time\nN = os.environ['NUMBER']\n{code}"]
        return processes.run(processes.Job(command, environments, tmp_path / "logs", grace))

    return call


@pytest.fixture
def launched(tmp_path):
    """Function that starts a launcher and waits until its two processes are ready."""

    def call(code):
        launcher = subprocess.Popen(
            [sys.executable, "-c", LAUNCHER, code, tmp_path / "logs"],
            stdout=subprocess.PIPE,
            text=True,
        )
        lines = [launcher.stdout.readline() for _ in range(3)]
        assert {"[0] ready\n", "[1] ready\n"} < set(lines)  # and the launcher's own line
        return launcher

    return call


def test_output_is_labelled_on_the_console_and_logged_by_process(launch, tmp_path, capfd):
    assert (
        launch("print('hello', N); print('[Gloo] noise'); print('to stderr', file=sys.stderr)") == 0
    )
    shown = capfd.readouterr().out
    assert "[0] hello 0\n" in shown and "[1] hello 1\n" in shown and "[1] to stderr\n" in shown
    assert "Gloo" not in shown
    kept = (tmp_path / "logs" / "process-1.txt").read_text().splitlines()
    assert sorted(kept) == ["[Gloo] noise", "hello 1", "to stderr"]


def has_ended(pid):
    """Return whether a process has ended, after giving the system a while to remove it."""
    return any(_ended(pid) or time.sleep(0.01) for _ in range(3000))


def _ended(pid):
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return status.rpartition(")")[2].split()[0] == "Z"


@pytest.fixture
def pids(tmp_path):
    """Function that reads the process ids that the test's code has noted."""
    return lambda: [int(path.read_text()) for path in sorted(tmp_path.glob("pid-*"))]


@pytest.fixture
def note(tmp_path):
    """Code that notes a process id in a file."""
    return f"note = lambda pid: open(f'{tmp_path}/pid-{{pid}}', 'w').write(str(pid))\n"


# Process 1 does not fail before process 0 has written its number.
WAIT = "import glob\nwhile N == '1' and not glob.glob({pattern!r}): time.sleep(0.01)\n"


def test_a_killed_process_ends_the_others(launch, pids, note, tmp_path, capfd):
    code = f"{note}N == '0' and note(os.getpid())\n" + WAIT.format(pattern=f"{tmp_path}/pid-*")
    assert launch(f"{code}if N == '1': os.kill(os.getpid(), 9)\ntime.sleep(600)") == 128 + 9
    (pid,) = pids()
    assert has_ended(pid)
    assert "launch: process 1 was killed by SIGKILL\n" in capfd.readouterr().out


def test_a_process_that_ignores_sigterm_is_killed_after_the_grace_time(
    launch, pids, note, tmp_path
):
    ignore = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    code = f"{ignore}{note}N == '0' and note(os.getpid())\n"
    code += WAIT.format(pattern=f"{tmp_path}/pid-*")
    assert launch(f"{code}if N == '1': sys.exit(7)\ntime.sleep(600)", grace=0.3) == 7
    (pid,) = pids()
    assert has_ended(pid)


def test_children_of_a_process_end_with_it(launch, pids, note):
    code = "import subprocess\nnote(subprocess.Popen(['sleep', '600']).pid)\nsys.exit(3)"
    assert launch(f"{note}{code}", count=1) == 3
    (pid,) = pids()
    assert has_ended(pid)


def test_a_log_that_cannot_be_written_is_named_and_the_output_is_still_shown(
    launch, tmp_path, capfd
):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "process-0.txt").symlink_to("/dev/full")
    assert launch("print('one', flush=True); print('two')", count=1) == 0
    shown = capfd.readouterr().out
    assert "[0] one\n" in shown and "[0] two\n" in shown
    assert shown.count("process-0.txt: No space left on device; the output is only shown") == 1


def test_a_message_of_all_processes_is_shown_once(launch, capfd):
    assert launch("print('teacherlm: no such folder')\nsys.exit(2)", count=3) == 2
    assert capfd.readouterr().out.count("teacherlm: no such folder") == 1


def test_a_process_that_finishes_first_is_not_a_failure(launch):
    assert launch("time.sleep(0.5 * int(N))") == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_lets_all_processes_save_and_decides_the_status(launched, number):
    launcher = launched(SAVES)
    launcher.send_signal(number)
    shown = launcher.communicate(timeout=30)[0]
    assert launcher.returncode == 128 + number
    assert "[0] saved" in shown and "[1] saved" in shown


def test_a_second_signal_kills_all_processes(launched):
    launcher = launched(STUBBORN)
    launcher.send_signal(signal.SIGINT)
    assert {launcher.stdout.readline() for _ in range(3)} >= {"[0] no\n", "[1] no\n"}
    launcher.send_signal(signal.SIGINT)
    launcher.communicate(timeout=30)
    assert launcher.returncode == 128 + signal.SIGINT


def test_commands_stop_when_the_launcher_is_killed(launched, pids, note):
    follow = "from teacherlm_jax.runs import parent_process\nparent_process.follow()\n"
    launcher = launched(f"import os\n{follow}{note}note(os.getpid()){SAVES}")
    launcher.kill()
    launcher.communicate()
    assert len(pids()) == 2 and all(map(has_ended, pids()))


def test_a_job_continues_if_the_launchers_output_is_closed(tmp_path):
    code = "import time; time.sleep(0.5); print('one'); print('two')"
    piped = 'set -o pipefail; "$@" | (exec <&-; sleep 0)'
    words = ["bash", "-c", piped, "-", sys.executable, "-c", LAUNCHER, code, tmp_path / "logs"]
    completed = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (completed.returncode, completed.stderr) == (0, "")
    for number in range(2):
        assert (tmp_path / f"logs/process-{number}.txt").read_text() == "one\ntwo\n"
