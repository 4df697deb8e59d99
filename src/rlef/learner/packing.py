"""Laying the sequences of rollouts one after another, so that nothing is computed on padding.

Shapes: B rollouts, L tokens, U turns of a batch; R rows, T tokens of what a model reads;
S sequences; N places whose last hidden states are needed. All is worked out on the CPU.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rlef.rollout import RolloutBatch


@dataclass(frozen=True, slots=True, eq=False)
class Sequences:
    """Sequences that a model reads, in order.

    Attributes:
        lengths: tokens of each.
        rollouts: (S,) int64, the row of the batch that each is part of; on the CPU.
        ends: (S + 1,) int32, 0 and where each ends in a packed row; on the model's device.
    """

    lengths: tuple[int, ...]
    rollouts: Tensor
    ends: Tensor

    @classmethod
    def of(cls, lengths: Tensor, rollouts: Tensor) -> "Sequences":
        """Of (S,) int64 lengths, on the CPU."""
        ends = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)]).int()
        return cls(tuple(lengths.tolist()), rollouts, ends)

    @property
    def longest(self) -> int:
        """Tokens of the longest one."""
        return max(self.lengths, default=0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Packed:
    """What a model reads of a batch, and where in it the states stand that are needed.

    Sequences are cut behind the last state that is needed: no state looks at what comes after it.

    Attributes:
        token_ids: (R, T) int64. Packed: one row of all sequences. Else a row for each sequence,
            padded on the right with 0.
        position_ids: (1, T) int64, from 0 in each sequence; ``None`` where not packed, as models
            count from 0 in each row themselves.
        sequences: what is read.
        states: (N,) int64, places in the (R * T) last hidden states.
        targets: (N,) int64, the token behind each state.
        places: (N,) int64, where what is made of them belongs in a tensor of ``shape``, flattened.
        shape: (B, L) or (B, U).
    """

    token_ids: Tensor
    position_ids: Tensor | None
    sequences: Sequences
    states: Tensor
    targets: Tensor
    places: Tensor
    shape: tuple[int, int]

    @classmethod
    def before_actions(cls, batch: RolloutBatch, *, packs: bool) -> "Packed":
        """What says how likely each action token was, (B, L): the states in front of them.

        Args:
            batch: Its rollouts.
            packs: Whether the model can read a packed row.
        """
        batch = batch.to("cpu")
        rows, columns = batch.action_mask.nonzero(as_tuple=True)
        places = rows * batch.token_ids.shape[1] + columns
        return _pack(
            batch, rows, columns - 1, places, (len(batch), batch.token_ids.shape[1]), packs
        )

    @classmethod
    def at_prompt_ends(cls, batch: RolloutBatch, *, packs: bool) -> "Packed":
        """What says what each turn is worth, (B, U): the states of the prompts' last tokens."""
        batch = batch.to("cpu")
        rows, turns = batch.turn_mask.nonzero(as_tuple=True)
        places = rows * batch.turn_mask.shape[1] + turns
        columns = batch.prompt_ends[rows, turns]
        return _pack(batch, rows, columns, places, (len(batch), batch.turn_mask.shape[1]), packs)

    def placed_in(self, batch: RolloutBatch) -> "Packed":
        """Returns it with the places of another batch with the same action tokens in order.

        Args:
            batch: On the CPU or not; between its action tokens there may be fewer others.
        """
        places = batch.action_mask.cpu().flatten().nonzero()[:, 0]
        return replace(self, places=places, shape=(len(batch), batch.token_ids.shape[1]))

    def to(self, device: torch.device | str) -> "Packed":
        """Returns it on a device, without waiting for the copies."""

        def move(x: Tensor) -> Tensor:
            return x.to(device, non_blocking=True)

        return Packed(
            token_ids=move(self.token_ids),
            position_ids=None if self.position_ids is None else move(self.position_ids),
            sequences=replace(self.sequences, ends=move(self.sequences.ends)),
            states=move(self.states),
            targets=move(self.targets),
            places=move(self.places),
            shape=self.shape,
        )

    def scatter(self, found: Tensor) -> Tensor:
        """Puts (N,) values at their places in a tensor of ``shape``, which is 0 elsewhere."""
        width = self.shape[1]  # no view: what a sharded network returns must be none
        where = self.places // width, self.places % width
        return found.new_zeros(self.shape).index_put(where, found)

    def groups(self, most: int, ranks: int = 1) -> list[list[int]]:
        """Cuts the batch into micro-batches.

        Args:
            most: Tokens that are computed in each, padding included; a rollout may exceed it.
            ranks: Among which they are dealt out in turn.

        Returns:
            Rows of the batch, micro-batch by micro-batch, but for those of which nothing is read.
        """
        owners = self.sequences.rollouts
        rows, places, counts = torch.unique(owners, return_inverse=True, return_counts=True)
        lengths, none = torch.tensor(self.sequences.lengths, dtype=torch.int64), counts * 0
        if self.position_ids is not None:
            sizes = none.scatter_add(0, places, lengths).tolist()
            found = bins(sizes, most)
        else:
            longest = none.scatter_reduce(0, places, lengths, "amax")
            found = of_like_length(longest.tolist(), counts.tolist(), most)
            sizes = (longest * counts).tolist()
        return [rows[one].tolist() for one in spread(found, sizes, ranks)]


