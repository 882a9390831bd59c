"""Open files of `corruption` by every entry of the package and say what was wrong with how that went.

A process of its own, since a file may end it. On stdin `{"folder": .., "cases": [[kind, seed, number], ..]}`; on
stdout a line when a case begins and a line when it has ended: `{"case": .., "faults": [..], "outcomes": {..}}`.
"""
import faulthandler
import functools
import json
import logging
import os
import resource
import shutil
import signal
import sys
import traceback
from pathlib import Path

import good_files
import timm
import torch
from corruption import Case, case, good, named
from limits import TooLong
from misbehaviour import MISBEHAVIOUR

import timm_res2net
from timm_res2net import CheckpointError, inspect_checkpoint, load_checkpoint
from timm_res2net.weights.layouts import rename
from timm_res2net.weights.reading import read_checkpoint

SECONDS = 5  # of this process's own time
LONGEST_WAIT = 600  # seconds of a clock, for what waits and takes no time of its own
MEGABYTE = 2 ** 20
BASE = 32 * MEGABYTE  # what errors, dictionaries and modules loaded late take
ANOTHER = 4 * 32_000_000  # bytes of a network that a config.json may ask for and that does not fit
LONGEST = 2500  # characters of a message
PACKAGE = str(Path(timm_res2net.__file__).parent)
FORBIDDEN = (
    'os.system', 'os.exec', 'os.posix_spawn', 'os.fork', 'os.spawn', 'subprocess.', 'pty.', 'socket.', 'urllib.',
    'compile', 'pickle.find_class', 'ctypes.', 'shutil.', 'tempfile.', 'os.remove', 'os.rename', 'os.mkdir', 'os.link',
    'os.symlink', 'os.truncate', 'os.putenv', 'os.chmod', 'sqlite3.', 'webbrowser.', 'exec', 'code.', 'builtins.input',
    'cpython.run', 'sys.setprofile', 'sys.settrace')


class Watch:
    """What Python is asked to do while a file is being opened."""

    def __init__(self):
        self.seen, self.folder, self.known = None, '', {m.partition('.')[0] for m in sys.modules}
        self.readable = (sys.prefix, sys.base_prefix, PACKAGE, '/proc/', '/sys/', '/dev/')
        sys.addaudithook(self)

    def __call__(self, event, args):
        if self.seen is None:
            return
        seen, self.seen = self.seen, None  # what follows may be audited itself
        if event == 'import':
            if args[0].partition('.')[0] not in self.known:
                seen.append(f'import of {args[0]}')
        elif event == 'open':
            path, mode, flags = args
            writes = mode is not None and set(mode) & set('wax+') or flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if writes or isinstance(path, str) and not path.startswith((self.folder, *self.readable)):
                seen.append(f'open({path!r}, {mode!r})')
        elif event == 'exec' and getattr(args[0], 'co_filename', '').startswith(self.readable):
            pass  # an import of what is known
        elif event.startswith(FORBIDDEN):
            seen.append(f'{event}{args!r}'[:300])
        self.seen = seen

    def __enter__(self):
        self.seen = []
        return self.seen

    def __exit__(self, *_):
        self.seen = None


def memory(entry):
    """Bytes of this process: `VmSize`, `VmRSS`, or the highest of the latter, `VmHWM`."""
    for line in Path('/proc/self/status').read_text().splitlines():
        if line.startswith(entry):
            return int(line.split()[1]) * 1024


class Limits:
    """Little time and memory for what is inside: an exception first, then the end of the process."""

    def __init__(self, allowed):
        self.allowed = allowed

    def __enter__(self):
        Path('/proc/self/clear_refs').write_text('5')  # the peak begins anew
        self.before = memory('VmHWM')
        used = resource.getrusage(resource.RUSAGE_SELF)
        self.cpu, self.space = resource.getrlimit(resource.RLIMIT_CPU), resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + 3 * SECONDS, self.cpu[1]))
        resource.setrlimit(resource.RLIMIT_AS, (memory('VmSize') + self.allowed + 8 * BASE, self.space[1]))
        signal.setitimer(signal.ITIMER_PROF, SECONDS, 1)
        return self

    def __exit__(self, *_):
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_AS, self.space)
        resource.setrlimit(resource.RLIMIT_CPU, self.cpu)
        self.used = memory('VmHWM') - self.before


def ran_out(error):
    """Whether an error comes of memory that was asked for and not there."""
    while error is not None:
        if isinstance(error, MemoryError) or 'allocate' in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def faults_of(error, path, through_timm):
    """What is wrong with an error."""
    message = str(error)
    if isinstance(error, TooLong):
        return [f'not ended after {SECONDS} s']
    if ran_out(error):
        return [f'asked for memory that is not there: {message[:300]}']
    if not isinstance(error, CheckpointError):
        ours = any(f.filename.startswith(PACKAGE) for f in traceback.extract_tb(error.__traceback__))
        last = traceback.extract_tb(error.__traceback__)[:-4:-1]
        where = ' < '.join(f'{Path(f.filename).name}:{f.lineno}' for f in last)
        return [f'raw {type(error).__name__}: {message[:300]!r} ({where})'] if ours or not through_timm else []
    wrong = {
        'names no file': str(path) not in message, 'is not printable': not message.isprintable(),
        f'has {len(message)} characters': len(message) > LONGEST}
    return [f'a message that {what}: {message[:300]!r}' for what, is_so in wrong.items() if is_so]


