"""What labs leave out is indeed not used by what they use."""

import subprocess
import sys

START = "from jld_lab import imports; imports.leave_out(); import jld_lab.server, jld_lab.frontend\n"


def run(code: str) -> str:
    """Run code in an interpreter of its own, as a lab's."""
    done = subprocess.run([sys.executable, "-I", "-c", START + code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_left_out() -> None:
    """A lab's server is imported without the hub's database and handlers, and without Yarn."""
    loaded = run("import sys; print(*(name for name, module in sys.modules.items() if hasattr(module, '__file__')))")
    for name in ("sqlalchemy", "alembic", "jupyterhub.handlers", "jupyterlab.labapp", "requests"):
        assert name not in loaded.split()


def test_scopes_are_checked_without_a_database() -> None:
    """JupyterHub's check of who may enter a lab decides without what is left out."""
    code = (
        "from jupyterhub.services.auth import check_scopes\n"
        "for scope in ('server=alice/', 'user=alice', 'server=bob/', 'group=astronomers'):\n"
        "    print(bool(check_scopes(['access:servers!server=alice/', 'access:servers!user=alice'],\n"
        "        [f'access:servers!{scope}'])))\n"
        "print(bool(check_scopes(['access:servers!server=alice/'], ['access:servers'])))\n"
        "print(bool(check_scopes(['access:servers!server=alice/'], [])))"
    )
    assert run(code).split() == ["True", "True", "False", "False", "True", "False"]


def test_use_of_what_is_left_out_fails_loudly() -> None:
    """Whatever a stand-in does not hold is an error, not a silent None."""
    assert "left out of labs" in run(
        "from jupyterhub import orm\ntry:\n    orm.User\nexcept AttributeError as error:\n    print(error)"
    )
