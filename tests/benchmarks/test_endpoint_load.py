import asyncio
import math

import pytest
from fastapi import FastAPI, Response

from benchmarks.endpoint_load import Load, measure
from tests.studio.loopback import served


def test_a_row_has_throughput_percentiles_and_the_share_of_the_bare_models() -> None:
    load = Load(4, 10.0, [float(value) for value in range(1, 101)])
    load.errors["503"] = 2
    assert load.throughput == 10
    assert load.percentiles == pytest.approx((50.5, 95.05, 99.01))
    assert load.row(12.5) == ["4", "100", "2", "10.00", "50.50", "95.05", "99.01", "80%"]
    assert all(math.isnan(value) for value in Load(1, 1.0).percentiles)


def test_as_many_requests_as_clients_are_under_way_and_errors_are_counted_by_kind() -> None:
    app, seen = FastAPI(), {"now": 0, "most": 0, "all": 0}

    @app.post("/v1/images/generations")
    async def generations() -> Response:
        seen["now"] += 1
        seen["most"] = max(seen["most"], seen["now"])
        seen["all"] += 1
        number = seen["all"]
        try:
            await asyncio.sleep(0.1)
        finally:
            seen["now"] -= 1
        return Response(status_code=503 if number % 5 == 0 else 200)

    with served(app) as url:
        load = asyncio.run(measure(url, ["a", "b"], clients=3, seconds=2.0))
    assert seen["most"] == 3
    assert 30 <= len(load.latencies) + load.errors.total() <= 63
    assert set(load.errors) == {"503"}
    assert min(load.latencies) >= 0.1
