"""The environment `number_guessing`: a hidden number, higher or lower at each guess. Its rows: data.number_guessing."""

from typing import Any

from data.number_guessing import told


class NumberGuessing:
    """One game: the secret, the guesses made so far, and whether it was found."""

    def reset(self, secret: int, low: int, high: int, **columns: Any) -> None:
        """Begin a game; the row's prompt names the limits. Raises ValueError for a secret outside of them."""
        if not low <= secret <= high:
            raise ValueError(f"secret={secret} is not between low={low} and high={high}")
        self.secret, self.low, self.high = secret, low, high
        self.guesses: list[int] = []
        self.solved = False

    def guess(self, number: int) -> str:
        """
        Guess the hidden number.

        Args:
            number: Your guess.

        Returns:
            Whether the hidden number is higher, lower, or found.
        """
        if isinstance(number, bool) or not isinstance(number, int):
            raise ValueError("a guess is a whole number")
        if self.solved:
            raise ValueError("the number is found already")
        self.guesses.append(number)
        self.solved = number == self.secret
        return told(number, self.secret)

    def get_reward(self) -> float:
        """1.0 where it was found with as few guesses as halving may need, a tenth less for each one more, at least 0.1;
        0.0 where it was not.
        """
        needed = (self.high - self.low + 1).bit_length()
        return max(0.1, 1.0 - 0.1 * max(0, len(self.guesses) - needed)) if self.solved else 0.0
