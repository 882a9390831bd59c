"""Push a checkpoint of timm's train.py to the Hugging Face Hub.

    python scripts/push_to_hub.py output/train/EXPERIMENT USER/NAME --use-ema --dataset cifar100 --data-dir DATA
    python scripts/push_to_hub.py model_best.pth.tar USER/NAME --dry-run FOLDER

The architecture, its arguments and the preprocessing are those the checkpoint was trained with.
"""
import argparse
import json
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import timm
import torch
import yaml
from timm.models import clean_state_dict
from timm.utils import natural_key

from timm_res2net import CheckpointError, HubError, push_to_hub
from timm_res2net.hub import save_for_hub
from timm_res2net.weights.reading import load_file

DATA_KEYS = ('mean', 'std', 'interpolation', 'crop_pct', 'crop_mode')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', type=Path, help="file of timm's train.py, or its folder for the best one in it")
    parser.add_argument('repo_id', help='USER/NAME, or NAME for the user who is logged in')
    parser.add_argument('--model', help='architecture, where the checkpoint does not tell or to replace what it tells')
    parser.add_argument('--use-ema', action='store_true', help='the averaged weights of --model-ema')
    names = parser.add_mutually_exclusive_group()
    names.add_argument('--class-names', type=Path, help='file with one class name per line, or a JSON list')
    names.add_argument('--data-dir', type=Path, help='image folders whose names are the class names, or their parent')
    parser.add_argument('--dataset', help="name of the data set on the Hub, 'imagenet-1k'; adds the metric to the card")
    parser.add_argument('--license', help="the Hub's name of it ('apache-2.0'); by default that of the pretrained cfg")
    parser.add_argument('--description', help='text of the model card')
    parser.add_argument('--commit-message')
    parser.add_argument('--private', action='store_true')
    parser.add_argument('--revision', help='branch, made if it does not exist')
    parser.add_argument('--create-pr', action='store_true', help='open a pull request')
    parser.add_argument('--as-timm', action='store_true', help="under timm's own architecture name")
    parser.add_argument('--dry-run', type=Path, metavar='DIR', help='write the files into DIR instead of pushing them')
    return parser.parse_args()


def read_checkpoint(path: Path) -> Tuple[Dict[str, Any], Dict[str, Any]]:
    """The checkpoint and the arguments of the training, which are in it or in args.yaml beside it."""
    if path.is_dir():
        path = path / 'model_best.pth.tar'
    try:
        checkpoint = load_file(path)
    except FileNotFoundError:
        raise ValueError(f'There is no {path}.') from None
    except CheckpointError as error:
        raise ValueError(f'{path} is not a checkpoint that can be read safely ({error})') from error
    if not isinstance(checkpoint, dict) or 'state_dict' not in checkpoint:
        raise ValueError(f"{path} has no 'state_dict', it is not a checkpoint of timm's train.py.")
    args = checkpoint.get('args')
    if args is None and (path.parent / 'args.yaml').is_file():
        args = yaml.safe_load((path.parent / 'args.yaml').read_text(encoding='utf-8'))
    return checkpoint, vars(args) if isinstance(args, argparse.Namespace) else dict(args or {})


def build_model(
        checkpoint: Dict[str, Any],
        args: Dict[str, Any],
        name: Optional[str],
        use_ema: bool,
) -> torch.nn.Module:
    """The trained model, built as train.py built it."""
    key = 'state_dict_ema' if use_ema else 'state_dict'
    if key not in checkpoint:
        raise ValueError('The checkpoint has no averaged weights (no --model-ema in training), leave out --use-ema.')
    state_dict = clean_state_dict(checkpoint[key])
    name = name or args.get('model') or checkpoint.get('arch')
    if not name:
        raise ValueError('The checkpoint does not tell its architecture, add --model.')
    kwargs = {
        'num_classes': args.get('num_classes'),
        'in_chans': args.get('in_chans') or (args.get('input_size') or [None])[0],
        'global_pool': args.get('gp'),
        'drop_rate': args.get('drop') or None,
        'drop_path_rate': args.get('drop_path') or None,
        'drop_block_rate': args.get('drop_block') or None,
        **(args.get('model_kwargs') or {}),
    }
    if kwargs['num_classes'] is None and 'fc.bias' in state_dict:
        kwargs['num_classes'] = len(state_dict['fc.bias'])
    try:
        model = timm.create_model(name, pretrained=False, **{k: v for k, v in kwargs.items() if v is not None})
        model.load_state_dict(state_dict)
    except RuntimeError as error:
        raise ValueError(f'The checkpoint does not fit {name}: {" ".join(str(error).split())[:300]}') from error
    return model


def data_config(model: torch.nn.Module, args: Dict[str, Any]) -> Dict[str, Any]:
    """The preprocessing that the training was told, where it was told any."""
    config = {k: args[k] for k in DATA_KEYS if args.get(k)}
    for key in ('mean', 'std'):
        if len(config.get(key, ())) == 1:
            config[key] = tuple(config[key]) * model.in_chans
    if args.get('input_size'):
        config['input_size'] = tuple(args['input_size'])
    elif args.get('img_size'):
        config['input_size'] = (model.in_chans, args['img_size'], args['img_size'])
    return config


def read_class_names(file: Optional[Path], folder: Optional[Path], args: Dict[str, Any]) -> Optional[List[str]]:
    """Class names in the order of the classes."""
    if file is not None:
        text = file.read_text(encoding='utf-8')
        return json.loads(text) if text.lstrip().startswith('[') else text.splitlines()
    if folder is None:
        return None
    if args.get('class_map'):
        raise ValueError('The training used --class-map, so folders do not tell the classes: use --class-names.')
    for split in (args.get('train_split') or 'train', 'train'):
        if (folder / split).is_dir():
            folder = folder / split
            break
    return sorted((f.name for f in folder.iterdir() if f.is_dir()), key=natural_key)


def main() -> None:
    options = parse_args()
    checkpoint, args = read_checkpoint(options.checkpoint)
    model = build_model(checkpoint, args, options.model, options.use_ema)
    # train.py records the metric of the averaged weights if there are any
    measured = checkpoint.get('metric') is not None and options.use_ema == ('state_dict_ema' in checkpoint)
    metric = {args.get('eval_metric', 'top1'): checkpoint['metric']} if measured and options.dataset else None
    print(f'{model.pretrained_cfg["architecture"]}, {"averaged weights" if options.use_ema else "weights"} of epoch '
          f'{checkpoint.get("epoch", "?")}, {model.model_args}')
    if 'state_dict_ema' in checkpoint and not options.use_ema:
        print('The checkpoint also has averaged weights, usually the better ones: --use-ema takes them.')
    export = {
        'label_names': read_class_names(options.class_names, options.data_dir, args),
        'metrics': metric,
        'dataset': options.dataset,
        'license': options.license,
        'description': options.description,
        'data_config': data_config(model, args),
        'as_timm': options.as_timm,
    }
    if options.dry_run:
        save_for_hub(model, options.dry_run, options.repo_id, **export)
        print(f"Written to {options.dry_run}: timm.create_model('local-dir:{options.dry_run}', pretrained=True)")
        return
    commit = push_to_hub(
        model, options.repo_id, private=options.private, revision=options.revision, create_pr=options.create_pr,
        commit_message=options.commit_message, **export)
    print(commit.pr_url or commit.commit_url)


if __name__ == '__main__':
    try:
        main()
    except (HubError, OSError, TypeError, ValueError) as error:
        sys.exit(f'error: {error}')
