"""Small random networks of Segment Anything as local folders: real code paths, no download."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from transformers import Sam2Config, Sam2Model, SamConfig, SamModel
from transformers.utils import logging

SIDE = 128  # px of the square input
CHANNELS = 64
LOGITS_GAIN = 48.0
LOGITS_DEPTH = 5.0
ATTENTION_GAIN = 3.0  # so that it matters where a point lies

logging.disable_progress_bar()


def write_tiny_sam(folder: Path, kind: str = "sam", seed: int = 0) -> Path:
    """Save a small random SAM (`sam`) or SAM 2 (`sam2`) in `folder`, which `load_segmenter` reads. Returns it."""
    build = {"sam": tiny_sam, "sam2": tiny_sam2}[kind]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        build(seed).save_pretrained(folder)
    return folder


def tiny_sam(seed: int = 0) -> SamModel:
    """A random SAM with two encoder blocks, one windowed and one global, and a decoder of 64 channels."""
    config = SamConfig(
        vision_config={
            "hidden_size": 32,
            "output_channels": CHANNELS,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": SIDE,
            "window_size": 3,
            "global_attn_indexes": [1],
            "num_pos_feats": CHANNELS // 2,
        },
        prompt_encoder_config={"hidden_size": CHANNELS, "image_size": SIDE},
        mask_decoder_config={
            "hidden_size": CHANNELS,
            "mlp_dim": 128,
            "iou_head_hidden_dim": 32,
            "layer_norm_eps": 1e-5,  # as in the original, so that its checkpoints compare
        },
    )
    model = SamModel(config)
    randomise(model, seed)
    return model


def tiny_sam2(seed: int = 0) -> Sam2Model:
    """A random SAM 2 with a Hiera encoder of four stages and a decoder of 64 channels."""
    config = Sam2Config(
        vision_config={
            "backbone_config": {
                "model_type": "sam2_hiera_det_model",
                "hidden_size": 8,
                "image_size": [SIDE, SIDE],
                "blocks_per_stage": [1, 1, 2, 1],
                "embed_dim_per_stage": [8, 16, 32, 64],
                "num_attention_heads_per_stage": [1, 1, 2, 2],
                "window_size_per_stage": [8, 4, 4, 2],
                "global_attention_blocks": [3],
            },
            "backbone_channel_list": [64, 32, 16, 8],
            "backbone_feature_sizes": [[SIDE // 4] * 2, [SIDE // 8] * 2, [SIDE // 16] * 2],
            "fpn_hidden_size": CHANNELS,
        },
        prompt_encoder_config={"hidden_size": CHANNELS, "image_size": SIDE},
        mask_decoder_config={"hidden_size": CHANNELS, "mlp_dim": 128, "iou_head_hidden_dim": 32},
    )
    model = Sam2Model(config)
    randomise(model, seed)
    return model


def randomise(model: torch.nn.Module, seed: int, depth: float = LOGITS_DEPTH) -> None:
    """Weights that keep the scale of what goes through them, so that masks depend on image and prompt.

    One channel of the upscaled embedding is nearly constant and counts against the object, so that masks are a few
    blobs rather than half of the image: the fewer, the larger `depth`. For transformers' networks and the original one.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, module in model.named_modules():
        weighs = isinstance(module, torch.nn.Linear | torch.nn.Conv2d | torch.nn.ConvTranspose2d)
        for parameter in module.parameters(recurse=False):
            if parameter.dim() > 1:  # else a bias, or the weights of a norm
                scale = parameter[0].numel() ** -0.5 if weighs else 1.0
                scale *= ATTENTION_GAIN if re.search(r"\.[qk]_proj$", name) else 1.0
                parameter.data.normal_(0, scale, generator=generator)
        if re.search(r"upscale_conv2$|output_upscaling\.3$", name):
            module.weight.data[:, 0] = 0.0
            module.bias.data[0] = 1.0
        elif re.search(r"hypernetworks_mlps\.\d\.(proj_out|layers\.2)$", name):
            module.weight.data *= LOGITS_GAIN
            module.bias.data[0] = -depth
    model.eval()
