"""Packages that a notebook's runtime lacks, such as Colab's, which brings its own JAX.

A notebook imports this module before the packages that it names are installed, so it imports the
standard library only.
"""

import importlib.metadata
import re
import shlex

# Packages of the runtime whose versions belong together, and fit its GPU or TPU.
_KEPT = re.compile(r"numpy|jax|jaxlib|jax-cuda.*|libtpu.*")
_PLUGIN = re.compile(r"jax-(cuda\d+)-plugin|lib(tpu)")


def requirements(package: str = "teacherlm_jax") -> str:
    """Return the requirements of an installed package, for one call of pip in a runtime.

    The versions of NumPy, JAX and JAX's plugins that the runtime has are kept. Only if its JAX is
    older than the package needs, or missing, JAX is upgraded together with its GPU or TPU plugin,
    as `jax[cuda12]`, `jax[tpu]` or `jax[cpu]`.

    Args:
        package: name of the package, which may be installed without what it needs.

    Returns:
        Requirements with a space between them, quoted for a shell.

    Raises importlib.metadata.PackageNotFoundError if the package is not installed.
    """
    needed = [text for text in importlib.metadata.requires(package) or () if "extra ==" not in text]
    versions: dict[str, str] = {}
    for one in importlib.metadata.distributions():  # in the order in which Python imports them
        if one.name:  # an interrupted installation leaves a distribution without one
            versions.setdefault(one.name.replace("_", "-").lower(), one.version)
    oldest = next(match[1] for text in needed if (match := re.match(r"jax>=([\d.]+)", text)))
    kept = {name: version for name, version in versions.items() if _KEPT.fullmatch(name)}
    if _numbers(versions.get("jax", "0")) < _numbers(oldest):
        plugins = (_PLUGIN.fullmatch(name) for name in sorted(kept))
        plugin = next((match[1] or match[2] for match in plugins if match), "cpu")
        needed.append(f"jax[{plugin}]>={oldest}")
        kept = {name: version for name, version in kept.items() if name == "numpy"}
    return shlex.join([*needed, *(f"{name}=={version}" for name, version in kept.items())])


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)[:3]))
