"""Ids on the command line: what is none gets an answer that says what an id is."""

from typing import Annotated, Any

import typer
from typer.core import TyperCommand

NONE = "{!r} is no id; an id is an integer of your choice from 0 to 2^63 - 1, and `reidd label ID NAME` gives it a name"


class IdCommand(TyperCommand):
    """A command that takes ids: `-1` is an id that cannot be, not an option that there is not."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments; a negative number among them gets its own answer."""
        given = list(args)
        try:
            return list(super().parse_args(ctx, args))
        except typer.BadParameter:
            raise
        except Exception as error:
            # Newer typers bring a click of their own, so the error is known by what it carries.
            option = getattr(error, "option_name", None)
            negative = next((word for word in given if option and word.startswith(option)), "")[1:]
            if not negative.isdecimal() or not self._takes_ids():
                raise
            raise typer.BadParameter(NONE.format(f"-{negative}"), ctx=ctx, param_hint="'ID'") from None

    def _takes_ids(self) -> bool:
        """Whether ids are among its arguments; `ttl` takes one with an option, `limit` takes none."""
        return any(one.param_type_name == "argument" and one.metavar in ("ID", "INTO") for one in self.params)


def id_given(text: str) -> int:
    """Read an id."""
    if not text.isdecimal() or int(text) >= 1 << 63:
        raise typer.BadParameter(NONE.format(text))
    return int(text)


def _argument(metavar: str, help: str) -> Any:
    return typer.Argument(metavar=metavar, parser=id_given, help=help)


Id = Annotated[int, _argument("ID", "An integer, 0 or more.")]
IntoId = Annotated[int, _argument("INTO", "The id that the instances get.")]
