"""Package metadata. Ranges are wide on purpose; requirements.txt holds the pinned set.

Tried: torch 2.4.1, 2.6.0, 2.11.0, 2.13.0, 2.14.0 with their torchvision; docs/performance.md.

FastReID is not in ``install_requires``: its own pins (torch 1.13.1 among them) cannot be met
together with ours, so it is installed by itself, without dependencies: requirements-fastreid.txt.
"""

import ast
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent

VIZ = ["matplotlib>=3.8"]
EXPORT = ["onnx>=1.16", "onnxruntime>=1.18", "onnxscript>=0.2", "safetensors>=0.4"]
TIMM = ["timm>=1.0"]
SLURM = ["submitit>=1.5"]
TUNE = ["optuna>=4.0"]
UNSUPERVISED = ["scikit-learn>=1.4"]
HEIF = ["pillow-heif>=0.18"]
EXTRAS = {
    "viz": VIZ,
    "export": EXPORT,
    "timm": TIMM,
    "slurm": SLURM,
    "tune": TUNE,
    "heif": HEIF,
    "unsupervised": UNSUPERVISED,
    "dev": [
        "pytest>=8.0",
        "pytest-xdist>=3.5",
        "hypothesis>=6.100",
        "ruff>=0.9",
        "mypy>=1.11",
        *VIZ,
        *EXPORT,
        *TIMM,
        *SLURM,
        *TUNE,
        *HEIF,
        *UNSUPERVISED,
    ],
}


def read_version() -> str:
    """Returns ``__version__`` of the package from its source, without importing it."""
    tree = ast.parse((ROOT / "wrimnet" / "version.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__version__":
            return str(ast.literal_eval(node.value))
    raise ValueError('wrimnet/version.py has no line `__version__ = "..."`; add it')


setup(
    name="wrimnet",
    version=read_version(),
    description="WRIM-Net (ECCV 2024): visible-infrared person re-identification on FastReID",
    author="WRIM-Net codebase contributors",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["wrimnet", "wrimnet.*"]),
    package_data={
        "wrimnet": [
            "py.typed",
            "*/*.j2",
            "visualization/*.css",
            "visualization/*.js",
            "visualization/vendor/*",
            "lab/*/*.cpp",
        ]
    },
    install_requires=[
        "torch>=2.4",
        "torchvision>=0.19",
        "numpy>=1.26",
        "pillow>=10.0",
        "opencv-python-headless>=4.8",
        "scipy>=1.11",
        "scikit-learn>=1.3",
        "jinja2>=3.1",
        "tabulate>=0.9",
        "termcolor>=2.2",
        "tqdm>=4.66",
        "tensorboard>=2.14",
        "yacs>=0.1.8",
        "PyYAML>=6.0",
    ],
    extras_require=EXTRAS,
)
