"""A project's command on two workers, each in a copy of the project that the other does not see.

The processes are forked from a server that has imported TensorFlow once.
"""

import json
import multiprocessing
import os
import runpy
import socket
import sys


def free_ports(number):
    sockets = [socket.socket() for _ in range(number)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def tf_config(ports, index):
    addresses = [f"127.0.0.1:{port}" for port in ports]
    return json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}})


def run_module(project, output, config, module, flags):
    """What one process does: `python -m flowers.MODULE FLAGS`, its output in files."""
    for stream, end in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{output}.{end}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    os.environ |= {"TF_CONFIG": config, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3", "MPLBACKEND": "Agg"}
    os.chdir(project)
    sys.path.insert(0, str(project))
    sys.argv = [module, *flags]
    runpy.run_module(f"flowers.{module}", run_name="__main__", alter_sys=True)


class Workers:
    """Starts a command on workers, each of them in the folder `project` of its own place."""

    def __init__(self):
        self.context = multiprocessing.get_context("forkserver")
        # Installed modules only: the server does not know the folder of the tests.
        self.context.set_forkserver_preload(["keras", "tlkit.callbacks", "tlkit.domain", "tlkit.distribution"])

    def start(self, projects, module, *flags):
        """One process in each of these folders; their output is in the files `worker0.out`, `worker0.err` beside."""
        ports, processes = free_ports(len(projects)), []
        for index, project in enumerate(projects):
            arguments = (project, project.parent / f"worker{index}", tf_config(ports, index), module, flags)
            process = self.context.Process(target=run_module, args=arguments)
            process.start()
            processes.append(process)
        return processes, [f"127.0.0.1:{port}" for port in ports]
