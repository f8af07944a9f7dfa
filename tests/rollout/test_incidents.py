from types import SimpleNamespace

from rollout.incidents import Incidents
from rollout.trajectory import SCHEMA, from_table, to_table


def models(replaced: int, unanswered: int) -> SimpleNamespace:
    return SimpleNamespace(
        diffuser=SimpleNamespace(replaced=replaced),
        editor=SimpleNamespace(replaced=1),
        actor_vlm=SimpleNamespace(replaced=0),
        checker_vlm=SimpleNamespace(replaced=2),
        scorers={},
        checker=SimpleNamespace(unanswered=unanswered),
    )


def test_incidents_are_those_of_all_handles_and_add_up():
    during = Incidents.so_far(models(3, 7)) - Incidents.so_far(models(1, 2))
    assert during == Incidents(2, 5)
    assert during + Incidents(1, 0) == Incidents(3, 5)


def test_they_travel_beside_a_table_that_stays_a_trajectory_table():
    table = to_table([])
    assert Incidents.beside(table) == Incidents()
    sent = Incidents(2, 5).put_beside(table)
    assert Incidents.beside(sent) == Incidents(2, 5)
    assert from_table(sent) == []
    assert sent.schema.equals(SCHEMA)
