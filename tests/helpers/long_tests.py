"""Tests of which a case takes seconds, and the cases that the default run keeps; the others are run with `-m slow`.

And the files that take longest, which come first: no worker is left with one of them while the others have no work.
"""
import pytest

FIRST = [
    'hub/test_hub_faults.py', 'deploy/test_deploy.py', 'hub/test_hub.py', 'deploy/test_workers.py', 'test_docs.py',
    'model/test_capabilities.py', 'deploy/test_faults.py', 'hub/test_by_timm.py', 'deploy/test_guest.py',
    'weights/test_corruption.py', 'deploy/test_bad_input.py', 'weights/test_files_that_lie.py',
    'weights/test_save_as.py', 'weights/test_memory.py', 'deploy/test_quantize.py']
FORMS = ('plain', 'dla', 'cifar')
KEPT = {
    'commands/test_benchmark.py::test_one_path_writes_into_the_current_folder': (),
    'commands/test_classify.py::test_an_exported_file_says_what_its_model_says': ('True',),
    'commands/test_command_line.py::test_a_closed_pipe_ends_quietly': ('--help',),
    'commands/test_convert.py::test_a_variant_of_ones_own': (),
    'commands/test_evaluate.py::test_class_names_say_the_order': (),
    'commands/test_evaluate.py::test_what_was_published_is_said_beside': ('evaluate_mine-0.02-0.01-NOT the same-here',),
    'commands/test_export.py::test_random_weights_are_said': (),
    'commands/test_list.py::test_a_variant_of_ones_own': (),
    'commands/test_main.py::test_a_command_and_a_script_of_its_name': (),
    'commands/test_main.py::test_a_script_ends_as_it_does_under_python': (),
    'commands/test_main.py::test_siblings_are_imported_from_the_folder_of_the_script': (),
    'commands/test_receptive_field.py::test_fields_and_plot': (),
    'commands/test_wrong_uses.py::test_as_a_process': (),
    'deploy/test_bad_input.py::test_a_broken_image_gives_nan_and_its_neighbours_their_answers': (
        'prepack-nan-pixel', 'torch fp32-nan-pixel', 'onnx fp32-nan-pixel', 'openvino fp32-nan-pixel'),
    'deploy/test_bad_input.py::test_pixels_in': ('torch',),
    'deploy/test_deploy.py::test_any_image_size': ('torch',),
    'deploy/test_deploy.py::test_exported_computes_the_same': ('torch-fp32',),
    'deploy/test_deploy.py::test_exported_in_a_fresh_process': (),
    'deploy/test_deploy.py::test_models_of_other_kinds': ('half',),
    'deploy/test_deploy.py::test_other_channels_and_compiled_models': ('4',),
    'deploy/test_deploy.py::test_pixels_in_labels_and_transform': ('torch',),
    'deploy/test_faults.py::test_ctrl_c': ('torch-writing',),
    'deploy/test_guest.py::test_a_file_does_not_depend_on_the_settings_of_the_process': ('gradients',),
    'deploy/test_guest.py::test_a_signal_is_survived_after_models_that_came_and_went': (),
    'deploy/test_guest.py::test_engines_report_only_where_the_user_said_yes': ('None',),
    'deploy/test_guest.py::test_prepacked_on_a_lesser_cpu_computes_the_same': (),
    'deploy/test_guest.py::test_silent': (),
    'deploy/test_workers.py::test_an_error_is_its_callers_alone': ('openvino',),
    'deploy/test_workers.py::test_four_threads_get_the_answers_of_one': (),
    'deploy/test_workers.py::test_what_cannot_be_loaded_is_told_by_the_caller': (),
    'deploy/test_writers.py::test_a_path_with_spaces_and_other_letters': ('torch',),
    'hub/test_hub.py::test_a_variant_of_ones_own_is_pulled_by_those_who_lack_it': (),
    'insight/test_receptive_fields.py::test_largest_fields_are_those_of_brute_force': (
        'scale1', 'paddle', 'cifar', 'dla dilated'),
    'model/test_arguments.py::test_any_combination_of_plausible_arguments': ('res2next29_6c_24w_4s_cifar_custom',),
    'model/test_arguments.py::test_each_argument_alone': ('res2net_custom',),
    'model/test_arguments.py::test_any_argument_of_the_wrong_kind': ('res2net_custom', 'dla60_res2net_custom'),
    'model/test_capabilities.py::test_compiles_without_a_graph_break': ('dla',),
    'model/test_capabilities.py::test_exports_with_dynamic_batch_and_size': (),
    'model/test_capabilities.py::test_scripts': FORMS,
    'model/test_capabilities.py::test_trains_compiled': (),
    'model/test_dilation.py::test_dilated_networks_do_what_others_do': (),
    'model/test_dilation.py::test_every_form': (
        'split-parallel-16', 'split-paddle-8', 'conv1-strided_pool-16', 'conv1-parallel_conv-8',
        'conv1-hierarchical-8'),
    'model/test_every_argument.py::test_drawn_networks': tuple(
        f'{kind}-{use}' for kind in ('imagenet', 'cifar', 'dla')
        for use in ('folds', 'prepacks', 'gives_features', 'saves', 'has_the_gradients')),
    'model/test_every_argument.py::test_more_drawn_networks': (),
    'model/test_learns.py::test_digits': (),
    'model/test_like_timm.py::test_an_optimizer_of_timms_model_goes_on_with_ours': ('dla60_res2next',),
    'model/test_networks.py::test_same_weights_same_outputs_and_gradients_as_timm': (
        'res2next50', 'dla60_res2net'),
    'model/test_networks.py::test_sizes': (
        'res2net50_26w_4s_custom', 'res2net50d_custom', 'res2next50_custom', 'dla60_res2net_custom'),
    'model/test_robustness.py::test_configs_of_folders': (),
    'model/test_robustness.py::test_models_from_several_threads': ('plain',),
    'model/test_robustness.py::test_weights_that_were_tampered_with': (),
    'official/test_official.py::test_nobody_pays_who_does_not_ask': (),
    'scripts/test_make_figures.py::test_drawn_twice_the_bytes_are_the_same': (),
    'scripts/test_make_figures.py::test_without_the_evidence_it_says_who_writes_it': (),
    'scripts/test_page_tables.py::test_table_is_current': ('arguments', 'commands', 'speed', 'weights'),
    'test_docs.py::test_examples_of_commands': ('recipes', 'autoload', 'docs'),
    'test_docs.py::test_quick_pages': ('your_own_variant.md',),
    'weights/test_by_name.py::test_convert_by_name': (),
    'weights/test_catalogue.py::test_features_transfer_to_digits': (),
    'weights/test_config_that_lies.py::test_huge_numbers': ('res2net23_32w_4s_cifar_custom',),
    'weights/test_config_that_lies.py::test_huge_numbers_in_a_training': (),
    'weights/test_files_that_lie.py::test_many_names': ('<lambda>1',),
    'weights/test_save_as.py::test_files_are_the_projects_and_come_back_as_they_were': (
        "official-{'cardinality': 2}", "mmpretrain-{'stem_type': 'deep', 'stem_width': 32, 'num_classes': 0}",
        "mmdetection-{'stem_type': 'deep', 'stem_width': 32, 'avg_down': True, 'first_block': 'strided_pool'}",
        "detectron2-{'stem_type': 'deep', 'stem_width': 32, 'avg_down': True, 'first_block': 'strided_pool', "
        "'stride_position': 'conv1', 'cardinality': 2}",
        "PaddleClas-{'first_block': 'paddle'}",
        "PaddleDetection-{'stem_type': 'deep', 'stem_width': 32, 'first_block': 'paddle'}",
        "Holocron-{'stem_type': 'deep', 'stem_width': 32, 'avg_down': True}",
        "mindcv-{'stem_type': 'deep', 'stem_width': 32, 'avg_down': True}"),
    'weights/test_own_variants.py::test_folders_are_for_everybody': (),
    'weights/test_own_word.py::test_a_network_of_timms_is_what_its_file_says': (
        'resnet26d-arguments0-equal', 'resnet26-arguments5-refused', 'resnet18-arguments6-refused'),
    'weights/test_reading.py::test_wrong_contents': ('protocol4.pdparams',),
    'weights/test_registration.py::test_a_row_of_weights_with_classes_of_its_own': (),
    'weights/test_registration.py::test_a_taken_name_still_warns': (),
    'weights/test_registration.py::test_importing_again_is_silent': ('reload',),
    'weights/test_save_as.py::test_timm': (),
    'weights/test_saving.py::test_networks_that_timm_has_not': (
        'res2net50_vd_26w_4s_custom-arguments0', 'res2net23_32w_4s_cifar_custom-arguments7'),
    'weights/test_saving.py::test_people_without_this_package_load_it': (),
    'weights/test_saving.py::test_round_trip_with_timms_own_networks': ('dla60_res2next',),
}
LEFT_OUT = {  # of many cases, the long ones
    'weights/test_download.py::test_a_network_gets_all_of_its_weights_or_none': (
        'slow', 'headers of a few bytes a second', 'a few bytes a second'),
    'weights/test_files_that_lie.py::test_programs_that_make_much_of_little': (
        '.pdparams-deep nesting', '.pth-deep dictionaries'),
}


def place(item: pytest.Item) -> int:
    """Of its file in the order of files; those of the same place keep theirs."""
    path = item.nodeid.removeprefix('tests/').partition('::')[0]
    return FIRST.index(path) if path in FIRST else len(FIRST)


def mark(item: pytest.Item) -> None:
    """Mark a case that the default run leaves out."""
    path, _, name = item.nodeid.removeprefix('tests/').partition('::')
    function, _, case = name.partition('[')
    test, case = f'{path}::{function}', case.removesuffix(']')
    if case not in KEPT.get(test, (case,)) or case in LEFT_OUT.get(test, ()):
        item.add_marker(pytest.mark.slow)
