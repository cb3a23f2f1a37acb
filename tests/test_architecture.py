"""The packages import each other downwards only, and their modules are where a reader expects them."""

import ast
from functools import cache
from pathlib import Path

import pytest

import samplernn_theano

ROOT = Path(samplernn_theano.__file__).parent
NAME = ROOT.name

# From the top down: a package imports those below it, never those above or beside it.
ORDER = [
    {"cli"},
    {"reproduction"},
    {"search", "listening", "verification"},
    {"training"},
    {"generation"},
    {"evaluation"},
    {"checkpoints"},
    {"models"},
    {"backends"},
    {"data"},
    {"original"},
    {"config"},
    {"utils"},
]
FLOOR = {package: -i for i, level in enumerate(ORDER) for package in level}
PACKAGES = sorted(FLOOR)


def module_name(path: Path) -> str:
    parts = (NAME, *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}


def package_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


@cache
def imports(module: str, in_functions: bool = True) -> list[tuple[str, str]]:
    """The (module, name) pairs that a module of this package imports from this package."""
    found: list[tuple[str, str]] = []

    def visit(node: ast.AST, inside: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.ImportFrom) and (child.module or "").split(".")[0] == NAME:
                if in_functions or not inside:
                    for alias in child.names:
                        whole = f"{child.module}.{alias.name}"
                        found.append((whole, "") if whole in MODULES else (str(child.module), alias.name))
            visit(child, inside or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda))

    visit(ast.parse(MODULES[module].read_text(encoding="utf-8")), False)
    return found


def longest_chain(in_functions: bool) -> list[str]:
    """The longest chain of modules each of which imports the next."""

    @cache
    def chain(module: str) -> list[str]:
        below = {imported for imported, _ in imports(module, in_functions)} - {module}
        return [module, *max((chain(m) for m in sorted(below)), key=len, default=[])]

    return max((chain(module) for module in MODULES), key=len)


def test_every_package_has_a_floor_and_one_sentence():
    folders = {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()}
    assert folders == set(PACKAGES)
    for package in PACKAGES:
        tree = ast.parse((ROOT / package / "__init__.py").read_text(encoding="utf-8"))
        sentence = (ast.get_docstring(tree) or "").split("\n\n")[0]
        assert sentence.endswith(".") and ". " not in sentence, package
        assert len(tree.body) == 1, f"{package}/__init__.py holds more than its sentence"


@pytest.mark.parametrize("module", MODULES)
def test_arrows_between_packages_point_down_and_private_names_stay_at_home(module):
    own = package_of(module)
    for imported, name in imports(module):
        assert not name.startswith("_") or name == "__version__", f"{module} imports {imported}.{name}"
        other = package_of(imported)
        front_door = module in (NAME, f"{NAME}.__main__", f"{NAME}.api")
        below = front_door or other in {own, "errors"} or FLOOR[other] < FLOOR[own]
        assert below, f"{module} imports {imported}"


def test_chains_of_imports_are_short():
    assert len(longest_chain(in_functions=True)) <= 12, longest_chain(True)
    assert len(longest_chain(in_functions=False)) <= 10, longest_chain(False)


def test_no_module_is_longer_than_400_lines():
    long = {m: n for m, p in MODULES.items() if (n := len(p.read_text(encoding="utf-8").splitlines())) > 400}
    assert not long and len(list(ROOT.glob("*.py"))) <= 8


def test_no_two_modules_have_the_same_name_and_another_meaning():
    names: dict[str, list[str]] = {}
    for module in MODULES:
        # Commands are named as what they call: cli/generate.py calls generation/generate.py.
        if package_of(module) != "cli" and MODULES[module].stem != "__init__":
            names.setdefault(module.rpartition(".")[2], []).append(module)
    assert not {name: same for name, same in names.items() if len(same) > 1}


def test_what_is_in_utils_has_several_users():
    for module in (m for m in MODULES if package_of(m) == "utils" and m != f"{NAME}.utils"):
        users = {package_of(m) for m in MODULES if any(i == module for i, _ in imports(m))}
        assert len(users - {"utils"}) > 1, f"{module} is used by {users}"
