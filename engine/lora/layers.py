"""Finds the layers of a LoRA in its tensors' names and shapes, and the base model that they fit."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from engine.errors import RefusedFileError
from engine.lora.header import Tensor
from engine.words import N_

MAX_RANK = 1024
PARTS = ("unet", "text_encoder", "text_encoder_2")
FAMILIES = {"pocket": "the pocket model", "sd15": "SD 1.5", "sd2": "SD 2", "sdxl": "SDXL"}
_BY_TEXT_WIDTH = {128: "pocket", 768: "sd15", 1024: "sd2", 2048: "sdxl"}
_BY_ENCODER_WIDTH = {128: "pocket", 768: "sd15", 1024: "sd2", 1280: "sdxl"}

# What stands behind a layer's name, in the layouts of kohya, diffusers and peft.
_ROLES = {
    ".lora_down.weight": "down", ".lora_up.weight": "up", ".alpha": "alpha",
    ".lora_A.weight": "down", ".lora_B.weight": "up",
    ".lora_A.default.weight": "down", ".lora_B.default.weight": "up",
    ".lora.down.weight": "down", ".lora.up.weight": "up",
    "_lora.down.weight": "down", "_lora.up.weight": "up",
}  # fmt: skip
_OTHER_KINDS = (
    (re.compile(r"\.hada_|\.hada\d"), N_("a LoHa")),
    (re.compile(r"\.lokr_"), N_("a LoKr")),
    (re.compile(r"\.oft_|\.boft_"), N_("an OFT")),
    (re.compile(r"\.dora_scale$|lora_magnitude_vector"), N_("a DoRA")),
    (re.compile(r"\.on_input$"), N_("an IA3")),
    (re.compile(r"\.lora_mid\.weight$"), N_("a LoCon with a Tucker core")),
    (re.compile(r"\.(diff|diff_b|w_norm|b_norm)$"), N_("a difference of whole layers")),
    (
        re.compile(r"^(emb_params|string_to_param|clip_[lg]$)|^bundle_emb"),
        N_("a textual inversion"),
    ),
)
_OTHER_MODELS = (
    (re.compile(r"^(model[._])?diffusion_model[._](input|output|middle)_blocks?[._].*\d[._]weight$"),
     N_("It is a whole model, not a LoRA.")),
    (re.compile(r"double_blocks|single_blocks|single_transformer_blocks"), N_("It is made for Flux.")),
    (re.compile(r"joint_blocks|^transformer\.|^lora_transformer_|diffusion_model\.layers"),
     N_("It is made for a transformer model like SD 3.")),
    (re.compile(r"model[._]layers[._]\d+[._](self_attn|mlp)"), N_("It is made for a language model.")),
    (re.compile(r"first_stage_model|^vae[._]|lora_vae_"), N_("It is made for a VAE.")),
    (re.compile(r"^(control_model|controlnet|lllite)"), N_("It is a ControlNet.")),
)  # fmt: skip
_ROOTS = (
    ("lora_unet_", "unet"), ("lora_te1_", "text_encoder"), ("lora_te2_", "text_encoder_2"),
    ("lora_te_", "text_encoder"), ("base_model_model_unet_", "unet"),
    ("base_model_model_text_model_", "text_encoder"), ("base_model_model_", "unet"),
    ("unet_", "unet"), ("text_encoder_2_", "text_encoder_2"), ("text_encoder_", "text_encoder"),
    ("text_model_", "text_encoder"), ("down_blocks_", "unet"), ("up_blocks_", "unet"),
    ("mid_block_", "unet"),
)  # fmt: skip
_UNET = re.compile(
    r"(down_blocks|up_blocks|mid_block|input_blocks|output_blocks|middle_block|conv_in|conv_out|"
    r"time_embed|time_embedding|add_embedding|label_emb|out)_"
)
_ENCODER = re.compile(r"(text_model_)?(encoder_layers|embeddings)_|text_projection")
_CROSS = re.compile(r"attn2_(processor_)?to_[kv](_lora)?$")
_DEEP = re.compile(r"transformer_blocks_[2-9]_")  # only SDXL has more than one or two in a row
_SELF = re.compile(r"attn1_(processor_)?to_[qkv](_lora)?$")
_ENCODER_WIDTH = re.compile(r"self_attn_(q|k|v|out)_proj$|mlp_fc1$")


@dataclass(slots=True)
class Layer:
    """The tensors of one layer."""

    name: str
    part: str
    tensors: dict[str, Tensor] = field(default_factory=dict)

    @property
    def rank(self) -> int:
        """Of its update."""
        return self.tensors["down"].shape[0]

    @property
    def inputs(self) -> int:
        """Width of what goes into the layer."""
        return self.tensors["down"].shape[1]


def find_layers(tensors: Iterable[Tensor]) -> list[Layer]:
    """Returns the layers, each with a down and an up tensor whose shapes fit together.

    Raises:
        RefusedFileError: It is no LoRA for a U-Net with text encoders.
    """
    tensors = list(tensors)
    for tensor in tensors:
        _check_kind(tensor.name)
    layers: dict[str, Layer] = {}
    for tensor in tensors:
        ending = next((end for end in _ROLES if tensor.name.endswith(end)), None)
        if ending is None:
            raise RefusedFileError(
                "{name} is no part of a LoRA. Only LoRA files for Stable Diffusion are used.",
                name=tensor.name[:80],
            )
        path = tensor.name.removesuffix(ending).replace(".", "_")
        name, part = _place(path)
        layer = layers.setdefault(f"{part} {name}", Layer(name, part))
        if _ROLES[ending] in layer.tensors:
            raise RefusedFileError(
                "The layer {name} is there twice, in two layouts.", name=name[:80]
            )
        layer.tensors[_ROLES[ending]] = tensor
    for layer in layers.values():
        _check_pair(layer)
    return list(layers.values())


def family_of(layers: Iterable[Layer]) -> str:
    """Returns "pocket", "sd15", "sd2" or "sdxl", told by the widths of texts.

    Raises:
        RefusedFileError: The widths fit none of them, or several.
    """
    layers = list(layers)
    found = {_BY_TEXT_WIDTH.get(one.inputs) for one in layers if _CROSS.search(one.name)}
    if not found:
        found = _by_shape(layers)
    if len(found) != 1 or None in found:
        raise RefusedFileError(
            "The file does not fit one base model: its layers have widths of none of them, or of several. "
            "LoRAs for {families} are used.",
            families=", ".join(FAMILIES.values()),
        )
    (family,) = found
    assert family is not None
    encoders = {one.inputs for one in layers if one.part == "text_encoder" and _is_wide(one)}
    wanted = {width for width, name in _BY_ENCODER_WIDTH.items() if name == family}
    wanted = {768} if family == "sdxl" else wanted
    has_second = any(one.part == "text_encoder_2" for one in layers)
    if encoders - wanted or (has_second and family != "sdxl"):
        raise RefusedFileError(
            "Its U-Net layers are made for {family} and its text layers for another model.",
            family=FAMILIES[family],
        )
    return family


def _by_shape(layers: list[Layer]) -> set[str | None]:
    """Tells the family of a file without cross-attention."""
    unet = [one for one in layers if one.part == "unet"]
    if not unet:
        if any(one.part == "text_encoder_2" for one in layers):
            return {"sdxl"}
        return {_BY_ENCODER_WIDTH.get(one.inputs) for one in layers if _is_wide(one)}
    widths = {one.inputs for one in unet if _SELF.search(one.name)}
    if any(_DEEP.search(one.name) for one in unet):
        return {"sdxl"}
    if widths and max(widths) <= 128:
        return {"pocket"}
    return {"sd15"} if 320 in widths else set()


def _is_wide(layer: Layer) -> bool:
    return bool(_ENCODER_WIDTH.search(layer.name))


def _check_kind(name: str) -> None:
    for pattern, kind in _OTHER_KINDS:
        if pattern.search(name):
            raise RefusedFileError("That is {kind}; only LoRA and LoCon files are used.", kind=kind)
    for pattern, sentence in _OTHER_MODELS:
        if pattern.search(name):
            raise RefusedFileError(
                "{sentence} LoRAs for {families} are used.",
                sentence=sentence,
                families=", ".join(FAMILIES.values()),
            )


def _place(path: str) -> tuple[str, str]:
    """Returns a layer's name without its root, and the part of the model that it belongs to."""
    for root, part in _ROOTS:
        if path.startswith(root):
            is_bare = root in ("text_model_", "down_blocks_", "up_blocks_", "mid_block_")
            name = path if is_bare else path.removeprefix(root)
            pattern = _UNET if part == "unet" else _ENCODER
            if pattern.match(name):
                return name, part
    raise RefusedFileError(
        "The layer {name} is in no model that is used here. LoRAs for {families} are used.",
        name=path[:80],
        families=", ".join(FAMILIES.values()),
    )


def _check_pair(layer: Layer) -> None:
    down, up, alpha = (layer.tensors.get(role) for role in ("down", "up", "alpha"))
    name = layer.name[:80]
    if down is None or up is None:
        raise RefusedFileError(
            "The layer {name} is not complete: its other half is missing.", name=name
        )
    sizes = (len(down.shape), len(up.shape))
    is_fit = (
        sizes in ((2, 2), (4, 4))
        and 0 not in down.shape + up.shape
        and down.shape[0] == up.shape[1]
        and (sizes == (2, 2) or (up.shape[2:] == (1, 1) and down.shape[2:] in ((1, 1), (3, 3))))
    )
    if not is_fit:
        raise RefusedFileError("The two halves of the layer {name} do not fit together.", name=name)
    if down.shape[0] > MAX_RANK:
        raise RefusedFileError(
            "The layer {name} has the rank {rank:,}, at most {limit:,} is used.",
            name=name,
            rank=down.shape[0],
            limit=MAX_RANK,
        )
    if alpha is not None and alpha.shape not in ((), (1,)):
        raise RefusedFileError("The alpha of the layer {name} is not one number.", name=name)
