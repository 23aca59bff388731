"""
What a request through a client with a guard costs: cost functions are asked with the request, `used` with the response.
"""

from __future__ import annotations

from typing import Any

from hungframe import Guard, TokenBucket
from tests.transport.faces import Face, Kind, Library, each_kind, each_library, run_with


@each_kind
@each_library
def test_a_request_costs_what_it_weighs_and_is_settled_to_what_the_headers_say(library: Library, kind: Kind) -> None:
    """
    A hundred tokens, less 12 for the path that is asked for, then less the 30 that the provider has counted.
    """
    bucket = TokenBucket(
        100,
        1e6,
        cost=lambda request: len(request.url.path),
        used=lambda response: float(response.headers["x-tokens-used"]),
    )
    guard = Guard("llm", budget=bucket)
    seen: list[int | None] = []

    def answer(request: Any) -> Any:
        seen.append(guard.snapshot().budget)
        return library.stock.Response(200, headers={"x-tokens-used": "30"}, text="an answer")

    async def scenario(face: Face) -> str:
        return str((await face.get("http://example.org/twelve/byte")).text)

    assert "an answer" == run_with(
        kind, library.ours, scenario, transport=library.stock.MockTransport(answer), guard=guard
    )
    assert ([88], 70) == (seen, guard.snapshot().budget)
    assert (1, 0) == (guard.snapshot().counts["success"], guard.snapshot().faults)
