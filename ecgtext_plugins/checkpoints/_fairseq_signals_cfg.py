"""The training config that fairseq-signals expects in a checkpoint: its groups with its defaults, as plain values.

Source: the ``cfg`` of checkpoints written by fairseq-signals 6b9e137. Enums are texts, missing values ``???``.
"""

import copy
from typing import Any

from ecgtext_plugins.checkpoints.networks import ARCFACE, CLASSIFIER, CMSC, ENCODER

COMMON = {
    **{"_name": None, "no_progress_bar": False, "log_interval": 10, "log_format": "csv", "log_file": None},
    **{"wandb_project": None, "wandb_entity": None, "seed": 1, "fp16": False, "memory_efficient_fp16": False},
    **{"fp16_no_flatten_grads": False, "fp16_init_scale": 128, "fp16_scale_window": None},
    **{"fp16_scale_tolerance": 0.0, "on_cpu_convert_precision": False, "min_loss_scale": 0.0001},
    **{"threshold_loss_scale": None, "empty_cache_freq": 0, "all_gather_list_size": 16384, "model_parallel_size": 1},
    **{"profile": False, "reset_logging": False, "suppress_crashes": False},
}
COMMON_EVAL = {
    **{"_name": None, "path": None, "quiet": False, "model_overrides": "{}", "extract": None, "results_path": None},
}
DISTRIBUTED_TRAINING = {
    **{"_name": None, "distributed_world_size": 1, "distributed_rank": 0, "distributed_backend": "nccl"},
    **{"distributed_init_method": None, "distributed_port": 12355, "device_id": 0, "ddp_comm_hook": "none"},
    **{"bucket_cap_mb": 25, "fix_batches_to_gpus": False, "find_unused_parameters": False},
    **{"heartbeat_timeout": -1, "broadcast_buffers": False, "fp16": False, "memory_efficient_fp16": False},
}
DATASET = {
    **{"_name": None, "num_workers": 0, "skip_invalid_size_inputs_valid_test": False, "max_tokens": None},
    **{"batch_size": 4, "required_batch_size_multiple": 1, "data_buffer_size": 10, "train_subset": "train"},
    **{"valid_subset": "valid", "combine_valid_subsets": None, "ignore_unused_valid_subsets": False},
    **{"validate_interval": 1, "validate_interval_updates": 0, "validate_after_updates": 0},
    **{"fixed_validation_seed": None, "disable_validation": False, "max_tokens_valid": None, "batch_size_valid": 4},
    **{"max_valid_steps": None, "curriculum": 0, "num_shards": 1, "shard_id": 0},
}
OPTIMIZATION = {
    **{"_name": None, "max_epoch": 0, "max_update": 0, "lr": [5e-05], "stop_time_hours": 0.0, "clip_norm": 0.0},
    **{"update_freq": [1], "stop_min_lr": -1.0},
}
CHECKPOINT = {
    **{"_name": None, "save_dir": "checkpoints", "restore_file": "checkpoint_last.pt", "finetune_from_model": None},
    **{"reset_dataloader": False, "reset_lr_scheduler": False, "reset_meters": False, "reset_optimizer": False},
    **{"optimizer_overrides": "{}", "save_interval": 1, "save_interval_updates": 0, "keep_interval_updates": -1},
    **{"keep_interval_updates_pattern": -1, "keep_last_epochs": -1, "keep_best_checkpoints": -1, "no_save": False},
    **{"no_epoch_checkpoints": False, "no_last_checkpoints": False, "no_save_optimizer_state": False},
    **{"best_checkpoint_metric": "loss", "maximize_best_checkpoint_metric": False, "patience": -1},
    **{"checkpoint_suffix": "", "checkpoint_shard_count": 1, "load_checkpoint_on_all_dp_ranks": False},
}
TRANSFORMER = {
    **{"all_gather": False, "normalize": False, "filter": False, "data": "", "args": None},
    **{"encoder_layers": 12, "encoder_embed_dim": 768, "encoder_ffn_embed_dim": 3072, "encoder_attention_heads": 12},
    **{"layer_norm_first": False, "saliency": False, "dropout": 0.1, "attention_dropout": 0.1},
    **{"activation_dropout": 0.0, "encoder_layerdrop": 0.0, "dropout_input": 0.0, "dropout_features": 0.0},
    **{"apply_mask": False, "mask_length": 10, "mask_prob": 0.0, "mask_selection": "static", "mask_other": 0.0},
    **{"no_mask_overlap": False, "mask_min_space": 1, "mask_channel_length": 10, "mask_channel_prob": 0.0},
    **{"mask_channel_selection": "static", "mask_channel_other": 0.0, "no_mask_channel_overlap": False},
    **{"mask_channel_min_space": 1, "extractor_mode": "default", "conv_feature_layers": "[(256, 2, 2)] * 4"},
    **{"in_d": 12, "conv_bias": False, "feature_grad_mult": 1.0, "conv_pos": 128, "conv_pos_groups": 16},
}
WAV2VEC2 = {
    **{"logit_temp": 0.1, "quantize_targets": False, "quantize_input": False, "same_quantizer": False},
    **{"target_glu": False, "latent_vars": 320, "latent_groups": 2, "latent_dim": 0, "final_dim": 0},
    **{"num_negatives": 100, "negatives_from_everywhere": False, "cross_sample_negatives": 0},
    **{"codebook_negatives": 0, "latent_temp": [2.0, 0.5, 0.999995]},
}
FINETUNING = {
    **{"feature_grad_mult": 0.0, "dropout": 0.0, "attention_dropout": 0.0, "model_path": None},
    **{"no_pretrained_weights": False, "freeze_finetune_updates": 0, "final_dropout": 0.0, "num_labels": "???"},
}
PRETRAINING_TASK = {
    **{"data": "???", "leads_to_load": None, "leads_bucket": None, "bucket_selection": "uniform"},
    **{"sample_rate": None, "filter": False, "normalize": False, "mean_path": None, "std_path": None},
    **{"enable_padding": False, "enable_padding_leads": False, "max_sample_size": None, "min_sample_size": None},
    **{"num_batch_buckets": 0, "precompute_mask_indices": False, "perturbation_mode": None, "p": [1.0]},
    **{"max_amplitude": 0.1, "min_amplitude": 0.0, "dependency": True, "shift_ratio": 0.2, "num_segment": 1},
    **{"max_freq": 0.2, "min_freq": 0.01, "k": 3, "mask_leads_selection": "random", "mask_leads_prob": 0.5},
    **{"mask_leads_condition": [4, 5], "inferred_w2v_config": None, "inferred_3kg_config": None},
}
CLASSIFICATION_TASK = PRETRAINING_TASK | {"path_dataset": False, "label_file": None, "load_specific_lead": False}
IDENTIFICATION_TASK = PRETRAINING_TASK | {"visualize": False}
CMSC_CRITERION = {
    **{"temp": 0.1, "eps": 1e-08, "all_gather": False, "infonce": True, "loss_weights": [0.1, 10.0]},
    **{"log_keys": ["prob_perplexity", "code_perplexity", "temp"], "cmsc_weights": None},
}
BCE_CRITERION = {
    **{"weight": None, "threshold": 0.5, "report_auc": False, "auc_average": "macro", "pos_weight": None},
    **{"report_cinc_score": False, "weights_file": "???", "per_log_keys": []},
}
FAMILIES = {  # values of the model; name and values of task and criterion
    CMSC: (TRANSFORMER | WAV2VEC2, "ecg_pretraining", PRETRAINING_TASK, "wav2vec2_with_cmsc", CMSC_CRITERION),
    ENCODER: (TRANSFORMER, "ecg_pretraining", PRETRAINING_TASK, "wav2vec2_with_cmsc", CMSC_CRITERION),
    CLASSIFIER: (
        *(TRANSFORMER | FINETUNING, "ecg_classification", CLASSIFICATION_TASK),
        *("binary_cross_entropy_with_logits", BCE_CRITERION),
    ),
    ARCFACE: (
        *(TRANSFORMER | FINETUNING, "ecg_identification", IDENTIFICATION_TASK),
        *("arcface", {"scale": 32.0, "margin": 0.5}),
    ),
}
_LOG = {"format": "[%(asctime)s][%(name)s][%(levelname)s] - %(message)s"}
JOB_LOGGING = {
    "version": 1,
    "formatters": {"simple": _LOG},
    "handlers": {
        "console": {"class": "logging.StreamHandler", "formatter": "simple", "stream": "ext://sys.stdout"},
        "file": {"class": "logging.FileHandler", "formatter": "simple", "filename": "hydra_train.log"},
    },
    "root": {"level": "INFO", "handlers": ["console", "file"]},
    "disable_existing_loggers": False,
}


