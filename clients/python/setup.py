"""Compiles the contract into `rowgate/_proto/rowgate.binpb` when a wheel or an sdist is built.

In a clone the contract is in ../../proto; an sdist carries its own copy in proto/, beside the error details that are there
in both.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

HERE = Path(__file__).resolve().parent
OWN = HERE / "proto"
CONTRACT = HERE.parent.parent / "proto"
FILES = ["google/rpc/status.proto", "google/rpc/error_details.proto"]
FILES += [f"rowgate/v1/{name}.proto" for name in ("database", "error", "server", "value")]


def compile_contract(target: Path) -> None:
    """Writes the descriptor set of the contract, with all that it imports."""
    import grpc_tools
    from grpc_tools import protoc

    known = Path(grpc_tools.__file__).parent / "_proto"
    roots = [root for root in (OWN, CONTRACT, known) if root.is_dir()]
    target.parent.mkdir(parents=True, exist_ok=True)
    words = ["protoc", *(f"-I{root}" for root in roots), "--include_imports", f"--descriptor_set_out={target}", *FILES]
    if protoc.main(words) != 0:
        raise SystemExit("the contract does not compile: see the lines above")


class BuildWithContract(build_py):
    """Generates the descriptor set beside the sources of the package, where an editable install reads it too."""

    def run(self) -> None:
        compile_contract(HERE / "src" / "rowgate" / "_proto" / "rowgate.binpb")
        super().run()


class SdistWithContract(sdist):
    """Adds the contract to the archive."""

    def make_release_tree(self, base_dir: str, files: object) -> None:
        super().make_release_tree(base_dir, files)
        for root in (CONTRACT, OWN):
            for name in FILES:
                if (root / name).is_file():
                    copy = Path(base_dir, "proto", name)
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(root / name, copy)


setup(cmdclass={"build_py": BuildWithContract, "sdist": SdistWithContract})
