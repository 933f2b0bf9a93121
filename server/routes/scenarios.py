"""My scenario templates. Each user has their own copies of the seeded ones."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator
from starlette.responses import Response

from pipeline.core.scenario import variables
from server.calls.open_points import VariableView, few
from server.errors import not_found
from server.routing import AnyOp, Ask, Body, Op, PageQuery, Text, View, When, Words, no_content
from storage import scenarios
from storage.records import Scenario

Title = Annotated[Words, Field(max_length=100)]
Prompt = Annotated[
    Words,
    AfterValidator(few),
    Field(
        max_length=4000,
        description="What the call is about, for the model. {place} leaves something open for each call to say, "
        "{place|the café} with what it is otherwise.",
    ),
]
Opening = Annotated[
    Text,
    AfterValidator(few),
    Field(max_length=300, description="First words; {name} is the person's name, others as in the prompt."),
]
Minutes = Annotated[int, Field(ge=1, le=240)]


class NewScenario(Body):
    title: Title
    prompt: Prompt
    opening: Opening = ""
    max_minutes: Minutes | None = None


class ScenarioChange(Body):
    """Only what is given changes; `max_minutes: null` lifts the limit."""

    title: Title = "unchanged"
    prompt: Prompt = "unchanged"
    opening: Opening = ""
    max_minutes: Minutes | None = None

    @model_validator(mode="after")
    def _something(self) -> ScenarioChange:
        if not self.model_fields_set:
            raise ValueError("nothing to change")
        return self


class ScenarioQuery(PageQuery):
    """`popular`: the most used first."""

    sort: Literal["newest", "popular"] = "newest"


class ScenarioView(View):
    id: str
    title: str
    prompt: str
    opening: str
    variables: list[VariableView] = Field(description="What the prompt and the opening leave open.")
    max_minutes: int | None
    uses: int
    last_used_at: When | None
    created_at: When
    updated_at: When


class ScenarioList(View):
    items: list[ScenarioView]
    next_cursor: str | None


def view(scenario: Scenario) -> ScenarioView:
    return ScenarioView(
        id=scenario.id,
        title=scenario.title,
        prompt=scenario.prompt,
        opening=scenario.opening,
        variables=[
            VariableView(name=variable.name, default=variable.default)
            for variable in variables(scenario.prompt, scenario.opening)
        ],
        max_minutes=scenario.max_minutes,
        uses=scenario.uses,
        last_used_at=scenario.last_used_at,
        created_at=scenario.created_at,
        updated_at=scenario.updated_at,
    )


async def listing(ask: Ask[None, ScenarioQuery]) -> ScenarioList:
    read = scenarios.popular if ask.query.sort == "popular" else scenarios.page
    async with ask.parts.database.read() as tx:
        page = await read(tx, ask.user.id, ask.query.cursor, ask.query.limit)
    return ScenarioList(items=[view(scenario) for scenario in page.items], next_cursor=page.next_cursor)


async def create(ask: Ask[NewScenario, None]) -> ScenarioView:
    new = ask.body
    async with ask.parts.database.write() as tx:
        scenario = await scenarios.add(
            tx,
            ask.user.id,
            title=new.title,
            prompt=new.prompt,
            opening=new.opening,
            max_minutes=new.max_minutes,
            now=ask.parts.clock.utc(),
        )
    return view(scenario)


async def show(ask: Ask[None, None]) -> ScenarioView:
    async with ask.parts.database.read() as tx:
        scenario = await scenarios.get(tx, ask.user.id, ask.ident())
    if scenario is None:
        raise not_found()
    return view(scenario)


async def change(ask: Ask[ScenarioChange, None]) -> ScenarioView:
    given, body = ask.body.model_fields_set, ask.body
    minutes = (body.max_minutes or 0) if "max_minutes" in given else None
    async with ask.parts.database.write() as tx:
        scenario = await scenarios.update(
            tx,
            ask.user.id,
            ask.ident(),
            title=body.title if "title" in given else None,
            prompt=body.prompt if "prompt" in given else None,
            opening=body.opening if "opening" in given else None,
            max_minutes=minutes,
        )
    if scenario is None:
        raise not_found()
    return view(scenario)


async def remove(ask: Ask[None, None]) -> Response:
    async with ask.parts.database.write() as tx:
        removed = await scenarios.delete(tx, ask.user.id, ask.ident())
    if not removed:
        raise not_found()
    return no_content()


OPS: tuple[AnyOp, ...] = (
    Op("GET", "/api/scenarios", listing, "My templates", query=ScenarioQuery, reply=ScenarioList),
    Op("POST", "/api/scenarios", create, "Add one", body=NewScenario, reply=ScenarioView, status=201),
    Op("GET", "/api/scenarios/{id}", show, "One of them", reply=ScenarioView),
    Op("PATCH", "/api/scenarios/{id}", change, "Change it", body=ScenarioChange, reply=ScenarioView),
    Op("DELETE", "/api/scenarios/{id}", remove, "Remove it", status=204),
)
