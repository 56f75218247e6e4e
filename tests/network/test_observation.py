"""What a run of an event was seen to do."""

from __future__ import annotations

import json

import pytest

from devserver.model.observation import Changed, Observation, Raised, Sent
from devserver.network.compare import compare


def seen(**changes) -> Observation:
    whole = {
        "success": True,
        "data": {"version": 8},
        "way": (("analytics", "passed"), ("wiki", "answered")),
        "sends": (Sent("page.notification", "mod:wiki", "agent:ana", {"page": "home"}),),
        "told": {"ana": ("page.notification",)},
        "changed": {"wiki": (Changed(("pages", "home", "head"), 6, 7), Changed(("log", 3), None, "x", "added"))},
        "raised": (Raised("tags", "KeyError", "'column'", "mods/tags.py", 7, "on_moved"),),
        "refused": ("socket.connect api.openai.com:443",),
        "generations": {"wiki": 4},
        "took_us": 1200,
        "at": 5.0,
    }
    return Observation(**{**whole, **changes})


def test_it_survives_json():
    """Files and the replay process hold it as JSON."""
    assert Observation.from_dict(json.loads(json.dumps(seen().to_dict()))) == seen()


@pytest.mark.parametrize("values", [{}, {**seen().to_dict(), "sends": [{"x": 1}]}, {**seen().to_dict(), "told": 5}])
def test_what_is_none_is_refused(values):
    """With an error that a reader of a file can tell about."""
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        Observation.from_dict(values)


def test_a_difference_has_the_path_that_people_read():
    """State by its keys; time, print-outs and lines are not compared."""
    later = seen(
        data={"version": "8"},
        changed={"wiki": (Changed(("pages", "home", "head"), 6, 8), Changed(("log", 3), None, "x", "added"))},
        raised=(Raised("tags", "KeyError", "'column'", "mods/tags.py", 70, "on_moved"),),
        took_us=9,
        at=9.0,
        printed="hello",
    )
    found = compare(seen().compared(), later.compared())
    assert [(each.path, each.before, each.after) for each in found] == [
        ("answer.data.version", 8, "8"),
        ("state.wiki.pages.home.head", 7, 8),
    ]
