"""Tests of which a case takes seconds, and the cases that the default run keeps; the others are run with `-m slow`."""
import pytest

FORMS = ('plain', 'dla', 'cifar')
KEPT = {
    'commands/test_benchmark.py::test_one_path_writes_into_the_current_folder': (),
    'commands/test_command_line.py::test_a_closed_pipe_ends_quietly': ('--help',),
    'commands/test_list.py::test_a_variant_of_ones_own': (),
    'commands/test_main.py::test_a_command_and_a_script_of_its_name': (),
    'commands/test_main.py::test_a_script_ends_as_it_does_under_python': ('interrupt',),
    'commands/test_main.py::test_siblings_are_imported_from_the_folder_of_the_script': (),
    'commands/test_receptive_field.py::test_fields_and_plot': (),
    'deploy/test_bad_input.py::test_a_broken_image_gives_nan_and_its_neighbours_their_answers': (
        'prepack-nan-pixel', 'torch fp32-nan-pixel', 'onnx fp32-nan-pixel', 'openvino fp32-nan-pixel'),
    'deploy/test_deploy.py::test_any_image_size': ('torch',),
    'deploy/test_deploy.py::test_exported_in_a_fresh_process': ('torch-fp32',),
    'deploy/test_deploy.py::test_pixels_in_labels_and_transform': ('torch',),
    'deploy/test_faults.py::test_ctrl_c': ('torch-writing',),
    'deploy/test_guest.py::test_openvino_reports_only_where_the_user_said_yes': ('None',),
    'deploy/test_guest.py::test_prepacked_on_a_lesser_cpu_computes_the_same': (),
    'deploy/test_guest.py::test_silent': (),
    'deploy/test_workers.py::test_four_threads_get_the_answers_of_one': (),
    'deploy/test_workers.py::test_what_cannot_be_loaded_is_told_by_the_caller': (),
    'hub/test_names.py::test_a_variant_of_ones_own_is_pulled_by_those_who_lack_it': (),
    'model/test_arguments.py::test_any_combination_of_plausible_arguments': ('res2next29_6c_24w_4s_cifar_custom',),
    'model/test_arguments.py::test_each_argument_alone': ('res2net_custom', 'res2next29_6c_24w_4s_cifar_custom'),
    'model/test_capabilities.py::test_compiles_without_a_graph_break': FORMS,
    'model/test_capabilities.py::test_exports_with_dynamic_batch_and_size': ('plain', 'cifar'),
    'model/test_capabilities.py::test_scripts': FORMS,
    'model/test_capabilities.py::test_trains_compiled': (),
    'model/test_dilation.py::test_dilated_networks_do_what_others_do': (),
    'model/test_every_argument.py::test_drawn_networks': tuple(
        f'{kind}-{use}' for kind in ('imagenet', 'cifar', 'dla')
        for use in ('folds', 'prepacks', 'gives_features', 'saves', 'has_the_gradients')),
    'model/test_learns.py::test_digits': (),
    'model/test_networks.py::test_same_weights_same_outputs_and_gradients_as_timm': (
        'res2net50_26w_4s', 'res2net50d', 'res2next50', 'dla60_res2net'),
    'model/test_robustness.py::test_models_from_several_threads': ('plain',),
    'model/test_robustness.py::test_weights_that_were_tampered_with': ('0',),
    'official/test_official.py::test_nobody_pays_who_does_not_ask': (),
    'scripts/test_make_figures.py::test_drawn_twice_the_bytes_are_the_same': (),
    'scripts/test_make_figures.py::test_without_the_evidence_it_says_who_writes_it': (),
    'scripts/test_page_tables.py::test_table_is_current': ('arguments', 'commands', 'speed', 'weights'),
    'test_docs.py::test_examples_of_commands': ('list', 'convert', 'recipes', 'autoload', 'docs'),
    'test_docs.py::test_quick_pages': ('faq.md',),
}


def mark(item: pytest.Item) -> None:
    """Mark a case that the default run leaves out."""
    path, _, name = item.nodeid.removeprefix('tests/').partition('::')
    function, _, case = name.partition('[')
    kept = KEPT.get(f'{path}::{function}')
    if kept is not None and case.removesuffix(']') not in kept:
        item.add_marker(pytest.mark.slow)
