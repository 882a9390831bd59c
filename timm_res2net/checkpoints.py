def checkpoint_filter_fn(state_dict, model):
    return state_dict
