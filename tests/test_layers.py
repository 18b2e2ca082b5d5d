"""Imports run down, and each outside service has one door."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from methods.registry import method_class, method_names

ROOT = Path(__file__).parent.parent
DOORS = {
    "ray": {"orchestrator/executors/ray_pool.py", "orchestrator/cluster/"},
    "optuna": {f"orchestrator/search/{name}.py" for name in ("cell_search", "optuna_parts", "sampler_view")},
    "mlflow": {"orchestrator/tracking/"},
}
METHOD_PACKAGES = {method_class(name).__module__.split(".")[1] for name in method_names()}
LIGHT = (
    "methods",
    "methods.contract",
    "methods.registry",
    "methods.task_spec",
    "methods.networks.catalog",
    "methods.data.catalog",
    "orchestrator",
    "orchestrator.cli",
    "orchestrator.spec",
    "orchestrator.spec.study_file",
)


def _imports(path: Path) -> Iterator[str]:
    """Absolute names of all modules a file imports, also inside functions; type-checking imports included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write it in full"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("path", _sources("methods"), ids=lambda p: str(p.relative_to(ROOT)))
def test_methods_know_nothing_of_the_orchestrator_or_its_services(path: Path) -> None:
    above = {"orchestrator", "tests", *DOORS}
    assert {name for name in _imports(path) if name.split(".")[0] in above} == set()


@pytest.mark.parametrize("path", _sources("methods"), ids=lambda p: str(p.relative_to(ROOT)))
def test_no_method_imports_another(path: Path) -> None:
    own = path.relative_to(ROOT / "methods").parts[0].removesuffix(".py")
    others = {f"methods.{name}" for name in METHOD_PACKAGES - {own}}
    if own == "registry":
        return
    reached = {".".join(name.split(".")[:2]) for name in _imports(path)}
    assert reached & others == set()


@pytest.mark.parametrize("path", _sources("orchestrator"), ids=lambda p: str(p.relative_to(ROOT)))
def test_each_service_is_imported_in_its_door_alone(path: Path) -> None:
    place = str(path.relative_to(ROOT))
    for service, doors in DOORS.items():
        if not place.startswith(tuple(doors)):
            assert service not in {name.split(".")[0] for name in _imports(path)}, f"{place} imports {service}"


def test_no_circle_of_imports_between_modules() -> None:
    graph = {
        _module(path): _module_level_imports(path)
        for package in ("methods", "orchestrator")
        for path in _sources(package)
    }
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, f"circle: {' -> '.join([*trail[trail.index(module) :], module])}"
        if module in done:
            return
        for needed in sorted(graph[module] & set(graph)):
            visit(needed, (*trail, module))
        done.add(module)

    for module in graph:
        visit(module, ())


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _module_level_imports(path: Path) -> set[str]:
    """Imports that run when the module is loaded: not those for type checkers, not those inside functions."""
    names: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names - {_module(path)}


@pytest.mark.parametrize("module", LIGHT)
def test_checking_a_study_loads_no_heavy_package(module: str) -> None:
    heavy = "{'torch', 'ray', 'optuna', 'mlflow', 'sklearn', 'matplotlib', 'scipy'}"
    code = f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == "[]"


def test_configurations_of_methods_load_no_torch() -> None:
    code = (
        "import sys; from methods.registry import method_names, config_class; "
        "[config_class(name) for name in method_names()]; print('torch' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == "False"
