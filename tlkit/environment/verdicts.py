"""From facts to findings, in groups, with commands as this machine's shell takes them."""

from __future__ import annotations

import dataclasses
import re

from tlkit.environment.clashes import judge_clashes
from tlkit.environment.finding import Finding
from tlkit.environment.folders import judge_disk, judge_folders
from tlkit.environment.gpu import judge_gpu
from tlkit.environment.installation import judge_installation
from tlkit.environment.interpreter import Interpreter, judge_interpreter
from tlkit.environment.keras_settings import judge_keras_settings
from tlkit.environment.machine import Machine
from tlkit.environment.network import judge_network
from tlkit.environment.packages import judge_packages
from tlkit.environment.resources import judge_resources
from tlkit.environment.tensorflow_import import judge_tensorflow


def judge(machine: Machine) -> dict[str, list[Finding]]:
    """Judge everything, in the groups that a reader looks for."""
    settings = judge_keras_settings(machine.settings)
    tensorflow = judge_tensorflow(machine.tensorflow, machine.packages)
    if any(finding.verdict == "problem" for finding in settings):
        # What mends the setting mends this: nothing needs to be installed.
        tensorflow = [
            dataclasses.replace(finding, meaning="That follows from the setting below.", commands=())
            if finding.name == "Keras"
            else finding
            for finding in tensorflow
        ]
    groups = {
        "Python and packages": [
            *judge_interpreter(machine.interpreter),
            *judge_installation(machine.installation),
            *judge_packages(machine.packages),
            *judge_clashes(machine.packages),
        ],
        "TensorFlow and devices": [
            *tensorflow,
            *settings,
            *judge_gpu(machine),
        ],
        "Memory and disk": [*judge_resources(machine.resources), *judge_disk(machine.folders)],
        "Caches and network": [*judge_folders(machine.folders), *judge_network(machine.network)],
    }
    return {
        group: [
            dataclasses.replace(
                finding, commands=tuple(typed_here(command, machine.interpreter) for command in finding.commands)
            )
            for finding in findings
        ]
        for group, findings in groups.items()
    }


def typed_here(command: str, python: Interpreter) -> str:
    """A command as it must be typed here: for this interpreter, its installer and the shell of this system.

    Args:
        command: As for a POSIX shell, starting with `pip` or `python` for this interpreter.
        python: Facts about the interpreter.
    """
    word = "python" if python.is_python_on_path else _quoted(python.executable, python.system)
    if command.startswith("pip "):
        if python.installer == "uv":
            where = "" if python.is_python_on_path else f" --python {word}"
            action, _, rest = command.removeprefix("pip ").partition(" ")
            return f"uv pip {action}{where} {rest.removeprefix('-y ')}"
        command = f"{word} -m {command}"
    elif command.startswith("python "):
        command = command.replace("python", word, 1)
    if python.system != "Windows":
        return command
    # PowerShell, which Windows' terminal starts
    command = re.sub(r"^unset (\w+)$", r"Remove-Item Env:\1", command)
    command = re.sub(r'^export (\w+)=(?:"(.*)"|(.*))$', lambda m: f'$env:{m[1]} = "{m[2] or m[3]}"', command)
    command = re.sub(r"^python3(?:\.(\d+))? ", lambda m: f"py -3.{m[1]} " if m[1] else "py ", command)
    return command.replace(". .venv/bin/activate", r".venv\Scripts\activate")


def _quoted(path: str, system: str) -> str:
    if system == "Windows":
        return f'& "{path}"' if " " in path else path
    return f"'{path}'" if " " in path else path
