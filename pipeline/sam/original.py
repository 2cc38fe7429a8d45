"""Original checkpoints of SAM (`sam_vit_b_01ec64.pth` and its like) as a `SamModel` of transformers.

The networks are the same but for the names of their parameters:
https://github.com/facebookresearch/segment-anything/tree/main/segment_anything/modeling
"""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import torch
from torch import Tensor
from transformers import SamConfig, SamModel

from schemas.errors import DataError

DECODER_HEADS = 8  # of every published checkpoint; the one number that no shape tells
NORM_EPS = 1e-5  # of the decoder's transformer; transformers' default differs from the original
SHARED = "prompt_encoder.shared_embedding.positional_embedding"

RENAMES: tuple[tuple[str, str], ...] = (
    (r"^image_encoder\.", "vision_encoder."),
    (r"\.patch_embed\.proj\.", ".patch_embed.projection."),
    (r"^vision_encoder\.blocks\.", "vision_encoder.layers."),
    (r"(\.layers\.\d+)\.norm(\d)\.", r"\1.layer_norm\2."),
    (r"\.norm_final_attn\.", ".layer_norm_final_attn."),
    (r"\.neck\.0\.", ".neck.conv1."),
    (r"\.neck\.1\.", ".neck.layer_norm1."),
    (r"\.neck\.2\.", ".neck.conv2."),
    (r"\.neck\.3\.", ".neck.layer_norm2."),
    (r"\.pe_layer\.positional_encoding_gaussian_matrix$", ".shared_embedding.positional_embedding"),
    (r"\.point_embeddings\.", ".point_embed."),
    (r"\.mask_downscaling\.0\.", ".mask_embed.conv1."),
    (r"\.mask_downscaling\.1\.", ".mask_embed.layer_norm1."),
    (r"\.mask_downscaling\.3\.", ".mask_embed.conv2."),
    (r"\.mask_downscaling\.4\.", ".mask_embed.layer_norm2."),
    (r"\.mask_downscaling\.6\.", ".mask_embed.conv3."),
    (r"\.output_upscaling\.0\.", ".upscale_conv1."),
    (r"\.output_upscaling\.1\.", ".upscale_layer_norm."),
    (r"\.output_upscaling\.3\.", ".upscale_conv2."),
    (r"(mlps\.\d+|prediction_head)\.layers\.0\.", r"\1.proj_in."),
    (r"(mlps\.\d+|prediction_head)\.layers\.1\.", r"\1.layers.0."),
    (r"(mlps\.\d+|prediction_head)\.layers\.2\.", r"\1.proj_out."),
)


def load_original(path: Path) -> SamModel:
    """The network of a checkpoint, whose sizes are read off the shapes of its parameters.

    Only tensors are unpickled. Raises DataError if the file is corrupt or not a checkpoint of SAM.
    """
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()
        raise DataError(
            f"{path} is no readable checkpoint: {reason[0] if reason else 'it is empty'}", "Download it again."
        ) from None
    remedy = "Expected is an original SAM checkpoint such as sam_vit_b_01ec64.pth."
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise DataError(f"{path} holds no weights of SAM", remedy)
    try:
        model = SamModel(_config(weights))
        renamed = {_rename(key): value for key, value in weights.items()}
        renamed["shared_image_embedding.positional_embedding"] = renamed[SHARED]
        model.load_state_dict(renamed)
    except (KeyError, IndexError) as error:
        raise DataError(f"{path} holds no weights of SAM: it lacks {error}", remedy) from None
    except RuntimeError as error:
        raise DataError(f"{path} does not fit SAM: {' '.join(str(error).split())[:300]}", remedy) from None
    return model


def _rename(key: str) -> str:
    for pattern, replacement in RENAMES:
        key = re.sub(pattern, replacement, key)
    return key


def _config(weights: dict[str, Tensor]) -> SamConfig:
    positions = weights["image_encoder.pos_embed"]  # (1, grid, grid, hidden)
    grid, hidden = positions.shape[1], positions.shape[3]
    patch = weights["image_encoder.patch_embed.proj.weight"].shape[-1]
    depth = sum(bool(re.fullmatch(r"image_encoder\.blocks\.\d+\.norm1\.weight", key)) for key in weights)
    spans = [weights[f"image_encoder.blocks.{layer}.attn.rel_pos_h"] for layer in range(depth)]
    windows = [(len(span) + 1) // 2 for span in spans]
    embedded = weights["mask_decoder.iou_token.weight"].shape[1]
    return SamConfig(
        vision_config={
            "hidden_size": hidden,
            "output_channels": embedded,
            "num_hidden_layers": depth,
            "num_attention_heads": hidden // spans[0].shape[1],
            "image_size": grid * patch,
            "patch_size": patch,
            "window_size": min(windows),
            "global_attn_indexes": [layer for layer, window in enumerate(windows) if window == grid],
            "num_pos_feats": embedded // 2,
            "mlp_dim": len(weights["image_encoder.blocks.0.mlp.lin1.bias"]),
        },
        prompt_encoder_config={"hidden_size": embedded, "image_size": grid * patch, "patch_size": patch},
        mask_decoder_config={
            "hidden_size": embedded,
            "num_attention_heads": DECODER_HEADS,
            "mlp_dim": len(weights["mask_decoder.transformer.layers.0.mlp.lin1.bias"]),
            "iou_head_hidden_dim": len(weights["mask_decoder.iou_prediction_head.layers.0.bias"]),
            "layer_norm_eps": NORM_EPS,
        },
    )
