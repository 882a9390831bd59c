"""What a process does that serves one caller of `load(path, workers=N)`."""
import json
import os
import signal
import sys
import warnings

import torch

from .loaders import load
from .workers import receive, send


def serve(path: str, threads: int) -> None:
    """What a worker does: read batches from stdin until it is closed or says so, write answers to stdout."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for those who wait for an answer
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), 'wb')
    try:
        os.dup2(2, 1)  # whatever else is printed must not get between the answers
    except OSError:  # a service that has closed stderr
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    torch.set_num_threads(threads)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # who asked for workers is told
            model = load(path)
    except Exception as error:
        send(answers, error=str(error), kind=type(error).__name__)
        return
    send(answers, metadata=json.dumps(model.metadata))
    while 'tensor' in (request := receive(requests) or {}):
        try:
            y = model.run(request['tensor'])
        except Exception as error:
            send(answers, error=f'{type(error).__name__}: {error}')
        else:
            send(answers, y)
