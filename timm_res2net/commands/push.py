"""A trained model to the Hugging Face Hub: model.safetensors, config.json and a model card in one commit.

    timm-res2net push output/train/EXPERIMENT USER/NAME --dataset cifar100
    timm-res2net push model_best.pth.tar USER/NAME --dry-run FOLDER

CHECKPOINT is a file of timm's train.py, its folder for the best one in it, or a folder as `timm-res2net convert` writes
it. Architecture, arguments and preprocessing are those it was trained with, weights the averaged ones (--model-ema)
where there are any: train.py measured those. Class names are those of --class-names or --data-dir, else those that it
has, else those of the training folder that its arguments name, if that is here, else those that the repository has. The
token is that of `hf auth login` or HF_TOKEN.
"""
import argparse
import os
from pathlib import Path
from typing import Any, Dict, List, Optional

from .command_line import Refusal, free_output, warn

EXAMPLE = 'timm-res2net push output/train/EXPERIMENT USER/NAME --dataset cifar100'
WORDS = {
    'repo_id=': 'REPO ',
    'with timeout=': 'with --timeout',
    'or pass token=': 'or set HF_TOKEN',
    'or pass a valid token=': 'or set a valid HF_TOKEN',
    'leave out as_timm or use save_folder': 'leave out --as-timm',
    'Correct license=, dataset= or tags=': 'Correct --license or --dataset',
    "metrics without dataset=: say what they were measured on, for example dataset='imagenet-1k'":
        'a metric without --dataset: say what it was measured on, for example --dataset imagenet-1k',
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('checkpoint', type=Path, metavar='CHECKPOINT', help='file or folder')
    parser.add_argument('repo_id', metavar='REPO', help='USER/NAME, or NAME for the user who is logged in')
    parser.add_argument('--model', help='variant to build, if the checkpoint tells none or in place of that one')
    parser.add_argument('--no-ema', action='store_true', help='the plain weights where there are averaged ones')
    names = parser.add_mutually_exclusive_group()
    names.add_argument('--class-names', type=Path, metavar='FILE', help='one class name per line, or a JSON list')
    names.add_argument('--data-dir', type=Path, metavar='DIR',
                       help='image folders whose names are the class names, or their parent')
    parser.add_argument('--dataset', help="name of the data set on the Hub, 'imagenet-1k'; adds the metric to the card")
    parser.add_argument('--license', help="the Hub's name of it ('apache-2.0'); by default that of the weights as "
                        "they were published, 'unknown' for weights of your own")
    parser.add_argument('--description', help='text of the model card')
    parser.add_argument('--commit-message')
    parser.add_argument('--private', action='store_true', help='make the repository private')
    parser.add_argument('--revision', help='branch, made if it does not exist')
    parser.add_argument('--create-pr', action='store_true', help='open a pull request')
    parser.add_argument('--as-timm', action='store_true', help="under timm's own architecture name")
    parser.add_argument('--timeout', type=float, metavar='SECONDS', help=(
        'give up after so long without a sign of life from the Hub; by default TIMM_RES2NET_HUB_TIMEOUT or 30'))
    parser.add_argument('--dry-run', type=Path, metavar='DIR', help='write the files into DIR instead of pushing them')
    parser.add_argument('--overwrite', action='store_true', help='replace the files in DIR')


def run(args: argparse.Namespace) -> int:
    check_target(args)
    from ..hub import push_to_hub
    checkpoint = read(args.checkpoint, not args.no_ema)
    model = build(checkpoint, args.model, args.timeout)
    training = checkpoint.training
    names = class_names(args, model, training)
    averaged = checkpoint.wrapper in ('state_dict_ema', 'model_ema')
    # train.py records the metric of the averaged weights if there are any
    measured = training.get('metric') is not None and averaged == training['averaged']
    name = str(training.get('args', {}).get('eval_metric', 'top1'))
    metric = {name: training['metric']} if measured and args.dataset else None
    if training:
        warn(f'{model.pretrained_cfg["architecture"]}, {"averaged weights" if averaged else "weights"} of epoch '
             f'{training.get("epoch", "?")}, {model.model_args}')
        if training['averaged'] and not averaged:
            warn('train.py measured the averaged weights, not these: leave out --no-ema for them')
        warn_of_license(args.license, training)
    content: Dict[str, Any] = {
        'label_names': names,
        'metrics': metric,
        'dataset': args.dataset,
        'license': args.license,
        'description': args.description,
        'as_timm': args.as_timm,
    }
    if args.dry_run is not None:
        write_dry(model, args.dry_run, args.repo_id, content)
        print(f"written to {args.dry_run}: timm.create_model('local-dir:{args.dry_run}', pretrained=True)")
        return 0
    commit = push_to_hub(
        model, args.repo_id, private=args.private, revision=args.revision, create_pr=args.create_pr,
        commit_message=args.commit_message, timeout=args.timeout, **content)
    print(commit.pr_url or commit.commit_url)
    return 0


def check_target(args: argparse.Namespace) -> None:
    """Refuse at the start what would be refused at the end.

    Raises:
        Refusal, HubError: The folder cannot be written, the name is none, or nobody is logged in.
    """
    from huggingface_hub import get_token
    from huggingface_hub.utils import validate_repo_id

    from ..hub.errors import LOGIN, HubError, hub_errors
    with hub_errors(args.repo_id):
        validate_repo_id(args.repo_id)
    if args.dry_run is not None:
        empty = args.dry_run.is_dir() and not any(args.dry_run.iterdir())
        free_output(args.dry_run, args.overwrite or empty, folder=True)
        return
    if args.create_pr and args.revision not in (None, 'main'):
        raise Refusal(f'--revision {args.revision}: a pull request is opened against main, leave out --revision')
    if get_token() is None:
        raise HubError(f'Not logged in to the Hub: {LOGIN}.')


def write_dry(model: Any, folder: Path, repo_id: str, content: Dict[str, Any]) -> None:
    """Write into a folder what would be pushed, all of it or nothing."""
    from ..hub import save_for_hub
    from ..model.scratch import scratch
    with scratch(folder) as beside:
        save_for_hub(model, beside / 'new', repo_id, **content)
        folder.mkdir(exist_ok=True)
        for file in (beside / 'new').iterdir():
            os.replace(file, folder / file.name)


def read(path: Path, use_ema: bool) -> Any:
    """The checkpoint, if it can be read."""
    from ..weights import CheckpointError
    from ..weights.reading import read_checkpoint
    if not path.exists():
        raise Refusal(f'there is no {path}')
    try:
        return read_checkpoint(path, use_ema)
    except CheckpointError as error:
        raise Refusal(f'{path} is not a checkpoint that can be read safely ({error})') from error


def build(checkpoint: Any, name: Optional[str], timeout: Optional[float] = None) -> Any:
    """The trained model, built as train.py built it.

    Args:
        name: Variant to build instead of the one that the checkpoint tells.
        timeout: See `push_to_hub`.
    """
    from ..model.variants import variant_of
    from ..weights import CheckpointError
    from ..weights.loading import load_read
    from ..weights.words import one_line
    from .training import from_its_repository
    args = checkpoint.training.get('args', {})
    if not name:
        checkpoint = from_its_repository(checkpoint, timeout=timeout)
    told = name or checkpoint.architecture
    if not told:
        raise Refusal('the checkpoint does not tell its architecture, add --model')
    if not variant_of(told):
        raise Refusal(f'{told} is no variant of timm-res2net: `timm-res2net list` names them; one of your own is '
                      'registered by a module that --import names')
    kwargs = {
        'drop_rate': args.get('drop') or None,
        'drop_path_rate': args.get('drop_path') or None,
        'drop_block_rate': args.get('drop_block') or None,
        **(checkpoint.model_args if name else {}),
    }
    try:
        return load_read(checkpoint, variant=name, **{k: v for k, v in kwargs.items() if v is not None})
    except CheckpointError as error:
        raise Refusal(f'the checkpoint does not fit {told}: {one_line(error, 300)}') from error


def class_names(args: argparse.Namespace, model: Any, training: Dict[str, Any]) -> Optional[List[str]]:
    """Class names from what was given, else from the model (None), else from the training's own folder."""
    from .models import read_class_names
    from .training import folder_names, names_of_training
    given = read_class_names(args.class_names)
    if args.data_dir is not None:
        given = folder_names(args.data_dir, training.get('args', {}))
    if given is not None:
        if len(given) != model.num_classes:
            option = '--class-names' if args.data_dir is None else f'--data-dir {args.data_dir}'
            raise Refusal(f'{option}: {len(given)} names, the model has {model.num_classes} classes')
        return given
    return names_of_training(training, model, args.checkpoint)


def warn_of_license(given: Optional[str], training: Dict[str, Any]) -> None:
    """Name the license of the weights that a training started from, which may bind those that it ended with."""
    from ..weights.catalogue import find_weights
    args = training['args']
    row = find_weights(str(args.get('model') or ''))
    if given or not args.get('pretrained') or row is None:
        return
    warn(f'it was trained from {row.name}, which is under {row.license}: the card says license: unknown, '
         '--license gives yours')
