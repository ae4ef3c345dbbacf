"""Build the images of the Dockerfile as folders, in a bare Debian, and try them.

    make test-container                     # all targets; as root, with debootstrap and a network
    make test-container TARGETS=cpu FOLDER=/var/tmp/images

Every instruction runs as written, in a copy of the root folder of the stage before it. The images
take up to 15 GB of disk, and a finished target is removed again unless --keep is given.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests import dockerfile
from tests.pins import environment, pins_of

ROOT = Path(__file__).parents[1]
TINY = "configs/quickstart.py:tiny,root=/home/teacherlm/runs/quickstart"
PLANNED = "configs/teacher.py:1b1/stage2,root=/home/teacherlm/runs"
TRIED = {
    "cpu": (f"teacherlm quickstart --config={TINY}",),
    "tpu": (f"teacherlm plan --config={PLANNED} --topology=v5e:4x4",),
    "cuda": ("python -c 'import jax_cuda13_plugin, jax_plugins.xla_cuda13'",),
}


def missing():
    """Reason why this machine cannot build the images; empty if it can."""
    if os.geteuid() != 0:
        return "this needs root, for chroot and debootstrap"
    absent = [name for name in ("debootstrap", "unshare", "chroot") if not shutil.which(name)]
    return f"no {' and no '.join(absent)}; on Debian: apt-get install debootstrap" if absent else ""


def bare_debian(image, folder):
    """Root folder with the packages of an image such as debian:trixie-slim."""
    root = folder / "debian"
    suite = image.removeprefix("debian:").removesuffix("-slim")
    if not root.exists():
        print(f"== a bare Debian: {suite}", flush=True)
        part = folder / "debian.part"
        shutil.rmtree(part, ignore_errors=True)
        command = ["debootstrap", "--variant=minbase", suite, str(part)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        part.rename(root)
    return root


def forwarded(root):
    """Variables of a proxy, and its certificates, which are copied into a root folder."""
    names = ("http_proxy", "https_proxy", "no_proxy")
    found = {name: os.environ[name] for name in names if os.environ.get(name)}
    if os.environ.get("PIP_CERT"):
        shutil.copy(os.environ["PIP_CERT"], root / "opt" / "certificates.crt")
        found["PIP_CERT"] = "/opt/certificates.crt"
    return found


def differences(printed, target):
    """Lines of `pip list --format=freeze` that differ from the pinned versions, both ways."""
    machine, python = printed.splitlines()[0].split()
    pins = pins_of("gcs", environment(python, machine))
    if target != "cpu":
        pins |= pins_of(target, environment(python, machine))
    installed = dict(line.split("==") for line in printed.lower().splitlines()[1:])
    installed = {name.replace("_", "-").replace(".", "-"): v for name, v in installed.items()}
    for name in ("pip", "teacherlm-jax"):
        installed.pop(name)
    return sorted(set(pins.items()) ^ set(installed.items()))


def check(roots, target):
    """Raise AssertionError if an image lacks anything that a user of it needs."""
    version = "import platform as p; print(p.machine(), p.python_version())"
    frozen = roots.run(target, f'python -c "{version}" && pip list --format=freeze')
    assert not differences(frozen, target), differences(frozen, target)
    print(f"{target}: {len(frozen.splitlines()) - 3} packages, all as pinned")
    print(f"{target}: {roots.run(target, 'pip check').strip()}")
    assert roots.run(target, "id -un").strip() == "teacherlm"
    assert roots.settings[target]["entrypoint"] == ["teacherlm"]
    start = time.monotonic()
    roots.run(target, "teacherlm --help")
    print(f"{target}: teacherlm --help takes {time.monotonic() - start:.2f} s")
    for command in TRIED[target]:
        start = time.monotonic()
        last = roots.run(target, command).strip().splitlines()[-5:]
        print(f"{target}: {command}: {time.monotonic() - start:.0f} s", *last, sep="\n  ")
    size = subprocess.run(["du", "-sm", roots.folder / target], capture_output=True, text=True)
    print(f"{target}: {int(size.stdout.split()[0]) / 1000:.1f} GB", flush=True)


def main():
    """Build and check the targets of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("targets", nargs="*", default=list(TRIED), help="default: all")
    parser.add_argument("--folder", type=Path, help="for the images; default: a temporary one")
    parser.add_argument("--keep", action="store_true", help="keep the finished targets")
    options = parser.parse_args()
    if reason := missing():
        print(f"test-container: not run: {reason}", file=sys.stderr)
        return 2
    found = dockerfile.stages((ROOT / "Dockerfile").read_text(encoding="utf-8"))
    (image,) = {dockerfile.image_of(target, found) for target in TRIED}
    with tempfile.TemporaryDirectory(dir="/var/tmp") as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        debian = bare_debian(image, folder)
        head = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
        commit = subprocess.run(head, capture_output=True, text=True, check=True).stdout.strip()
        values = ({image: debian}, {"COMMIT": commit}, forwarded(debian))
        roots = dockerfile.Roots(found, ROOT, folder, *values)
        for target in options.targets:
            roots.build(target)
            check(roots, target)
            if not options.keep:
                shutil.rmtree(folder / target)
    print(f"test-container: {', '.join(options.targets)}: passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
