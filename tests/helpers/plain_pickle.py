"""Read the file `program` of every folder given by pickle itself, each in a process of its own, as nobody should."""
import os
import pickle
import sys

import malicious  # noqa: F401  imports what most of them use, once


class Plain(pickle.Unpickler):
    """As torch's: storages are asked for."""

    def persistent_load(self, pid):
        return pid


for folder in sys.argv[1:]:
    child = os.fork()
    if not child:
        sys.path.insert(0, folder)
        try:
            with open(f'{folder}/program', 'rb') as file:
                Plain(file).load()
        except Exception as error:  # after what it was meant to do, or instead
            print(f'{folder}: {error!r}', file=sys.stderr)
        os._exit(0)
    os.waitpid(child, 0)
