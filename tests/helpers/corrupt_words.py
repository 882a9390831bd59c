"""What files say of themselves, with words of other types, sizes and meanings: config.json, arguments, YAML."""
import copy
import json

import yaml


def bomb(levels=60):
    """A list in a list, each twice: 2^60 when it is written out."""
    value = ['x']
    for _ in range(levels):
        value = [value, value]
    return value


def loop():
    value = []
    value.append(value)
    return value


def deep(levels=200):
    value = []
    for _ in range(levels):
        value = [value]
    return value


SCALARS = (
    None, True, False, 0, 1, -1, 3, 5, 50, 10 ** 6, 10 ** 9, 2 ** 63, 10 ** 400, -10 ** 400, 1.5, -0.5, 1e300,
    float('nan'),
    float('inf'), '', 'x', 'avg', '3', '50', '\x1b[31m\u202e\n', 'x' * 100_000, '../../etc/passwd', '/etc/passwd',
    'local-dir:/etc', 'hf-hub:timm/resnet50', 'http://127.0.0.1:9/x.pth', 'meta', 'cuda', 'float16', '__class__',
    'torch.nn.ReLU')
LISTS = (
    [], {}, [None], [1], [0, 0, 0, 0], [1, 1, 1], [-1] * 4, [10 ** 6] * 4, [1.5] * 4, ['a'] * 4, ['1'] * 4, [True] * 4,
    [[1]] * 4, [1] * 100_000, {'a': 1}, {'0': 1}, {'scale': 10 ** 6}, {'x' * 10_000: 'y'}, [float('nan')] * 3, [3,
        10 ** 9, 10 ** 9])
ARCHITECTURES = (
    'res2net50_26w_4s_custom', 'dla60_res2net_custom', 'res2net_custom.in1k', 'res2net_custom.', '.', 'resnet50',
    'res2net50_26w_4s', 'vit_tiny_patch16_224', 'res2net_custom\0', 'local-dir:/', 'hf-hub:x/y', 'test_res2net_custom',
    'res2net29_48w_8s_cifar_custom', 'resnet50.a1_in1k', 'seresnet50', 'resnest14d', 'regnetx_002')
ARGUMENTS = (
    'layers', 'depth', 'channels', 'scale', 'base_width', 'cardinality', 'num_classes', 'in_chans', 'global_pool',
    'act_layer',
    'norm_layer', 'aa_layer', 'attn_layer', 'attn_position', 'rd_ratio', 'first_block', 'stem_type', 'stem_width',
    'avg_down',
    'output_stride', 'drop_rate', 'drop_path_rate', 'drop_block_rate', 'zero_init_last', 'replace_stem_pool',
    'exact_dilation',
    'down_kernel_size', 'block_args', 'pretrained', 'checkpoint_path', 'pretrained_cfg', 'pretrained_cfg_overlay',
    'cache_dir',
    'features_only', 'out_indices', 'device', 'dtype', 'scriptable', 'self', 'name', 'file', 'levels', 'model_args',
    'strict')
CFG = (
    'url', 'file', 'state_dict', 'hf_hub_id', 'hf_hub_filename', 'source', 'architecture', 'tag', 'custom_load',
    'input_size',
    'test_input_size', 'min_input_size', 'fixed_input_size', 'interpolation', 'crop_pct', 'test_crop_pct', 'crop_mode',
    'mean',
    'std', 'num_classes', 'label_offset', 'label_names', 'label_descriptions', 'pool_size', 'test_pool_size',
    'first_conv',
    'classifier', 'license', 'description', 'origin_url', 'paper_name', 'notes')


def value(rng, known=()):
    """Something, seldom what belongs there."""
    return copy.deepcopy(rng.choice((rng.choice(SCALARS), rng.choice(SCALARS), rng.choice(LISTS), *known)))


def _lie(words, key, rng, known=()):
    match rng.randrange(8):
        case 0:
            words.pop(key, None)
        case 1 if isinstance(words.get(key), (list, dict)) and words[key]:
            inner = words[key]
            inner[rng.choice(list(inner) if isinstance(inner, dict) else range(len(inner)))] = value(rng)
        case 2:
            words[key] = [words.get(key)]
        case _:
            words[key] = value(rng, known)