def signals_config(family: str, model: dict[str, Any], sample_rate: float) -> dict[str, Any]:
    """Return the whole config of a checkpoint of `family`: defaults, with the values of `model` that it has fields for.

    ``model.model_path`` stays empty, so that the network is built without the file that training began from.
    """
    defaults, task_name, task, criterion_name, criterion = FAMILIES[family]
    rate = int(sample_rate) if float(sample_rate).is_integer() else None
    own = {key: value for key, value in model.items() if key in defaults and key not in ("data", "args", "model_path")}
    groups = {
        "_name": None,
        "common": COMMON,
        "common_eval": COMMON_EVAL,
        "distributed_training": DISTRIBUTED_TRAINING,
        "dataset": DATASET,
        "optimization": OPTIMIZATION,
        "checkpoint": CHECKPOINT,
        "model": {"_name": family} | defaults | own,
        "task": {"_name": task_name} | task | {"sample_rate": rate, "criterion_name": criterion_name},
        "criterion": {"_name": criterion_name} | criterion,
        "lr_scheduler": {"_name": "fixed", "force_anneal": None, "lr_shrink": 0.1, "warmup_updates": 0, "lr": [5e-05]},
        "optimizer": {
            **{"_name": "adam", "adam_betas": "(0.9, 0.98)", "adam_eps": 1e-06, "weight_decay": 0.01},
            **{"use_old_adam": False, "lr": [5e-05]},
        },
        "job_logging_cfg": JOB_LOGGING,
    }
    return copy.deepcopy(groups)
