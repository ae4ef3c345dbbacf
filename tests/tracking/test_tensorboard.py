import subprocess
import sys

from teacherlm_jax.tracking.tensorboard import EventWriter
from tests.tracking.events import events_of


def test_the_event_writer_imports_neither_torch_nor_tensorflow(tmp_path):
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from teacherlm_jax.tracking.tensorboard import EventWriter\n"
        "EventWriter(Path(sys.argv[1]), 1).add_settings({'a': 1})\n"
        "print([name for name in ('torch', 'tensorflow') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_every_event_is_on_disk_as_soon_as_it_is_added(tmp_path):
    writer = EventWriter(tmp_path, purge_step=3)
    writer.add_scalars({"train/loss": 1.5, "validation/x": 0.125}, 4)
    (path,) = tmp_path.iterdir()
    assert events_of(path) == [
        (3, "purge", None),
        (4, "train/loss", 1.5),
        (4, "validation/x", 0.125),
    ]
    writer.close()
    writer.close()
