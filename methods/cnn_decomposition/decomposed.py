"""What both ways of decomposing a CNN deliver: the network they started from, its modules side by side, the library.

Shapes: M = modules, C = kernels of a layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from methods.cnn_decomposition import pictures
from methods.cnn_decomposition.layers import kernel_retention, maskable_layers, mean_difference, site_masks
from methods.contract import Outcome, TaskInfo, Variant
from methods.figures import Figure
from methods.json_value import Json
from methods.modules.heads import ModuleHeads
from methods.modules.library import ModuleLibrary
from methods.networks.graph import Network


def decomposed_outcome(
    source: Network,
    info: TaskInfo,
    kept: Sequence[Tensor],
    *,
    heads: ModuleHeads | None,
    reference: float,
    accuracy: float,
    epochs: float,
    facts: Mapping[str, Json],
    settings: Mapping[str, Json],
    figures: Sequence[Figure],
) -> Outcome:
    """The outcome of a decomposition into one module per class.

    Args:
        source: The trained network; delivered as it is, because the library's modules are cut from it.
        kept: Kernels of each module, bool (M, C) per layer, none without a kernel.
        heads: One for each module; None where the network's own logits are the scores.
        reference, accuracy: On validation: of the trained network, and of all modules composed.
        facts, settings, figures: The method's own, beside what is known of any decomposition.
    """
    layers = maskable_layers(source.architecture)
    masks = tuple(mask_MU.cpu() for mask_MU in site_masks(source.architecture, layers, kept))
    library = ModuleLibrary(source, info.class_names, masks, settings=settings, heads=heads, composition="side_by_side")
    retention_M = kernel_retention(layers, kept)
    names = info.class_names
    return Outcome(
        variants=(
            Variant("source", kind="whole", network=source),
            Variant("composed", kind="composed", network=library.compose(names), settings=settings),
        ),
        epochs=epochs,
        facts={
            "reference_accuracy": reference,
            "composed_accuracy": accuracy,
            "accuracy_loss": reference - accuracy,
            "kernel_retention": float(retention_M.mean()),
            "smallest_retention": float(retention_M.min()),
            "largest_retention": float(retention_M.max()),
            "module_difference": mean_difference(layers, kept),
            **facts,
        },
        figures=(
            pictures.kernels_map(layers, kept, class_names=names),
            pictures.difference_map(layers, kept, class_names=names),
            *figures,
        ),
        library=library,
    )