def _pack(
    batch: RolloutBatch,
    rows: Tensor,
    columns: Tensor,
    places: Tensor,
    shape: tuple[int, int],
    packs: bool,
) -> Packed:
    """Args: as of ``Packed``; ``rows`` and ``columns`` are (N,) where the needed states stand."""
    width = batch.token_ids.shape[1]
    # Of all tokens in order: place in the batch, number of its sequence, position in that.
    flat = (batch.sequence_ids >= 0).flatten().nonzero()[:, 0]
    owners = flat // width * width + batch.sequence_ids.flatten()[flat]
    owners, numbers, lengths = torch.unique_consecutive(
        owners, return_inverse=True, return_counts=True
    )
    positions = torch.arange(len(flat)) - (lengths.cumsum(0) - lengths)[numbers]

    order = torch.full((batch.token_ids.numel(),), -1)
    order[flat] = torch.arange(len(flat))
    needed = order[rows * width + columns]
    cuts = torch.zeros_like(lengths)
    cuts = cuts.scatter_reduce(0, numbers[needed], positions[needed] + 1, "amax")
    kept, read = positions < cuts[numbers], cuts > 0
    ids = batch.token_ids.flatten()[flat[kept]]
    if packs:
        slots = torch.arange(len(ids))
        token_ids, position_ids = ids[None], positions[kept][None]
    else:
        longest = int(cuts.max()) if len(cuts) else 0
        slots = (read.cumsum(0) - 1)[numbers[kept]] * longest + positions[kept]
        token_ids, position_ids = ids.new_zeros((int(read.sum()), longest)), None
        token_ids.view(-1)[slots] = ids
    slot_of = torch.full((len(flat),), -1)
    slot_of[kept] = slots
    following = (rows * width + columns + 1).clamp(max=batch.token_ids.numel() - 1)
    return Packed(
        token_ids=token_ids,
        position_ids=position_ids,
        sequences=Sequences.of(cuts[read], owners[read] // width),
        states=slot_of[needed],
        targets=batch.token_ids.flatten()[following],
        places=places,
        shape=shape,
    )


def bins(sizes: Sequence[int], most: int) -> list[list[int]]:
    """Puts things into as few bins as first-fit decreasing finds.

    Args:
        sizes: Of the things.
        most: What a bin holds; a thing that is larger has one for itself.

    Returns:
        Places in ``sizes``, bin by bin; the same for the same arguments.
    """
    found: list[list[int]] = []
    room: list[int] = []
    for place in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
        size = sizes[place]
        fit = next((i for i, free in enumerate(room) if size <= free), None)
        if fit is None:
            found.append([place])
            room.append(most - size)
        else:
            found[fit].append(place)
            room[fit] -= size
    return found


def of_like_length(longest: Sequence[int], counts: Sequence[int], most: int) -> list[list[int]]:
    """Puts rollouts of similar length together, the longest first, to be padded.

    Args:
        longest: Tokens of the longest sequence of each rollout.
        counts: Their sequences.
        most: Rows times the longest of a group; a rollout may exceed it.
    """
    found: list[list[int]] = []
    rows = 0
    for place in sorted(range(len(longest)), key=lambda i: (-longest[i], i)):
        if found and (rows + counts[place]) * longest[found[-1][0]] <= most:
            found[-1].append(place)
            rows += counts[place]
        else:
            found.append([place])
            rows = counts[place]
    return found


def spread(groups: list[list[int]], sizes: Sequence[int], ranks: int) -> list[list[int]]:
    """Splits the largest groups until each rank has equally many, as far as there are rollouts.

    Args:
        groups: Places in ``sizes``.
        sizes: Of the rollouts.
        ranks: Among which groups are dealt out in turn; 1: nothing is done.

    Returns:
        The groups, the largest first: those that ranks run at the same time are of like size.
    """
    if ranks == 1:
        return groups

    def size(group: list[int]) -> int:
        return sum(sizes[place] for place in group)

    found = sorted(groups, key=size, reverse=True)
    while len(found) % ranks:
        largest = next((group for group in found if len(group) > 1), None)
        if largest is None:
            break
        found.remove(largest)
        found = sorted([*found, largest[::2], largest[1::2]], key=size, reverse=True)
    return found