class Attempts:
    """All entries, one file after the other."""

    def __init__(self):
        self.watch = Watch()
        self.given = {form: good_files.network(form) for form in ('parallel', 'paddle')}
        self.right = {form: {k: v.clone() for k, v in m.state_dict().items()} for form, m in self.given.items()}

    def __call__(self, case, folder):
        path = folder / case.target if case.target else folder
        allowed = 3 * sum(map(len, case.files.values())) + 4 * MEGABYTE
        form = 'paddle' if case.target.endswith('.pdparams') else 'parallel'
        model = self.given[form]
        self.watch.folder = str(folder)
        faults, outcomes = [], {}
        for name, attempt in self.entries(path, model, form):
            _blank(model)
            by_timm = name == 'local-dir'
            loaded, found = self.attempt(attempt, path, allowed + by_timm * ANOTHER, by_timm)
            if name == 'into a model':
                found += [] if loaded is not None or _is_blank(model) else ['a refused file has changed the model']
            if isinstance(loaded, torch.nn.Module):
                found += not_whole(loaded, path, self.right[form] if case.exact else None, by_timm)
            if (folder / 'executed').exists():
                found.append('EXECUTED')
            faults += [f'{name}: {fault}' for fault in found]
            outcomes[name] = 'loaded' if loaded is not None else 'refused'
        return faults, outcomes

    def entries(self, path, model, form):
        arguments = dict(good_files.TINY, first_block=form)
        yield 'into a model', lambda: load_checkpoint(path, model)
        yield 'inspect', lambda: inspect_checkpoint(path)
        yield 'alone', lambda: load_checkpoint(path)
        yield 'checkpoint_path', lambda: timm.create_model(good_files.VARIANT, **arguments, checkpoint_path=str(path))
        yield 'file', lambda: timm.create_model(
            good_files.VARIANT, **arguments, pretrained=True, pretrained_cfg_overlay=dict(file=str(path)))
        if path.is_dir() and (path / 'config.json').exists():
            yield 'local-dir', lambda: timm.create_model(f'local-dir:{path}', pretrained=True)

    def attempt(self, function, path, allowed, through_timm):
        """What a call gives, None if an error; and what is wrong with how it went."""
        result, error = None, None
        with Limits(allowed) as limits, self.watch as seen:
            try:
                result = function()
            except BaseException as caught:
                error = caught
        faults = faults_of(error, path, through_timm) if error else []
        if limits.used > allowed + BASE:
            faults.append(f'{limits.used / MEGABYTE:.0f} MB')
        return result, faults + seen


def _blank(model):
    """Numbers that no file can have loaded."""
    for value in model.state_dict().values():
        value.fill_(float('nan') if value.is_floating_point() else -7)


def _is_blank(model):
    return all(bool(v.isnan().all() if v.is_floating_point() else (v == -7).all()) for v in model.state_dict().values())


def not_whole(model, path, right, with_head):
    """Where a model has not the weights of its file, or not the `right` ones.

    Args:
        with_head: Its number of classes or channels was told beside the file, so that those weights may be others.
    """
    own, held = model.state_dict(), rename(read_checkpoint(path)).state
    beside = {'fc.weight', 'fc.bias', 'conv1.weight'} if with_head else set()
    wrong = [k for k in own.keys() | held.keys() if k not in beside and not (
        k in own and k in held and own[k].shape == held[k].shape and torch.equal(own[k], held[k].to(own[k].dtype)))]
    others = [k for k in right or () if k not in beside and 'num_b' not in k and not (
        k in own and torch.equal(own[k], right[k]))]
    return ([f'not the weights of the file: {wrong[:3]}'] if wrong else []) + (
        [f'other weights under a right checksum: {others[:3]}'] if others else [])


def opened(attempts, drawn, folder):
    """Write the files of a case, try them, and leave them there if anything was wrong."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    case = drawn(folder)
    for name, content in case.files.items():
        (folder / name).write_bytes(content)
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    faults, outcomes = attempts(case, folder)
    sys.path.remove(str(folder))
    os.chdir('/')
    if not faults:
        shutil.rmtree(folder)
    return faults, outcomes


def main():
    task = json.loads(sys.stdin.read())
    out = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)  # whatever prints
    logging.disable()
    faulthandler.enable()
    torch.set_num_threads(1)
    signal.signal(signal.SIGPROF, _too_long)
    attempts, root = Attempts(), Path(task['folder'])
    for name, blob in good().items():  # what Python imports and caches at the first of a kind
        _, outcomes = opened(attempts, lambda _, name=name, blob=blob: Case({name: blob}, name), root / 'good')
        assert set(outcomes.values()) == {'loaded'}, (name, outcomes)
    opened(attempts, lambda _: Case(good_files.good_folder(), ''), root / 'good')
    attempts.watch.known |= {m.partition('.')[0] for m in sys.modules}
    bad = {function.__name__: function for function in MISBEHAVIOUR}
    for kind, *numbers in task['cases']:
        print(json.dumps({'case': [kind, *numbers]}), file=out, flush=True)
        signal.alarm(LONGEST_WAIT)
        if kind in bad:
            attempts.entries = lambda path, model, form, kind=kind: [('into a model', lambda: bad[kind](path, model))]
            def drawn(_):
                return Case({'zip.pth': good()['zip.pth']}, 'zip.pth', exact=True)
        else:
            drawn = functools.partial(case, kind, *numbers)
        faults, outcomes = opened(attempts, drawn, root / named(kind, *numbers))
        print(json.dumps({'case': [kind, *numbers], 'faults': faults, 'outcomes': outcomes}), file=out, flush=True)


def _too_long(*_):
    raise TooLong


if __name__ == '__main__':
    main()
