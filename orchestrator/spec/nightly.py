"""How a nightly study is judged, as typed data."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from orchestrator.spec.environment import expand_environment

Effect = Annotated[float, Field(gt=0)]


class NightlySettings(BaseModel):
    """What tonight is compared with, and who hears of it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    nights: int = Field(default=7, ge=1)
    """The last so many accepted nights count."""
    minimum_effect: dict[Literal["accuracy", "size", "seconds", "latency"], Effect] = Field(default_factory=dict)
    """Changes below are none: of accuracy in its own unit (0.005), of the others as a share (0.02 of size, 0.1 of
    training time and latency)."""
    webhook: str | None = None
    """Address that gets the night as JSON by POST; `${NAME}` reads the environment."""

    @field_validator("webhook")
    @classmethod
    def _expanded(cls, webhook: str | None) -> str | None:
        if webhook is None:
            return None
        webhook = expand_environment(webhook)
        if webhook.startswith(("http://", "https://")):
            return webhook
        raise ValueError("a webhook is http://... or https://...")
