"""Which channels of which layers are one and the same: a residual sum ties the outputs of all layers it adds up.

Channels of a group can be put in another order without changing what the network computes, as long as all layers that
put them out, hand them on or read them follow. Imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from methods.networks.architecture import Architecture, Node


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that are tied, by the names of the nodes concerned, in order of computation."""

    channels: int
    writers: tuple[str, ...]
    """Layers whose outputs they are: axis 0 of weight and bias."""
    carriers: tuple[str, ...]
    """Batch normalisations and depthwise convolutions that hand them on: axis 0 of every tensor, where behind `flatten`
    a channel is several features."""
    readers: tuple[str, ...]
    """Layers whose inputs they are: axis 1 of the weight, where behind `flatten` a channel is several features."""
    fixed: bool
    """Whether their order means something, as that of logits does, or hangs on channels of other groups."""


def channel_groups(architecture: Architecture) -> tuple[ChannelGroup, ...]:
    """All groups in the order of their first writer, the logits among them; a ResNet-20 has 13. The input is in none.

    Fixed are the logits and whatever a `concat`, a `select` or a grouped convolution reads or meets. So are the groups
    of a sum that adds flattened maps to single features, since these would have to follow several at a time.
    """
    group_of: dict[str, str] = {}
    fixed: set[str] = set()

    def root(name: str) -> str:
        while group_of[name] != name:
            name = group_of[name]
        return name

    members: dict[str, dict[str, list[str]]] = {}
    first = architecture.nodes[0].name
    group_of[first] = first
    fixed.add(first)
    # A flattened map keeps its number of channels, although each of them is several features.
    channels = {name: shape[0] for name, shape in architecture.shapes.items()}
    for node in architecture.nodes[1:]:
        sources = [root(name) for name in node.inputs]
        if _writes(node):
            group_of[node.name] = node.name
            members[node.name] = {"writers": [node.name], "carriers": [], "readers": []}
            _role(members, sources[0], "readers", node.name)
        elif node.op in ("concat", "select") or _is_grouped(node) or len({channels[name] for name in sources}) > 1:
            group_of[node.name] = node.name
            fixed.update([node.name, *sources])
        else:
            kept = sources[0]
            for other in sources[1:]:
                if other != kept:
                    group_of[other] = kept
                    for role, names in members.pop(other, {}).items():
                        for name in names:
                            _role(members, kept, role, name)
                    if other in fixed:
                        fixed.add(kept)
            group_of[node.name] = kept
            if node.op in ("batch_norm", "conv2d"):
                _role(members, kept, "carriers", node.name)
    fixed.add(root(architecture.nodes[-1].name))
    place = {node.name: index for index, node in enumerate(architecture.nodes)}
    groups = [
        ChannelGroup(
            channels=architecture.shapes[found["writers"][0]][0],
            writers=tuple(sorted(found["writers"], key=place.__getitem__)),
            carriers=tuple(sorted(found["carriers"], key=place.__getitem__)),
            readers=tuple(sorted(found["readers"], key=place.__getitem__)),
            fixed=name in fixed,
        )
        for name, found in members.items()
        if found["writers"]
    ]
    return tuple(sorted(groups, key=lambda group: place[group.writers[0]]))


def _role(members: dict[str, dict[str, list[str]]], group: str, role: str, name: str) -> None:
    members.setdefault(group, {"writers": [], "carriers": [], "readers": []})[role].append(name)


def _writes(node: Node) -> bool:
    return node.op == "linear" or (node.op == "conv2d" and node.settings["groups"] == 1)


def _is_grouped(node: Node) -> bool:
    """A grouped convolution other than one that hands every channel on by itself."""
    return node.op == "conv2d" and not (
        node.settings["groups"] == node.settings["in_channels"] == node.settings["out_channels"]
    )
