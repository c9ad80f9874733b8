"""The package as it is installed."""

import re
import subprocess
import sys
from importlib import metadata
from importlib.resources import files
from pathlib import Path

import rowgate

HERE = Path(__file__).resolve().parents[1]


def test_it_is_typed_and_has_one_version() -> None:
    assert files("rowgate").joinpath("py.typed").is_file()
    assert f'\nversion = "{rowgate.__version__}"\n' in (HERE / "pyproject.toml").read_text()


def test_its_licence_is_in_the_wheel() -> None:
    installed = [str(file) for file in metadata.files("rowgate") or ()]
    assert [name for name in installed if name.endswith("LICENSE")], installed
    whole = HERE.parent.parent / "LICENSE"  # an sdist is without the repository
    assert not whole.exists() or (HERE / "LICENSE").read_bytes() == whole.read_bytes()


def test_generated_stubs_of_another_version_may_stand_beside_it(tmp_path: Path) -> None:
    """Stubs are in `rowgate/v1` without an `__init__.py`, and register their files with protobuf's own pool."""
    stubs = tmp_path / "rowgate" / "v1"
    stubs.mkdir(parents=True)
    (stubs / "value_pb2.py").write_text(
        "from google.protobuf import descriptor_pb2, descriptor_pool\n"
        "file = descriptor_pb2.FileDescriptorProto(name='rowgate/v1/value.proto', package='rowgate.v1')\n"
        "file.message_type.add(name='Value')\n"
        "descriptor_pool.Default().Add(file)\n"
    )
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import rowgate\nfrom rowgate.v1 import value_pb2\n"
        "from rowgate._values import encode\nassert encode(5).int64_value == 5\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)


def test_no_module_is_longer_than_four_hundred_lines() -> None:
    for file in [*(HERE / "src").rglob("*.py"), *(HERE / "tests").rglob("*.py")]:
        assert len(file.read_text().splitlines()) <= 400, file


def test_public_names_have_a_doc() -> None:
    for name in rowgate.__all__:
        found = getattr(rowgate, name)
        if isinstance(found, type) or callable(found):
            assert found.__doc__, name
    assert not [name for name in rowgate.__all__ if re.match("_", name)]
