"""The table of the libraries that tests cover, with the versions installed here."""
from importlib.metadata import version

# package on the index, what works, test (in test_ecosystem.py unless a file of tests is named)
ROWS = [
    ('transformers', 'classifier, image processor and pipeline from a folder', 'test_transformers_classifier'),
    ('transformers', 'pipeline from the Hub', 'test_transformers_from_the_hub'),
    ('transformers', 'fine-tuning with a new head, gradient checkpointing, saving, and back',
     'test_transformers_fine_tunes_and_saves_what_this_package_reads'),
    ('transformers', 'AutoModel: features, pooled features, hidden states', 'test_transformers_features'),
    ('transformers', 'TimmBackbone, alone and training in UperNet',
     'test_transformers_backbone_in_a_segmentation_network'),
    ('segmentation-models-pytorch', 'Unet, training', 'test_segmentation_models_unet'),
    ('segmentation-models-pytorch', 'DeepLabV3Plus at output stride 8 and 16, training',
     'test_segmentation_models_deeplab'),
    ('segmentation-models-pytorch', 'CIFAR variants at depth 2 and 3, or a refusal with the reason',
     'test_segmentation_models_with_maps_of_small_images'),
    ('segmentation-models-pytorch', 'dilated encoders that equal their strided selves',
     'test_segmentation_models_dilate_exactly'),
    ('torchvision', 'feature pyramid over CIFAR and DLA',
     'test_a_feature_pyramid_over_other_families'),
    ('torchvision', 'Faster R-CNN and RetinaNet with a feature pyramid, training and detection',
     'test_torchvision_detectors'),
    ('torchvision', '`create_feature_extractor`', 'model/test_capabilities.py::test_torchvision_feature_extractor'),
    ('lightning', 'training, checkpoint', 'test_lightning_and_torchmetrics'),
    ('torchmetrics', 'accuracy', 'test_lightning_and_torchmetrics'),
    ('accelerate', 'training', 'test_accelerate'),
    ('torch', 'FSDP2 on two processes equals one process', 'test_fully_sharded_data_parallel'),
    ('torch', 'DDP on two processes equals one process', 'model/test_capabilities.py::test_distributed_data_parallel'),
    ('torch', '`torch.utils.flop_counter` gives the MACs of the paper', 'test_flop_counter_gives_the_papers_macs'),
    ('torch', '`torch.compile` without a graph break',
     'model/test_capabilities.py::test_compiles_without_a_graph_break'),
    ('torch', '`torch.jit.script`', 'model/test_capabilities.py::test_scripts'),
    ('torch', '`torch.export` with any batch and size',
     'model/test_capabilities.py::test_exports_with_dynamic_batch_and_size'),
    ('torch', 'training under `use_deterministic_algorithms`',
     'model/test_robustness.py::test_training_is_deterministic'),
    ('timm', "timm's own test-suite on our variants", 'model/test_timm_suite.py'),
    ('timm', 'learning rates by layer', 'test_layer_decay_grows_with_depth'),
    ('timm', 'features by hooks and by graph', 'test_graph_features_equal_hooked_ones'),
    ('timm', 'train.py: resuming, two processes', 'test_training.py'),
    ('timm', 'train.py and validate.py: fine-tuning, distillation', 'test_docs.py::test_training_page'),
    ('huggingface_hub', 'push and pull', 'hub/test_hub.py'),
    ('grad-cam', 'class activation maps', 'insight/test_activation_maps.py'),
    ('onnxruntime', 'exported files', 'deploy/test_deploy.py::test_exported_in_a_fresh_process'),
    ('openvino', 'exported files', 'deploy/test_deploy.py::test_exported_in_a_fresh_process'),
    ('torchao', 'int8 for torch', 'deploy/test_deploy.py::test_exported_in_a_fresh_process'),
    ('nncf', 'int8 for OpenVINO', 'deploy/test_deploy.py::test_exported_in_a_fresh_process'),
]


def table() -> str:
    rows = ['| library | version tested | what works | test |', '| --- | --- | --- | --- |']
    for library, what, test in ROWS:
        rows.append(f'| {library} | {version(library).split("+")[0]} | {what} | `{test}` |')
    return '\n'.join(rows) + '\n'
