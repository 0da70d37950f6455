"""What every section of the settings is: frozen, typed, and without keys that it does not know."""

from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A frozen part of the settings that refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Dollars = Annotated[Decimal, Field(ge=0)]
