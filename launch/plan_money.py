"""Energy and cost of GPU-hours, from stated watts and a stated price; neither is guessed."""

from dataclasses import dataclass

from training.estimate.estimate import Range


@dataclass(frozen=True)
class Money:
    """`watts` of one rank's device under load, `price` of one GPU-hour; None leaves the column out."""

    watts: float | None
    price: float | None
    watts_from: str

    @property
    def heads(self) -> list[str]:
        """The heads of the columns."""
        return [*(["kWh"] if self.watts is not None else []), *(["cost"] if self.price is not None else [])]

    def of(self, hours: Range) -> list[Range]:
        """Energy in kWh and cost in the price's currency, as far as they are known."""
        return [*filter(None, (self.energy_kwh(hours), self.cost(hours)))]

    def energy_kwh(self, hours: Range) -> Range | None:
        """Energy of so many GPU-hours, the devices alone."""
        return None if self.watts is None else hours.times(self.watts / 1000)

    def cost(self, hours: Range) -> Range | None:
        """Cost of so many GPU-hours."""
        return None if self.price is None else hours.times(self.price)
