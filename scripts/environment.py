"""Sets up .venv beside this folder, once; then runs a command inside it.

    python3 scripts/environment.py [--oldest] EXTRAS COMMAND [ARGUMENT ...]

EXTRAS are those of setup.cfg, comma-separated, or `-`. What was installed is
remembered in .venv/nst_tf.json: a second run starts at once. Where there is
no NVIDIA GPU, and TensorFlow has a wheel without CUDA for this machine, that
one is taken: it is half the size. --oldest takes the oldest versions that
setup.cfg promises, into .venv-oldest. Standard library only.
"""

import configparser
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST = (3, 11)  # Python


def requirements(extras: list[str], oldest: bool = False) -> list[str]:
    """What setup.cfg asks for, with the TensorFlow that fits this machine."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    wanted = config["options"]["install_requires"].split("\n")
    for extra in extras:
        wanted += config["options.extras_require"][extra].split("\n")
    wanted = [line.strip() for line in wanted if line.strip()]
    if oldest:
        wanted = [line.replace(">=", "==") for line in wanted]
    if shutil.which("nvidia-smi"):
        return [_tensorflow(line, "tensorflow[and-cuda]") for line in wanted]
    if sys.platform in ("linux", "win32") and platform.machine() in (
        "x86_64",
        "AMD64",
    ):
        return [_tensorflow(line, "tensorflow-cpu") for line in wanted]
    return wanted


def _tensorflow(requirement: str, package: str) -> str:
    if requirement.startswith(("tensorflow>=", "tensorflow==")):
        return requirement.replace("tensorflow", package)
    return requirement


def prepare(folder: Path, extras: list[str], oldest: bool) -> Path:
    """Makes a folder hold the extras, unless it does; its programs' folder."""
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    wanted = requirements(extras, oldest)
    digest = hashlib.sha256((ROOT / "setup.cfg").read_bytes()).hexdigest()
    stamp = {"python": platform.python_version(), "setup.cfg": digest}
    have: dict = {}
    remembered = folder / "nst_tf.json"
    if remembered.is_file():
        have = json.loads(remembered.read_text())
    installed = have.get("requirements", [])
    same = all(have.get(key) == value for key, value in stamp.items())
    if same and set(wanted) <= set(installed):
        return programs
    if not same:
        print(f"Making {folder.name}", file=sys.stderr, flush=True)
        venv.create(folder, clear=True, with_pip=True)
        installed = []
    print(f"Installing {', '.join(wanted)}", file=sys.stderr, flush=True)
    pip = [programs / "python", "-m", "pip", "--disable-pip-version-check"]
    install = [*pip, "install", "--quiet"]
    subprocess.run([*install, *wanted], check=True)
    subprocess.run([*install, "--no-deps", "--editable", ROOT], check=True)
    stamp["requirements"] = sorted({*installed, *wanted})
    remembered.write_text(json.dumps(stamp, indent=1))
    return programs


def main() -> int:
    if sys.version_info < OLDEST:
        have = platform.python_version()
        sys.exit(f"nst_tf needs Python 3.11 or newer; this is {have}.")
    given = sys.argv[1:]
    oldest = given[0] == "--oldest"
    extras, *command = given[oldest:]
    folder = ROOT / (".venv-oldest" if oldest else ".venv")
    try:
        wanted = [] if extras == "-" else extras.split(",")
        programs = prepare(folder, wanted, oldest)
    except subprocess.CalledProcessError as error:
        sys.exit(f"The set-up failed with pip's exit code {error.returncode}.")
    program = programs / command[0]
    environment = {
        **os.environ,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
    }
    os.execve(program, command, environment)


if __name__ == "__main__":
    main()
