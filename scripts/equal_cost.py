"""The networks compared at equal cost: train_on_gpu.py trains them, evidence.py makes a table of them."""
MODEL = 'res2net23_32w_4s_cifar_custom'
RECIPE = 'cifar100_evidence'  # of timm_res2net/docs/recipes
PLAIN, FOUR, EIGHT = 'scale 1 (plain bottleneck)', 'scale 4', 'scale 8'
ROWS = {  # name: (arguments of the network, seeds); a width of SE makes up for what SE adds to the parameters
    PLAIN: (dict(scale=1, base_width=77.34), 3),
    FOUR: (dict(scale=4, base_width=32), 3),
    EIGHT: (dict(scale=8, base_width=18), 3),
    'scale 4 with SE': (dict(scale=4, base_width=30.02, attn_layer='se', rd_ratio=1 / 16), 1),
    'scale 8 with SE': (dict(scale=8, base_width=16.69, attn_layer='se', rd_ratio=1 / 16), 1),
}


def run_name(network: str, seed: int) -> str:
    """'scale_1-seed0' of 'scale 1 (plain bottleneck)' and 0."""
    return f'{network.split(" (")[0].replace(" ", "_")}-seed{seed}'
