"""The blocks inside a stage: gate, LoRA, and reward."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from training.config.block import Block, Count, OpenProbability


class Gate(Block):
    """A condition on a stage's evaluation, decided on items paired with another model's; unmet, the run exits 3."""

    suite: str = Field(description="A suite that `evaluate:` measures.")
    metric: Literal["accuracy", "format_rate"] = Field(default="accuracy", description="Which rate is compared.")
    over: Literal["parent", "base"] = Field(default="parent", description="The model it is compared with.")
    min_gain: float = Field(default=0.0, ge=-1.0, le=1.0, description="Least gain, as a difference of rates.")
    confidence: OpenProbability = Field(default=0.95, description="Confidence of the paired interval.")


class Lora(Block):
    """Train low-rank adapters (peft) in place of the full weights."""

    r: Count = Field(default=16, description="Rank of the adapters.")
    alpha: Count = Field(default=32, description="Scale: the update is multiplied by alpha / r.")
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0, description="Dropout before the adapters.")
    target_modules: Literal["all-linear"] | list[str] = Field(
        default="all-linear", description="Module names that get an adapter, or every linear layer but the head."
    )
    dora: bool = Field(default=False, description="DoRA: learn magnitude and direction apart.")
    quantize: Literal["nf4"] | None = Field(
        default=None, description="QLoRA: keep the frozen weights in 4 bits (needs a GPU); null keeps them whole."
    )
    save: Literal["merged", "adapter"] = Field(
        default="merged", description="Leave one merged model, or the adapter with its base."
    )


class ToolSpec(Block):
    """A tool that the policy may call: the name of a shipped one, or a function of yours."""

    name: str | None = Field(default=None, description="Name of a shipped tool: calculator.")
    callable: str | None = Field(
        default=None, description='Your own function with typed, documented arguments: "package.module:function".'
    )
    version: Count | None = Field(
        default=None, description="callable only: raise it when its answers change by something its file does not show."
    )

    @property
    def called(self) -> str:
        """The name that the model calls it by."""
        return str(self.name) if self.callable is None else self.callable.rpartition(":")[2]

    @model_validator(mode="before")
    @classmethod
    def a_plain_name_is_accepted(cls, spec: Any) -> Any:
        return {"name": spec} if isinstance(spec, str) else spec

    @model_validator(mode="after")
    def a_name_or_a_callable_with_its_version_is_given(self) -> ToolSpec:
        if (self.name is None) == (self.callable is None):
            raise ValueError("needs either the name of a shipped tool or a callable")
        if (self.callable is None) != (self.version is None):
            raise ValueError("a callable needs a version, 1 at first; a shipped tool has its own")
        return self


class EnvironmentSpec(ToolSpec):
    """A world that a completion acts in through its tools: the name of a shipped one, or a class of yours."""

    name: str | None = Field(default=None, description="Name of a shipped environment: number_guessing.")
    callable: str | None = Field(
        default=None,
        description="Your own class, or a function that returns one of its objects, with reset() and methods as tools: "
        '"package.module:Class".',
    )
    version: Count | None = Field(
        default=None, description="callable only: raise it when it acts otherwise by something its file does not show."
    )

    @model_validator(mode="before")
    @classmethod
    def there_is_one(cls, spec: Any) -> Any:
        if isinstance(spec, list):
            raise ValueError("a stage has one; for several, give a class that chooses by a column of the row in reset")
        return spec


_OWN_KEYS = ("name", "weight", "callable", "version", "params")


class RewardSpec(Block):
    """One reward: a plain name, or a mapping of name, weight and the reward's own parameters beside them."""

    name: str = Field(description="Name of a shipped reward (docs/rewards.md), or one for your own function.")
    weight: float = Field(default=1.0, description="Factor in the total.")
    callable: str | None = Field(
        default=None,
        description='Your own reward, a function of (completions, prompts, **columns): "package.module:function".',
    )
    version: Count | None = Field(
        default=None,
        description="callable only: your version of the function; raise it when its rewards change by something that "
        "its file does not show.",
    )
    params: dict[str, Any] = Field(default_factory=dict, description="The reward's own parameters.")

    @model_validator(mode="before")
    @classmethod
    def a_plain_name_and_loose_parameters_are_accepted(cls, spec: Any) -> Any:
        if isinstance(spec, str):
            return {"name": spec}
        if not isinstance(spec, dict):
            return spec
        own = {key: value for key, value in spec.items() if key in _OWN_KEYS}
        loose = {key: value for key, value in spec.items() if key not in own}
        if not loose:
            return own
        return {**own, "params": {**own.get("params", {}), **loose}}

    @model_validator(mode="after")
    def a_callable_has_a_version(self) -> RewardSpec:
        if self.callable is not None and self.version is None:
            raise ValueError("a callable needs a version: 1, to be raised when it changes by more than its file")
        if self.callable is None and self.version is not None:
            raise ValueError("version belongs to a callable and does nothing here; remove it")
        return self
