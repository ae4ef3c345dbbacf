"""Counts of the work of engines, kept on the host at no cost to the device."""

import dataclasses


@dataclasses.dataclass
class SlotCounts:
    """Numbers that only grow; several engines may add to the same object.

    The differences between two moments give the speed and the share of busy slots between them.

    Attributes:
        prompts: prompts that were read.
        prefills: programs that read a group of prompts.
        slot_steps: slots times decoded steps.
        busy_steps: those of them in which the slot had an unfinished text, which is the number of
            tokens that were sampled by decoding.
        compile_seconds: time for compilations, during which nothing is generated.
    """

    prompts: int = 0
    prefills: int = 0
    slot_steps: int = 0
    busy_steps: int = 0
    compile_seconds: float = 0.0

    @property
    def tokens(self) -> int:
        """Sampled tokens, with those that end texts; the first one of a text is of its prefill."""
        return self.prompts + self.busy_steps

    @property
    def busy(self) -> float:
        """Share of the slots that had an unfinished text, on average over the steps; 0 to 1."""
        return self.busy_steps / self.slot_steps if self.slot_steps else 0.0

    def copy(self) -> "SlotCounts":
        """Return the counts of this moment."""
        return self.since(SlotCounts())

    def since(self, before: "SlotCounts") -> "SlotCounts":
        """Return the counts since a copy was made."""
        return SlotCounts(
            **{name: value - getattr(before, name) for name, value in vars(self).items()}
        )