def lying_config(config, rng):
    """A config.json, a few of whose entries are others; sometimes one that is no JSON."""
    config = copy.deepcopy(config)
    for _ in range(rng.choice((1, 1, 2, 3))):
        args, cfg = config.get('model_args'), config.get('pretrained_cfg')
        match rng.randrange(8):
            case 0:
                _lie(config, rng.choice(list(config) or ['x']), rng)
            case 1:
                config['architecture'] = rng.choice(ARCHITECTURES)
            case 2 | 3 if isinstance(args, dict):
                _lie(args, rng.choice((*args, *ARGUMENTS)), rng)
            case 4 | 5 if isinstance(cfg, dict):
                _lie(cfg, rng.choice(CFG), rng)
            case 6:
                _lie(config, rng.choice(('num_classes', 'label_names', 'label_descriptions', 'num_features',
                    'global_pool', 'in_chans')), rng,
                     ([f'c{i}' for i in range(5)], {'0': 'a', '1': 'b', '2': 'c'}, {'a': [1]}))
            case 7:
                config[rng.choice((*ARGUMENTS, *CFG, 'x', '\x1b'))] = value(rng)
    text = json.dumps(config)
    match rng.randrange(20):
        case 0:
            text = rng.choice(('', '[' * 100_000, 'null', '[1]', '"x"', text[:-1], text + text, '\ufeff' + text,
                '\0' + text))
        case 1:
            text = text[:-1] + ', "a": ' + rng.choice(('{"a": ' * 100_000, '[' * 900 + ']' * 900, '1' * 5000,
                '1e9999')) + '}'
        case 2:
            return text.encode() + rng.choice((b'\xff', b'\0', b'\xed\xa0\x80'))
        case 3:
            return text.encode(rng.choice(('utf-16', 'utf-32')))
    return text.encode()


def lying_args(args, rng):
    """Training arguments, as a mapping, a few of which are others, some such as no file should hold."""
    args = copy.deepcopy(args)
    odd = (bomb(), loop(), deep(), 10 ** 400)
    for _ in range(rng.choice((1, 1, 2, 3))):
        kwargs = args.get('model_kwargs')
        match rng.randrange(6):
            case 0:
                args['model'] = value(rng, (rng.choice(ARCHITECTURES),) * 3)
            case 1 | 2 | 3 if isinstance(kwargs, dict):
                kwargs[rng.choice((*kwargs, *ARGUMENTS))] = rng.choice(odd) if rng.randrange(4) == 0 else value(rng)
            case 4:
                args[rng.choice(('model_kwargs', 'gp', 'num_classes', 'in_chans', 'input_size', 'mean',
                    'x'))] = value(rng, odd)
            case _:
                args[rng.choice(('model', 'gp', 'model_kwargs', '', '__dict__', '__class__'))] = value(rng, odd)
    return args


YAML = (
    'b0: &b0 [x]\n' + ''.join(f'b{i}: &b{i} [*b{i - 1}, *b{i - 1}]\n' for i in range(1, 60))
    + 'model: res2net_custom\nmodel_kwargs: {scale: *b59}\n',
    'b0: &b0 {x: 1}\n' + ''.join(f'b{i}: &b{i} {{<<: [*b{i - 1}, *b{i - 1}]}}\n' for i in range(1, 60)),
    'model: &x [*x]\n', 'model: !!python/object/apply:os.system ["touch executed"]\n',
    'model: !!python/name:os.system\n',
    'model: !!python/module:antigravity\n', '!!python/object/new:os.system ["touch executed"]\n', '- 1\n- 2\n', 'text',
    '',
    '[' * 5000, '{' * 5000, 'a: ' * 300, 'model: !!binary x\n', 'model: !!timestamp 9999-99-99\n', '\0',
    '%YAML 9.9\n---\nx: 1\n',
    'model: res2net_custom\n---\nmodel: x\n', 'model: 0o9\nx: ' + '9' * 5000 + '\n', '<<: [1]\n', '<<: &a {<<: *a}\n',
    '? [a]\n: 1\n',
    '1: 2\nnull: 3\nmodel: res2net_custom\n', 'model_kwargs: {1: 2}\nmodel: res2net_custom\n', 'model: "\\e[31m"\n',
    '&a : *a\n')


def lying_yaml(args, rng):
    if rng.randrange(3) == 0:
        return rng.choice(YAML).encode('utf-8', 'surrogatepass')
    text = yaml.safe_dump(lying_args(args, rng)).encode()
    return text if rng.randrange(3) else text[:rng.randrange(len(text) + 1)]
